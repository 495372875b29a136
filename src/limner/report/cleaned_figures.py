"""Charts of the report of a cleaned table. Style of `figures`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limner.report.figures import ABOVE, COLOURS, INK, drawing, svg

SIDE_COLOURS = {"web": "blue", "synthetic": "orange"}
OUTCOME_COLOURS = {"kept": "blue", "replaced": "orange", "dropped": "grey"}
_DASHED: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": (0, (4, 3))}


def acceptance_chart(found: Mapping[str, Sequence[float]], threshold: float, title: str) -> str:
    """Share of texts of each side that each threshold keeps.

    Args:
        found: `threshold`, and `web` and `synthetic` shares of each.
        threshold: the one that was used.
        title: for screen readers.
    """
    with drawing(5.2, 2.9) as (figure, (axis,)):
        for side, colour in SIDE_COLOURS.items():
            axis.plot(found["threshold"], found[side], color=COLOURS[colour], label=f"{side} texts")
        axis.axvline(threshold, **_DASHED)
        axis.set(xlabel="threshold", ylabel="share that stays", xlim=(0, 1), ylim=(0, 1.01))
        axis.legend(**ABOVE, ncols=2)
        return svg(figure, title)


def outcome_chart(found: Mapping[str, Sequence[float]], threshold: float, title: str) -> str:
    """What becomes of the rows at each threshold, one band an outcome.

    Args:
        found: `threshold`, and shares of rows `kept`, `replaced` and `dropped`.
        threshold: the one that was used.
        title: for screen readers.
    """
    with drawing(5.2, 2.9) as (figure, (axis,)):
        bands = [found[name] for name in OUTCOME_COLOURS]
        colours = [COLOURS[colour] for colour in OUTCOME_COLOURS.values()]
        axis.stackplot(found["threshold"], bands, labels=list(OUTCOME_COLOURS), colors=colours, alpha=0.75)
        axis.axvline(threshold, **_DASHED)
        axis.set(xlabel="threshold", ylabel="share of rows", xlim=(0, 1), ylim=(0, 1))
        axis.legend(**ABOVE, ncols=3)
        return svg(figure, title)


def spread_chart(
    found: Mapping[str, Mapping[str, Any]], label: str, title: str, threshold: float | None = None
) -> str:
    """Histograms of a score, one row a side, each as a share of its own texts.

    Args:
        found: side → `edges`, `counts`, `scored`.
        label: of the x axis.
        title: for screen readers.
        threshold: a dashed line, where the score has one.
    """
    used = [np.asarray(one["edges"])[np.flatnonzero(one["counts"])] for one in found.values()]
    known = np.concatenate(used) if any(map(len, used)) else np.zeros(1)
    with drawing(5.2, 0.55 + 1.15 * len(found), rows=len(found)) as (figure, axes):
        for axis, (side, one) in zip(axes, found.items(), strict=True):
            edges = np.asarray(one["edges"])
            shares = 100 * np.asarray(one["counts"]) / max(1, one["scored"])
            axis.bar(edges[:-1], shares, np.diff(edges), align="edge", color=COLOURS[SIDE_COLOURS[side]])
            axis.set_title(f"{side} ({one['scored']:,} of {one['texts']:,} scored)", loc="left")
            axis.set_ylabel("%")
            if threshold is None:
                axis.set_xlim(known.min() - 0.05, min(1.0, known.max() + 0.1))
            else:
                axis.axvline(threshold, **_DASHED)
                axis.set_xlim(0, 1)
            axis.grid(visible=False, axis="x")
            axis.locator_params(axis="y", nbins=3)
            axis.tick_params(labelbottom=axis is axes[-1])
        axes[-1].set_xlabel(label)
        return svg(figure, title)


def heads_chart(grids: Mapping[str, Mapping[str, Any]], threshold: float, title: str) -> str:
    """ITM against ITC: each dot is a cell of the plane, larger for more texts.

    Args:
        grids: side → `itm` and `itc`, the middles of cells, and `counts`.
        threshold: of ITM.
        title: for screen readers.
    """
    with drawing(5.2, 3.4) as (figure, (axis,)):
        for side, grid in grids.items():
            size = 6 + 60 * np.sqrt(np.asarray(grid["counts"]) / max(grid["counts"]))
            colour = COLOURS[SIDE_COLOURS[side]]
            axis.scatter(grid["itc"], grid["itm"], size, color=colour, alpha=0.55, linewidths=0, label=side)
        axis.axhline(threshold, **_DASHED)
        axis.set(xlabel="ITC: cosine", ylabel="ITM: match probability", ylim=(-0.03, 1.03))
        axis.legend(**ABOVE, ncols=2)
        return svg(figure, title)


def calibration_chart(bins: Sequence[Mapping[str, Any]], title: str) -> str:
    """Share of good texts against the probability that ITM gives them, with exact 95 % intervals.

    Args:
        bins: `mean`, `good` (value, low, high) and `texts` of each.
        title: for screen readers.
    """
    with drawing(5.2, 3.0) as (figure, (axis,)):
        axis.plot([0, 1], [0, 1], color=COLOURS["grey"], linewidth=0.8, linestyle=(0, (4, 3)))
        for one in bins:
            low, high = one["good"]["low"], one["good"]["high"]
            axis.plot([one["mean"]] * 2, [low, high], color=COLOURS["blue"], linewidth=1.6)
            axis.plot(one["mean"], one["good"]["value"], "o", color=COLOURS["blue"], markersize=5)
        axis.set(xlabel="ITM: match probability", ylabel="share that is good", xlim=(-0.02, 1.02))
        axis.set_ylim(-0.02, 1.02)
        return svg(figure, title)
