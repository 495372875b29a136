"""The page of a study of people: CLIP's table, the difficulty of classes, who errs where. No torch.

Source of the table: Radford et al. 2021 (CLIP, arXiv 2103.00020), table 2.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from limner.report.cases import thumbnail
from limner.report.figures import COLOURS, drawing, svg
from limner.report.page import Chart
from limner.report.rendering import rendered, write_whole

TEMPLATE: Final = "human.html.jinja"


def write_human(
    out: str | Path, title: str, report: Mapping[str, Any], pictures: Mapping[str, bytes]
) -> Path:
    """Write the page of a study.

    Args:
        out: the HTML file; it appears when it is whole.
        title: name of what was asked.
        report: values of `limner.suite.human_report.HumanReport`.
        pictures: key → encoded picture of the hardest.
    """
    page = rendered(
        TEMPLATE,
        title=title,
        when=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
        report=report,
        charts=difficulty_charts(report),
        words=shots_in_words,
        pictures={key: thumbnail(data) for key, data in pictures.items()},
    )
    return write_whole(Path(out), page)


def difficulty_charts(report: Mapping[str, Any]) -> list[Chart]:
    """A model's accuracy on each class against people's, one drawing a model and part."""
    made = []
    for model in report["models"]:
        people = np.array(report["class_scores"][model["shots"]], dtype=np.float64)
        known = ~np.isnan(people)
        drawn = difficulty_chart(
            people[known],
            np.array(model["classes"], dtype=np.float64)[known],
            [name for name, is_known in zip(report["classes"], known, strict=True) if is_known],
            f"Accuracy on each class: people and {model['name']}",
        )
        rank = model["difficulty"]["value"]
        told = "not known" if np.isnan(rank) else f"{rank:+.2f}"
        caption = f"Each dot is a class. Rank correlation {told} over {model['difficulty']['pairs']} classes."
        made.append(Chart(Markup(drawn), f"{model['name']}, {shots_in_words(model['shots'])}. {caption}"))
    return made


def difficulty_chart(people: np.ndarray, model: np.ndarray, names: list[str], title: str) -> str:
    """Accuracy of a model on each class against that of people.

    Args:
        people: shares, one a class.
        model: likewise.
        names: of the classes; those that differ most are written beside their dots.
        title: for screen readers.
    """
    with drawing(5.2, 4.0) as (figure, (axis,)):
        axis.plot([0, 1], [0, 1], color=COLOURS["grey"], linewidth=0.8, linestyle=(0, (4, 3)))
        axis.plot(people, model, "o", color=COLOURS["blue"], markersize=5, alpha=0.6, mew=0)
        together: dict[tuple[float, float], list[str]] = {}
        for place in np.argsort(-np.abs(people - model), kind="stable")[:6]:
            together.setdefault((float(people[place]), float(model[place])), []).append(names[place])
        for dot, named in together.items():
            to_left = dot[0] > 0.6
            axis.annotate(
                ", ".join(named),
                dot,
                xytext=(-6 if to_left else 6, 4),
                textcoords="offset points",
                ha="right" if to_left else "left",
                fontsize=8,
            )
        axis.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xlabel="people", ylabel="model")
        return svg(figure, title)


def shots_in_words(shots: int) -> str:
    """A part of the test as people say it."""
    return "no examples" if shots == 0 else f"{shots} example{'s' * (shots > 1)} a class"
