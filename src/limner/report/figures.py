"""Charts as inline SVG that follow the page: its font, and its colours in light and in dark.

matplotlib draws with stand-in colours; afterwards each stand-in becomes a CSS variable of the page, so that
one drawing serves both themes. Every function takes plain numbers and gives one `<svg>` with a title for
screen readers. A picture file, which follows no page, is drawn with the page's colours in light.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, GRID, PAPER = "#010203", "#010204", "#010205", "#010206"
COLOURS = {"blue": "#010207", "orange": "#010208", "grey": "#010209", "green": "#01020a", "red": "#01020b"}
_VARIABLES = {INK: "--ink", SOFT: "--soft", GRID: "--line", PAPER: "--paper"} | {
    stand_in: f"--{name}" for name, stand_in in COLOURS.items()
}
LIGHT = {"blue": "#2f6db3", "orange": "#c9701d", "grey": "#868c96", "green": "#23805c", "red": "#b8403c"}
"""The colours of `style.css` in light."""
_LIGHT = {INK: "#22252b", SOFT: "#5f6672", GRID: "#e4e1db", PAPER: "#fbfaf8"}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "limner",
    "text.parse_math": False,
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": GRID,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}


class Interval(NamedTuple):
    """A number with how sure of it one can be.

    Args:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


@contextmanager
def drawing(
    width: float, height: float, rows: int = 1, columns: int = 1, light: bool = False
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure in the page's style with its axes; inches. `light` is for a picture file."""
    style = {name: _LIGHT.get(value, value) for name, value in _STYLE.items()} if light else _STYLE
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def svg(figure: Figure, title: str) -> str:
    """The figure as one accessible element: themed, scalable, its ids its own."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", text)
    text = re.sub(r'(<svg)([^>]*?) width="[\d.]+pt" height="[\d.]+pt"', r"\1\2", text, count=1)
    text = re.sub(r"<style.*?</style>|font-family: [^;\"]*;? ?", "", text, flags=re.S)
    slug = re.sub(r"\W+", "-", title.lower()).strip("-")
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{slug}-", text).replace("xlink:href", "href")
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    named = f'<svg role="img" aria-label="{escape(title)}" stroke-linejoin="round"'
    return text.replace("<svg", named, 1).strip()


def score_histogram(groups: Mapping[str, Sequence[float]], threshold: float, title: str) -> str:
    """How scores of several kinds of pair spread over [0, 1].

    Args:
        groups: name → scores; drawn one row a group, in the order given.
        threshold: pairs from it on are kept.
        title: for screen readers.
    """
    colours = dict(zip(groups, ("blue", "orange", "grey", "green", "red"), strict=False))
    with drawing(5.2, 0.55 + 0.85 * len(groups), rows=len(groups)) as (figure, axes):
        for axis, (name, scores) in zip(axes, groups.items(), strict=True):
            edges = np.linspace(0, 1, 41).tolist()
            axis.hist(scores, edges, color=COLOURS[colours[name]])
            axis.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axis.set_title(f"{name} ({len(scores):,})", loc="left")
            axis.set_xlim(0, 1)
            axis.grid(visible=False, axis="x")
            axis.locator_params(axis="y", nbins=2, integer=True)
            axis.tick_params(labelbottom=axis is axes[-1])
        axes[-1].set_xlabel("probability that picture and text match; dashed: the threshold")
        return svg(figure, title)


def threshold_curve(scores: Sequence[float], wrong: Sequence[bool], threshold: float, title: str) -> str:
    """Precision and recall of dropping wrong texts, at every threshold.

    Args:
        scores: p match probabilities.
        wrong: p flags: the text does not describe its picture.
        threshold: the one that was used.
        title: for screen readers.
    """
    cuts, precision, recall = sweep(scores, wrong)
    with drawing(5.2, 2.9) as (figure, (axis,)):
        axis.plot(cuts, precision, color=COLOURS["blue"], label="precision: dropped texts that were wrong")
        axis.plot(cuts, recall, color=COLOURS["orange"], label="recall: wrong texts that were dropped")
        axis.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axis.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.01))
        axis.legend(**ABOVE)
        return svg(figure, title)


def sweep(scores: Sequence[float], wrong: Sequence[bool]) -> tuple[list[float], list[float], list[float]]:
    """Precision and recall of "drop below the threshold", the wrong texts being the ones to find.

    Returns: 101 thresholds in [0, 1], precision at each (nan where nothing is dropped), recall at each.
    """
    values, truth = np.asarray(scores, float), np.asarray(wrong, bool)
    cuts = np.linspace(0, 1, 101)
    dropped = values[None, :] < cuts[:, None]
    hits = (dropped & truth).sum(1)
    with np.errstate(invalid="ignore"):
        precision = hits / dropped.sum(1)
        recall = hits / truth.sum()
    return cuts.tolist(), precision.tolist(), recall.tolist()


def training_curves(runs: Mapping[str, Sequence[tuple[int, float]]], label: str, title: str) -> str:
    """One line a run.

    Args:
        runs: name → (step, value), in step order.
        label: of the y axis.
        title: for screen readers.
    """
    colours = ("orange", "blue", "grey", "green", "red") if len(runs) > 1 else ("blue",)
    with drawing(5.2, 2.9) as (figure, (axis,)):
        for (name, points), colour in zip(runs.items(), colours, strict=False):
            steps, values = zip(*points, strict=True)
            marker = "o" if len(steps) < 3 else None
            axis.plot(steps, values, color=COLOURS[colour], label=name, marker=marker, markersize=3)
        axis.set(xlabel="step", ylabel=label)
        if len(runs) > 1:
            axis.legend(**ABOVE, ncols=len(runs))
        return svg(figure, title)


def interval_chart(panels: Mapping[str, Mapping[str, Interval]], title: str) -> str:
    """Estimates with their intervals, one small panel a measure, one row a model.

    Args:
        panels: measure → model → interval; every measure has the same models.
        title: for screen readers.
    """
    colours = {"raw": "orange", "cleaned": "blue"}
    names = list(next(iter(panels.values())))
    height = 0.5 + len(panels) * (0.32 + 0.26 * len(names))
    with drawing(5.2, height, rows=len(panels)) as (figure, axes):
        for axis, (measure, models) in zip(axes, panels.items(), strict=True):
            for row, (name, (value, low, high)) in enumerate(models.items()):
                colour = COLOURS[colours.get(name, "grey")]
                axis.plot((low, high), (row, row), color=colour, linewidth=2.2, solid_capstyle="round")
                axis.plot(value, row, "o", color=colour, markersize=6)
            ends = [end for interval in models.values() for end in interval]
            if max(ends) == 1:  # a share: nothing lies beyond
                room = 1 - min(*ends, 0.9)
                axis.set_xlim(1 - 1.05 * room, 1 + 0.05 * room)
            axis.set_title(measure, loc="left")
            axis.set_yticks(range(len(names)), names)
            axis.set_ylim(len(names) - 0.4, -0.6)
            axis.locator_params(axis="x", nbins=5)
            axis.grid(visible=False, axis="y")
        return svg(figure, title)


def time_bars(stages: Mapping[str, float], title: str) -> str:
    """Seconds a stage, one bar each, in the order given."""
    names, seconds = list(stages), list(stages.values())
    with drawing(5.2, 0.45 + 0.29 * len(names)) as (figure, (axis,)):
        bars = axis.barh(range(len(names)), seconds, color=COLOURS["blue"], height=0.6)
        axis.bar_label(bars, [f"{s:.1f} s" for s in seconds], padding=4, color=SOFT)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlim(0, max(seconds) * 1.18 or 1)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("seconds")
        return svg(figure, title)
