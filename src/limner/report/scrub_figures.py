"""Charts of the scrub page: sizes, aspects, lengths of texts, light and contrast. Style of `figures`."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from limner.report.figures import COLOURS, drawing, svg

_CELLS = 32


def size_chart(widths: Sequence[int], heights: Sequence[int], title: str) -> str:
    """Width against height of the pictures, both logarithmic; larger dots are more pictures.

    Args:
        widths: pixels, > 0.
        heights: likewise.
        title: for screen readers.
    """
    logs = np.log2(np.array([widths, heights], dtype=np.float64))
    low, high = logs.min(), logs.max()
    step = max(high - low, 0.5) / _CELLS
    cells = Counter(map(tuple, np.rint((logs - low) / step).astype(int).T.tolist()))
    places = 2 ** (np.array(list(cells), dtype=np.float64) * step + low)
    counts = np.array(list(cells.values()), dtype=np.float64)
    with drawing(5.2, 3.4) as (figure, (axis,)):
        ends = 2 ** np.array([low - 0.3, high + 0.3])
        axis.plot(ends, ends, color=COLOURS["grey"], linewidth=0.8, linestyle=(0, (4, 3)))
        for part in range(1, 5):
            chosen = places[np.ceil(4 * counts / counts.max()) == part]
            axis.plot(*chosen.T, "o", color=COLOURS["blue"], markersize=2.5 + part, alpha=0.6, mew=0)
        axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="width, px", ylabel="height, px")
        ticks = 2.0 ** np.arange(np.ceil(low - 0.3), np.floor(high + 0.3) + 1)
        ticks = ticks[:: max(1, len(ticks) // 6)]
        for one in (axis.xaxis, axis.yaxis):
            one.set_ticks(ticks, [f"{tick:,.0f}" for tick in ticks])
            one.set_ticks([], minor=True)
        return svg(figure, title)


def aspect_chart(aspects: Sequence[float], title: str) -> str:
    """How many pictures have which width : height, logarithmic.

    Args:
        aspects: width divided by height, > 0.
        title: for screen readers.
    """
    logs = np.log2(np.array(aspects, dtype=np.float64))
    end = max(1.0, float(np.ceil(np.abs(logs).max())))
    with drawing(5.2, 2.6) as (figure, (axis,)):
        axis.hist(logs, np.linspace(-end, end, 61).tolist(), color=COLOURS["blue"])
        ticks = np.arange(-end, end + 1, max(1, end // 4))
        axis.set_xticks(ticks, [_ratio(tick) for tick in ticks])
        axis.set(xlabel="width : height", ylabel="pictures", xlim=(-end, end))
        axis.grid(visible=False, axis="x")
        return svg(figure, title)


def _ratio(log: float) -> str:
    return f"{2**log:g} : 1" if log >= 0 else f"1 : {2**-log:g}"


def count_chart(values: Sequence[int], label: str, what: str, title: str) -> str:
    """How often each whole number comes; the highest hundredth is drawn as one bar at the end.

    Args:
        values: numbers ≥ 0.
        label: of the x axis.
        what: is counted.
        title: for screen readers.
    """
    numbers = np.array(values, dtype=np.int64)
    end = max(3, int(np.percentile(numbers, 99)) + 1)
    width = max(1, end // 60)
    shown = np.minimum(numbers, end)
    edges = np.arange(-0.5, end + width + 0.5, width)
    with drawing(5.2, 2.6) as (figure, (axis,)):
        axis.hist(shown, edges.tolist(), color=COLOURS["blue"], rwidth=0.85 if width == 1 else 1)
        if (numbers > end).any():
            label = f"{label} (the last bar: {end:,} to {int(numbers.max()):,})"
        axis.set(xlabel=label, ylabel=what)
        axis.locator_params(axis="x", integer=True)
        axis.grid(visible=False, axis="x")
        return svg(figure, title)


def light_chart(panels: Mapping[str, Sequence[float]], title: str) -> str:
    """Histograms of measures in [0, 1], one row each.

    Args:
        panels: name → values.
        title: for screen readers.
    """
    with drawing(5.2, 0.55 + 1.15 * len(panels), rows=len(panels)) as (figure, axes):
        for axis, (name, values) in zip(axes, panels.items(), strict=True):
            axis.hist(values, np.linspace(0, 1, 51).tolist(), color=COLOURS["blue"])
            axis.set_title(name, loc="left")
            axis.set_xlim(0, 1)
            axis.grid(visible=False, axis="x")
            axis.locator_params(axis="y", nbins=3, integer=True)
            axis.tick_params(labelbottom=axis is axes[-1])
        return svg(figure, title)
