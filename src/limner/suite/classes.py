"""What tasks with classes share: which number each label is, and measures of class scores."""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from limner.errors import DataError
from limner.evaluate.class_scores import (
    calibration_error,
    confusion,
    order_looks_wrong,
    per_class,
    ranked,
)
from limner.suite.outcome import Measure, Outcome, mean_of

ORDER_WARNING: Final = (
    "accuracy is at chance, yet most pictures of each class are called one same other class: "
    "the order of the classes is probably wrong"
)
_MOST_CONFUSION: Final = 100
_WORDNET: Final = re.compile(r"n\d{8}")


def class_numbers(given: Sequence[str], own: Sequence[str]) -> dict[str, int]:
    """Which class each label is; see `matched_classes`.

    Raises: DataError when one of them is none.
    """
    found = matched_classes(given, own)
    strange = [label for label, place in found.items() if place is None]
    if strange:
        raise DataError(
            f"{len(strange)} of {len(found)} labels are no class: {', '.join(strange[:5])}",
            wanted=f"one of {len(own)}, such as {', '.join(own[:5])}; or its number",
        )
    return {label: place for label, place in found.items() if place is not None}


def matched_classes(given: Sequence[str], own: Sequence[str]) -> dict[str, int | None]:
    """Which class each label is, None where it is none.

    Args:
        given: labels of pictures.
        own: names in the order of the scores. A label is one of these, whatever its case and its further
            synonyms ("tench, Tinca tinca"), or a number, or, where there are as many as classes, a WordNet
            id: their order is ImageNet's.
    """
    given = sorted(set(given))
    if len(given) == len(own) and all(_WORDNET.fullmatch(label) for label in given):
        return {label: place for place, label in enumerate(given)}
    names = {_plain(label): place for place, label in reversed(list(enumerate(own)))}
    numbers = {label: int(label) for label in given if label.isdecimal() and int(label) < len(own)}
    return {label: names.get(_plain(label), numbers.get(label)) for label in given}


def _plain(label: str) -> str:
    return label.split(",")[0].strip().replace("_", " ").casefold()


class Scored(NamedTuple):
    """Class scores of pictures whose class is known.

    Args:
        keys: of the pictures.
        truth: number of the class of each.
        classes: names in the order of the scores.
        probabilities: of each class.
        calibrated: whether they are probabilities that the model means as such.
    """

    keys: list[str]
    truth: Int[np.ndarray, " n"]
    classes: Sequence[str]
    probabilities: Float[np.ndarray, "n k"]
    calibrated: bool = True

    def outcome(self, notes: Sequence[str] = (), details: dict[str, Any] | None = None) -> Outcome:
        """Top-1, top-5 and their like, one sample a picture."""
        order = ranked(self.probabilities)
        right = order[:, 0] == self.truth
        counts = confusion(order[:, 0], self.truth, len(self.classes))
        each = per_class(counts)
        measures = {"top1": mean_of(right.astype(np.float64))}
        if len(self.classes) > 5:
            measures["top5"] = mean_of((order[:, :5] == self.truth[:, None]).any(1).astype(np.float64))
        measures["mean_per_class"] = Measure(float(np.nanmean(each)))
        best = self.probabilities[np.arange(len(order)), order[:, 0]]
        if self.calibrated:
            measures["ece"] = Measure(calibration_error(np.clip(best, 0, 1), right))
        measures["chance"] = Measure(1 / len(self.classes))
        said = [ORDER_WARNING] if order_looks_wrong(counts) else []
        found: dict[str, Any] = {"per_class": dict(zip(self.classes, each.tolist(), strict=True))}
        found["confused"] = _most_confused(counts, self.classes)
        if len(self.classes) <= _MOST_CONFUSION:
            found |= {"classes": list(self.classes), "confusion": counts.tolist()}
        return Outcome(measures, self._samples(order, best), found | (details or {}), (*notes, *said))

    def _samples(self, order: Int[np.ndarray, "n k"], best: Float[np.ndarray, " n"]) -> list[dict[str, Any]]:
        return [
            {
                "key": key,
                "score": float(named == true),
                "truth": self.classes[true],
                "named": self.classes[named],
                "confidence": float(sure),
            }
            for key, true, named, sure in zip(
                self.keys, self.truth.tolist(), order[:, 0].tolist(), best, strict=True
            )
        ]


def _most_confused(
    counts: Int[np.ndarray, "k k"], classes: Sequence[str], most: int = 20
) -> list[dict[str, Any]]:
    """Pairs of classes that are mixed up most often."""
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(classes)) for place in places]
    return [
        {"truth": classes[a], "named": classes[b], "count": int(wrong[a, b])} for a, b in pairs if wrong[a, b]
    ]
