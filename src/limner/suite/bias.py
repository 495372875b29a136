"""The task `bias`: labels and words by group, with tests; it shows that groups differ, not why."""

from itertools import combinations
from typing import Any, Literal

import numpy as np
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.errors import DataError
from limner.evaluate.bias import Skew, corrected, label_shares, permutation_p, term_skew, two_sided
from limner.evaluate.pictures import Progress
from limner.evaluate.tables import Pictured, pictured
from limner.suite.naming import column_of, names_for, seen
from limner.suite.outcome import Measure, Outcome
from limner.suite.selection import Selection


class BiasTask(Config):
    """Options of `limner evaluate bias`.

    Args:
        group: column whose values are compared.
        labels: classes that the model chooses from, zero-shot; empty takes its own classes, or the rows'.
        templates: texts with "{}" for a class.
        words: "rows" compares the words of the rows' texts by group too, "none" leaves texts alone.
        draws: shuffles of the groups for the p-value.
        most: words told for each pair of groups.
        seed: of the shuffles.
    """

    group: str = "source"
    labels: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    words: Literal["rows", "none"] = "rows"
    draws: int = Field(default=1000, ge=1)
    most: int = Field(default=20, ge=1)
    seed: int = 0


def run(
    bundle: Bundle, selection: Selection, settings: BiasTask, progress: Progress | None = None
) -> Outcome:
    """Compare what a model names the pictures of each group, and what is said of them.

    Raises: DataError when there is one group, or nothing to choose from.
    """
    names = {"where": selection.where, "count": selection.count, "version": selection.version}
    texts_column = selection.texts_column
    rows = pictured(selection.path, bundle.image_spec, texts_column=texts_column, **names)  # type: ignore[arg-type]
    groups = column_of(selection, settings.group, rows.keys)
    classes = settings.labels or names_for(bundle, [label for label in rows.labels if label])
    if len(classes) < 2:
        raise DataError(
            f"{len(classes)} class(es) to choose from", wanted="at least two", hint="--set labels=[…]"
        )
    sight = seen(bundle, rows.images, classes, settings.templates, progress)
    said = [classes[k] for k in sight.named]
    statistic, p = permutation_p(said, groups, settings.draws, settings.seed)
    shares = label_shares(said, groups)
    spread = {
        label: max(of[label].value for of in shares.values()) - min(of[label].value for of in shares.values())
        for label in sorted(set(said))
    }
    tested = _each_label(said, groups, settings)
    measures = {
        "largest_gap": Measure(max(spread.values())),
        "chi_square": Measure(statistic),
        "p": Measure(p),
        "labels_that_differ": Measure(float(sum(q < 0.05 for q in tested.values()))),
    }
    details: dict[str, Any] = {
        "shares": {
            group: {label: list(share) for label, share in of.items()} for group, of in shares.items()
        },
        "gaps": spread,
        "corrected_p": tested,
    }
    if settings.words == "rows" and any(rows.texts):
        details["words"] = _skews(rows, groups, settings)
    samples = [
        {"key": key, "score": float(word == spoken), "group": group, "named": word}
        for key, word, spoken, group in zip(rows.keys, said, rows.labels, groups, strict=True)
    ]
    notes = (
        "a difference between groups may lie in the pictures, in the classes offered or in the model; shares "
        "have Wilson intervals, p-values shuffle the groups and are corrected after Benjamini and Hochberg",
    )
    return Outcome(measures, samples, details, notes)


def _each_label(said: list[str], groups: list[str], settings: BiasTask) -> dict[str, float]:
    """Corrected p-value of each label against all others."""
    names = sorted(set(said))
    if len(names) < 2:
        return {}
    values = []
    for name in names:
        own = ["yes" if word == name else "no" for word in said]
        values.append(permutation_p(own, groups, settings.draws, settings.seed)[1])
    return dict(zip(names, corrected(values).tolist(), strict=True))


def _skews(rows: Pictured, groups: list[str], settings: BiasTask) -> dict[str, list[dict[str, Any]]]:
    """The most skewed words of every pair of groups that say something."""
    spoken: dict[str, list[str]] = {}
    for texts, group in zip(rows.texts, groups, strict=True):
        if texts:
            spoken.setdefault(group, []).extend(texts)
    return {
        f"{one} / {other}": _told(term_skew(spoken[one], spoken[other]), settings.most)
        for one, other in combinations(sorted(spoken), 2)
    }


def _told(skews: list[Skew], most: int) -> list[dict[str, Any]]:
    if not skews:
        return []
    q = corrected(np.array([two_sided(skew.z) for skew in skews]).tolist())
    return [{**skew._asdict(), "q": float(value)} for skew, value in zip(skews[:most], q, strict=False)]
