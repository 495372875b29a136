"""What the answers of people say, beside models that were asked the same: values for a page and records."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from limner.evaluate.human import (
    NOT_ASKED,
    Agreement,
    HumanScores,
    class_accuracy,
    difficulty_agreement,
    error_consistency,
    human_scores,
    vote_credit,
)
from limner.evaluate.pictures import Progress
from limner.ready import Ready
from limner.suite.human import Part, Study, answered

_HARDEST: Final = 12


class PartReport(NamedTuple):
    """One part of a study.

    Args:
        shots: examples a class.
        people: how many took part.
        answers: how many they gave.
        scores: the columns of CLIP's table.
        each: accuracy of each person over the pictures they answered, by name.
        consistency: mean error consistency of two people over the pictures both answered; NaN for one person.
    """

    shots: int
    people: int
    answers: int
    scores: HumanScores
    each: dict[str, float]
    consistency: float


class ModelReport(NamedTuple):
    """A model that was asked the same pictures.

    Args:
        name: of the model.
        shots: the part it is compared with.
        accuracy: mean per-class accuracy.
        classes: accuracy of each class.
        difficulty: are the classes hard for people hard for it?
        consistency: its mean error consistency with each person.
    """

    name: str
    shots: int
    accuracy: float
    classes: list[float]
    difficulty: Agreement
    consistency: float


class HumanReport(NamedTuple):
    """A study so far.

    Args:
        classes: names.
        parts: one a part that somebody answered.
        class_scores: shots → mean accuracy of people for each class.
        models: one a model and part.
        hardest: of the first part: key, class, share of people who named it, what they said instead.
    """

    classes: tuple[str, ...]
    parts: list[PartReport]
    class_scores: dict[int, list[float]]
    models: list[ModelReport]
    hardest: list[dict[str, Any]]

    def values(self) -> dict[str, Any]:
        """Plain values."""
        parts = [part._asdict() | {"scores": part.scores._asdict()} for part in self.parts]
        models = [model._asdict() | {"difficulty": model.difficulty._asdict()} for model in self.models]
        return self._asdict() | {"classes": list(self.classes), "parts": parts, "models": models}


def human_report(study: Study, models: Sequence[tuple[str, Int[np.ndarray, " n"]]] = ()) -> HumanReport:
    """Score a study.

    Args:
        study: which.
        models: name and class named for each asked picture, in the order of their sorted keys; see
            `model_answers`.
    """
    given = [(shots, answered(study, shots)) for shots in study.settings.shots]
    given = [(shots, part) for shots, part in given if len(part.people)]
    scores = {shots: _class_scores(part, len(study.classes)) for shots, part in given}
    return HumanReport(
        study.classes,
        [_part(shots, part) for shots, part in given],
        {shots: found.tolist() for shots, found in scores.items()},
        [_model(name, said, shots, part, scores[shots]) for name, said in models for shots, part in given],
        _hardest(study, given[0][1]) if given else [],
    )


def model_answers(
    study: Study, ready: Ready, templates: Sequence[str] | None = None, progress: Progress | None = None
) -> Int[np.ndarray, " n"]:
    """The class a model names for each asked picture: by its classifier where that has the study's classes,
    else zero-shot.

    Args:
        study: which.
        ready: the model.
        templates: of zero-shot classification, "a photo of a {}."; the usual one when None.
        progress: counts pictures.
    """
    keys, number = sorted(study.asked), {label: n for n, label in enumerate(study.classes)}
    own = set(study.classes) <= set(ready.labels)
    found: list[int] = []
    for start in range(0, len(keys), ready.batch_size):
        pictures = study.pictures(keys[start : start + ready.batch_size])
        asked: dict[str, Any] = (
            {"top": len(ready.labels)}
            if own
            else {"labels": list(study.classes), "templates": templates, "top": 1}
        )
        for best in ready.classify(pictures, **asked):
            found.append(next(number[one.label] for one in best if one.label in number))
        if progress:
            progress(min(start + ready.batch_size, len(keys)), len(keys))
    return np.array(found)


def _part(shots: int, part: Part) -> PartReport:
    asked, right = part.answers != NOT_ASKED, part.answers == part.truth
    pairs = [
        error_consistency(right[a][both], right[b][both])
        for a in range(len(right))
        for b in range(a)
        if (both := asked[a] & asked[b]).any()
    ]
    return PartReport(
        shots=shots,
        people=len(part.people),
        answers=int(asked.sum()),
        scores=human_scores(part.answers, part.truth),
        each={name: float(r[a].mean()) for name, r, a in zip(part.people, right, asked, strict=True)},
        consistency=_mean(pairs),
    )


def _class_scores(part: Part, classes: int) -> Float[np.ndarray, " c"]:
    """Mean over people of their accuracy on each class."""
    asked, right = part.answers != NOT_ASKED, part.answers == part.truth
    each = [class_accuracy(r[a], part.truth[a], classes) for r, a in zip(right, asked, strict=True)]
    known = ~np.isnan(each)
    sums, counts = np.where(known, each, 0).sum(0), known.sum(0)
    shares: np.ndarray = np.divide(sums, counts, out=np.full(classes, np.nan), where=counts > 0)
    return shares


def _model(
    name: str,
    said: Int[np.ndarray, " n"],
    shots: int,
    part: Part,
    people: Float[np.ndarray, " c"],
) -> ModelReport:
    right: Bool[np.ndarray, " n"] = said == part.truth
    classes = class_accuracy(right, part.truth, len(people))
    asked, theirs = part.answers != NOT_ASKED, part.answers == part.truth
    alike = [error_consistency(right[a], r[a]) for r, a in zip(theirs, asked, strict=True)]
    return ModelReport(
        name,
        shots,
        float(np.nanmean(classes)),
        classes.tolist(),
        difficulty_agreement(people, classes),
        _mean(alike),
    )


def _hardest(study: Study, part: Part) -> list[dict[str, Any]]:
    """Pictures that most people got wrong."""
    asked = (part.answers != NOT_ASKED).sum(0)
    right = (part.answers == part.truth).sum(0)
    share = np.divide(right, asked, out=np.ones(len(asked)), where=asked > 0)
    credit, _ = vote_credit(part.answers, part.truth)
    order = [n for n in np.lexsort((credit, share)).tolist() if share[n] < 1][:_HARDEST]
    names = (*study.classes, "I don't know")  # DONT_KNOW is -1, the last of these
    return [
        {
            "key": part.keys[n],
            "class": study.classes[part.truth[n]],
            "right": float(share[n]),
            "said": sorted({names[a] for a in part.answers[:, n] if a not in (NOT_ASKED, part.truth[n])}),
        }
        for n in order
    ]


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
