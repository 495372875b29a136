"""Classes from their names alone: prompts, ensembles, languages of names, superclasses, "none of these"."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.errors import DataError
from limner.evaluate.metrics import auroc
from limner.evaluate.pictures import Progress, embed_texts
from limner.evaluate.templates import LABEL_ALONE, templates_of
from limner.evaluate.zeroshot import best_threshold, class_weights, pooled, probabilities
from limner.ready.towers import cosine_scale
from limner.suite.classes import Scored, class_numbers
from limner.suite.features import features
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.rows import Rows, rows_of
from limner.suite.selection import Selection


class ZeroShotSettings(Config):
    """What the classes are called.

    Args:
        templates: a set of OpenAI's by name (imagenet, cifar10, eurosat …), a file with one a line, or one.
        template: the one that the ensemble is compared with.
        names: CSV with the columns label and name, and perhaps superclass and names in other languages; the
            labels themselves without one.
        languages: further columns of it with names; accuracy is told for each.
        unknown: labels that are none of the classes; their pictures should be found out.
        calibrate: share of the pictures that the threshold of "none of these" is chosen on; these are not
            measured.
    """

    templates: str = "imagenet"
    template: str = "a photo of a {}."
    names: str = ""
    languages: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    calibrate: float = Field(default=0.5, gt=0, lt=1)


class Classes(NamedTuple):
    """Classes and what they are called.

    Args:
        labels: as tables have them.
        names: by column of the file: "name", "superclass", languages.
    """

    labels: list[str]
    names: dict[str, list[str]]


def measure(
    bundle: Bundle, selection: Selection, settings: ZeroShotSettings, progress: Progress | None
) -> Outcome:
    """Measure zero-shot classification.

    Raises: CheckpointError when the model compares nothing; DataError when labels or names are missing.
    """
    rows = rows_of(selection).labelled()
    strange = set(settings.unknown) - set(rows.labels)
    if strange:
        raise DataError(
            f"no picture of the unknown class {sorted(strange)[0]!r}", wanted="labels of the rows"
        )
    images = features(bundle, rows, "joint", progress)
    classes = classes_of(rows, settings)
    outside = np.array([label in settings.unknown for label in rows.labels])
    known = np.flatnonzero(~outside)
    inside, vectors = rows.only(known.tolist()), images[known]
    scored = {
        way: _scored(bundle, inside, vectors, classes, "name", templates)
        for way, templates in (
            ("all", templates_of(settings.templates)),
            ("one", templates_of(settings.template)),
            ("label", LABEL_ALONE),
        )
    }
    outcome = scored["all"].outcome(details={"templates": len(templates_of(settings.templates))})
    measures = outcome.measures | _gains(scored)
    for column in settings.languages:
        templates = templates_of(settings.templates)
        measures[f"top1_{column}"] = mean_of(
            _right(_scored(bundle, inside, vectors, classes, column, templates))
        )
    if "superclass" in classes.names:
        measures |= _superclasses(bundle, inside, vectors, classes, scored["all"], settings)
    if settings.unknown:
        measures |= _none_of_these(bundle, rows, images, classes, outside, settings)
    return outcome._replace(measures=measures)


def classes_of(rows: Rows, settings: ZeroShotSettings) -> Classes:
    """The classes of rows and their names.

    Raises: DataError when a file of names lacks a column or a label.
    """
    labels = sorted(set(rows.labels) - set(settings.unknown))
    if not settings.names:
        return Classes(labels, {"name": labels})
    try:
        with Path(settings.names).open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"no names at {settings.names}", wanted="a CSV with label and name") from error
    columns = ["name", *settings.languages, *(["superclass"] if found and "superclass" in found[0] else [])]
    missing = {"label", *columns} - set(found[0] if found else ())
    if missing:
        raise DataError(f"{settings.names} lacks {', '.join(sorted(missing))}", wanted="these columns")
    by_label = {line["label"]: line for line in found if line["label"] not in settings.unknown}
    class_numbers(labels, list(by_label))  # says which is missing
    return Classes(list(by_label), {name: [line[name] for line in by_label.values()] for name in columns})


def zero_shot_weights(
    bundle: Bundle, names: Sequence[str], templates: Sequence[str]
) -> Float[np.ndarray, "k e"]:
    """The classifier that names make, of a model with a joint space."""
    return class_weights(lambda texts: embed_texts(bundle, texts), names, templates)


def _scored(
    bundle: Bundle,
    rows: Rows,
    images: Float[np.ndarray, "n e"],
    classes: Classes,
    column: str,
    templates: Sequence[str],
) -> Scored:
    weights = zero_shot_weights(bundle, classes.names[column], templates)
    numbers = class_numbers(rows.labels, classes.labels)
    truth = np.array([numbers[label] for label in rows.labels])
    found = probabilities(images, weights, cosine_scale(bundle.model))
    return Scored(rows.keys, truth, classes.labels, found)


def _right(scored: Scored) -> Float[np.ndarray, " n"]:
    right: np.ndarray = (scored.probabilities.argmax(1) == scored.truth).astype(np.float64)
    return right


def _gains(scored: dict[str, Scored]) -> dict[str, Measure]:
    """What a template gives over the label alone, and all of them over one; paired over pictures."""
    label, one, every = (_right(scored[way]) for way in ("label", "one", "all"))
    return {
        "top1_label_alone": mean_of(label),
        "top1_one_template": mean_of(one),
        "gain_of_prompt": mean_of(one - label),
        "gain_of_ensemble": mean_of(every - one),
    }


def _superclasses(
    bundle: Bundle,
    rows: Rows,
    images: Float[np.ndarray, "n e"],
    classes: Classes,
    scored: Scored,
    settings: ZeroShotSettings,
) -> dict[str, Measure]:
    """Accuracy over superclasses: their classes' probabilities together, and their own names."""
    held = classes.names["superclass"]
    groups = sorted(set(held))
    group = np.array([groups.index(name) for name in held])
    truth = group[scored.truth]
    together = pooled(scored.probabilities, group).argmax(1)
    weights = zero_shot_weights(bundle, groups, templates_of(settings.templates))
    named = (images @ weights.T).argmax(1)
    return {
        "superclass_pooled": mean_of((together == truth).astype(np.float64)),
        "superclass_named": mean_of((named == truth).astype(np.float64)),
    }


def _none_of_these(
    bundle: Bundle,
    rows: Rows,
    images: Float[np.ndarray, "n e"],
    classes: Classes,
    outside: np.ndarray[Any, Any],
    settings: ZeroShotSettings,
) -> dict[str, Measure]:
    """How well pictures of unknown classes are told by the probability of the likeliest class."""
    weights = zero_shot_weights(bundle, classes.names["name"], templates_of(settings.templates))
    sure = probabilities(images, weights, cosine_scale(bundle.model)).max(1)
    chosen = np.array([_part(picture) < settings.calibrate for picture in rows.pictures])
    threshold = best_threshold(sure[chosen], ~outside[chosen])
    known, kept = ~outside[~chosen], sure[~chosen] >= threshold
    return {
        "none_auroc": Measure(auroc(sure[~chosen], known)),
        "none_found": mean_of((~kept[~known]).astype(np.float64)),
        "known_kept": mean_of(kept[known].astype(np.float64)),
        "none_threshold": Measure(threshold),
    }


def _part(picture: str) -> float:
    """A number in [0, 1) that depends on the picture alone."""
    return int.from_bytes(hashlib.sha256(picture.encode()).digest()[:4]) / 2**32
