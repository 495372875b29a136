"""Two runs of the suite on one page: what changed and how sure it is, class by class, sample by sample."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from limner.report.cases import thumbnail
from limner.report.figures import COLOURS, drawing, svg
from limner.report.page import Chart
from limner.report.rendering import rendered, write_whole

TEMPLATE: Final = "compare.html.jinja"
_CLASSES: Final = 24
_HIDDEN: Final = ("key", "score", "truth")


def write_compare(
    out: str | Path,
    comparisons: Sequence[Mapping[str, Any]],
    pictures: Mapping[tuple[str, str], bytes],
) -> Path:
    """Write the page of a comparison.

    Args:
        out: the HTML file; it appears when it is whole.
        comparisons: values of `limner.suite.compare.Comparison`.
        pictures: (table, key) → encoded picture of what flipped.
    """
    small = {place: thumbnail(data) for place, data in pictures.items()}
    page = rendered(
        TEMPLATE,
        when=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
        comparisons=comparisons,
        charts=[class_charts(one) for one in comparisons],
        picture=lambda table, key: small.get((table, key), ""),
        said=said,
        verdict=verdict,
    )
    return write_whole(Path(out), page)


def verdict(difference: Mapping[str, Any]) -> str:
    """What a difference says, in words."""
    if difference["low"] <= 0 <= difference["high"]:
        return "no difference beyond chance"
    return "the second is better" if difference["value"] > 0 else "the second is worse"


def said(sample: Mapping[str, Any]) -> str:
    """What a sample's model said: its plain fields but those that are shown elsewhere."""
    shown = {name: value for name, value in sample.items() if name not in _HIDDEN and value is not None}
    return ", ".join(f"{name}: {_short(value)}" for name, value in shown.items()) or "–"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    text = " / ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= 160 else f"{text[:159]}…"


def class_charts(comparison: Mapping[str, Any]) -> list[Chart]:
    """The classes that changed most, where samples have classes."""
    classes = comparison["classes"][:_CLASSES]
    if not classes:
        return []
    total = len(comparison["classes"])
    what = "All classes" if total <= _CLASSES else f"The {_CLASSES} of {total} classes that changed most"
    caption = f"{what}: second minus first, with 95 % intervals; dark where p < 0.05 after Holm's correction."
    return [Chart(Markup(class_chart(classes, f"Change by class, {comparison['task']}")), caption)]


def class_chart(classes: Sequence[Mapping[str, Any]], title: str) -> str:
    """Change of each class with its interval, the largest first.

    Args:
        classes: `name`, `value`, `low`, `high`, `p_holm` of each.
        title: for screen readers.
    """
    with drawing(6.4, 0.8 + 0.26 * len(classes)) as (figure, (axis,)):
        rows = np.arange(len(classes))
        axis.axvline(0, color=COLOURS["grey"], linewidth=0.8)
        for row, one in zip(rows, classes, strict=True):
            sure = one["p_holm"] < 0.05
            colour = COLOURS["green" if one["value"] > 0 else "red"] if sure else COLOURS["grey"]
            axis.plot([one["low"], one["high"]], [row, row], color=colour, linewidth=1.6)
            axis.plot(one["value"], row, "o", color=colour, markersize=5)
        axis.set_yticks(rows, [one["name"] for one in classes])
        axis.set(xlabel="change of the score", ylim=(len(classes) - 0.5, -0.5))
        axis.grid(visible=False, axis="y")
        return svg(figure, title)
