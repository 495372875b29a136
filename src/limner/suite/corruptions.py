"""The task `corruptions`: how far a classifier falls when pictures are noisy, blurred or compressed."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.corruptions import CORRUPTIONS, corrupted
from limner.errors import DataError
from limner.evaluate.pictures import Progress
from limner.evaluate.robustness import corruption_error
from limner.suite.naming import labelled_rows, names_for, seen
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection


class CorruptionsTask(Config):
    """Options of `limner evaluate corruptions`.

    Args:
        names: which, of `limner.data.corruptions.CORRUPTIONS`; empty is all.
        severities: 1 to 5.
        templates: texts with "{}" for a class.
        baseline: a file with another model's result of this task on the same rows, as `limner evaluate
            corruptions --json` prints it; against it mCE is told.
        seed: of the noise and of the intervals.
    """

    names: tuple[str, ...] = ()
    severities: tuple[int, ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    templates: tuple[str, ...] = ()
    baseline: str = ""
    seed: int = 0

    @field_validator("names")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in CORRUPTIONS]:
            raise ValueError(f"no corruption {unknown[0]!r}; there are {', '.join(CORRUPTIONS)}")
        return names


def run(
    bundle: Bundle, selection: Selection, settings: CorruptionsTask, progress: Progress | None = None
) -> Outcome:
    """Measure a classifier, or a zero-shot one, on corrupted pictures.

    Raises: ConfigError for a model that names no classes; DataError for rows without one, or a baseline that
        was not measured like this.
    """
    other = _baseline(settings) if settings.baseline else {}
    rows = labelled_rows(bundle, selection)
    names = names_for(bundle, rows.labels)
    kinds = settings.names or tuple(CORRUPTIONS)
    jobs = list(product(kinds, settings.severities))

    def right(images: list[np.ndarray]) -> np.ndarray:
        named = seen(bundle, images, names, settings.templates).named
        return np.array([names[k] == label for k, label in zip(named, rows.labels, strict=True)])

    clean, hits = right(rows.images), {}
    for done, (kind, severity) in enumerate(jobs, 1):
        rng = np.random.default_rng((settings.seed, severity, *kind.encode()))
        hits[kind, severity] = right([corrupted(image, kind, severity, rng) for image in rows.images])
        if progress:
            progress(done, len(jobs))
    each = np.mean([*hits.values()], axis=0)
    errors = {kind: [1 - float(hits[kind, s].mean()) for s in settings.severities] for kind in kinds}
    measures = {
        "corrupted_top1": mean_of(each, settings.seed),
        "clean_top1": mean_of(clean.astype(float), settings.seed),
        **{f"top1_{kind}": Measure(1 - float(np.mean(errors[kind]))) for kind in kinds},
    }
    details: dict[str, Any] = {"errors": errors, "severities": list(settings.severities)}
    details["clean"] = 1 - float(clean.mean())
    if other:
        compared = corruption_error(errors, details["clean"], other["errors"], other["clean"])
        measures |= {"mce": Measure(compared.mce), "relative_mce": Measure(compared.relative)}
        details["ce"] = compared.each
    samples = [
        {"key": key, "score": float(share), "clean": float(ok), "label": label}
        for key, share, ok, label in zip(rows.keys, each, clean, rows.labels, strict=True)
    ]
    notes = (
        "pictures are corrupted at the model's size, after resizing; twelve corruptions, without glass, snow "
        "and frost: compare with models measured here, not with published mCE",
    )
    return Outcome(measures, samples, details, notes)


def _baseline(settings: CorruptionsTask) -> dict[str, Any]:
    """The details of the baseline's result.

    Raises: DataError when the file holds none, several, or one of other severities.
    """
    wanted = "one result of limner evaluate corruptions --json at the same severities"
    try:
        told = json.loads(Path(settings.baseline).read_text(encoding="utf-8"))
        results = [
            one for one in (told if isinstance(told, list) else [told]) if one["task"] == "corruptions"
        ]
        found = [one["details"] for one in results if one["details"]["severities"] == [*settings.severities]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the baseline {settings.baseline}: {error}", wanted=wanted) from error
    if len(found) != 1:
        raise DataError(
            f"the baseline {settings.baseline} with {len(found)} of {len(results)} results", wanted=wanted
        )
    details: dict[str, Any] = found[0]
    return details
