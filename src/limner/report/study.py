"""The page of a study: its verdicts, each arm's measures beside the paper's, what CapFilt did. No torch."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from limner.report.figures import COLOURS, drawing, svg
from limner.report.page import PAGE_NAME
from limner.report.rendering import measure as measure_name
from limner.report.rendering import rendered, write_whole

TEMPLATE: Final = "study.html.jinja"

NAMES: Final = {"filtered": "texts filtered out"}
"""Measures that only studies have."""

MARKS: Final = {"reproduced": "keep", "not reproduced": "gone"}
"""How a verdict is marked on the page."""


class StudyPage(NamedTuple):
    """What the page shows.

    Args:
        title: of the study.
        lead: its size, in a sentence or two.
        arms: name → what it is, the one all are held against first.
        paper: arm → measure → the paper's number.
        measured: arm → seed → measure → value.
        means: arm, measure, value, low, high and seeds, a row each.
        verdicts: claims of the paper with what came of them.
        cleanings: seed → pass of CapFilt → what it did.
    """

    title: str
    lead: str
    arms: Mapping[str, str]
    paper: Mapping[str, Mapping[str, float]]
    measured: Mapping[str, Mapping[int, Mapping[str, float]]]
    means: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Mapping[str, Any]]
    cleanings: Mapping[int, Mapping[str, Mapping[str, Any]]]


def write_study(out: Path, page: StudyPage) -> Path:
    """Write the page into a study's folder.

    Args:
        out: the folder.
        page: what it shows.
    """
    measures = list(dict.fromkeys(row["measure"] for row in page.means))
    text = rendered(
        TEMPLATE,
        page=page,
        when=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
        measures=measures,
        name=study_measure,
        cell={(row["arm"], row["measure"]): row for row in page.means},
        within=within,
        mark=lambda verdict: MARKS.get(verdict, "truth"),
        charts=[
            (Markup(arm_chart(page, measure)), study_measure(measure))
            for measure in measures
            if measure != "filtered"
        ],
    )
    return write_whole(out / PAGE_NAME, text)


def study_measure(name: str) -> str:
    """The name of a measure as people write it."""
    return NAMES.get(name, measure_name(name))


def within(low: float, high: float) -> str:
    """An interval in brackets; nothing for a single seed."""
    return f"[{low:+.3f}, {high:+.3f}]".replace("-", "−") if isfinite(low) else ""


def arm_chart(page: StudyPage, measure: str) -> str:
    """One measure, a row an arm: its seeds as small dots, the mean with its interval.

    Args:
        page: with at least one arm that has the measure.
        measure: which.
    """
    rows = [row for row in page.means if row["measure"] == measure]
    with drawing(5.2, 0.7 + 0.34 * len(rows)) as (figure, (axis,)):
        for place, row in enumerate(rows):
            colour = COLOURS["orange" if place == 0 else "blue"]
            seeds = [values[measure] for values in page.measured[row["arm"]].values() if measure in values]
            axis.plot(seeds, [place] * len(seeds), "o", color=COLOURS["grey"], markersize=3.5, alpha=0.8)
            if isfinite(row["low"]):
                ends = (row["low"], row["high"])
                axis.plot(ends, (place, place), color=colour, linewidth=2.2, solid_capstyle="round")
            axis.plot(row["value"], place, "o", color=colour, markersize=6)
        axis.axvline(rows[0]["value"], color=COLOURS["orange"], linewidth=0.8, linestyle=(0, (4, 3)))
        axis.set_yticks(range(len(rows)), [row["arm"] for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel(study_measure(measure))
        axis.grid(visible=False, axis="y")
        return svg(figure, study_measure(measure))
