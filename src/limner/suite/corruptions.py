"""The task `corruptions`: how far a classifier falls when pictures are noisy, blurred or compressed."""

from itertools import product

import numpy as np
from pydantic import Field, field_validator

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.corruptions import CORRUPTIONS, corrupted
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
        baseline: errors of another model, by corruption, one a severity, as `details["errors"]` has them;
            with them mCE is told.
        baseline_clean: its error on clean pictures.
        seed: of the noise and of the intervals.
    """

    names: tuple[str, ...] = ()
    severities: tuple[int, ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    templates: tuple[str, ...] = ()
    baseline: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    baseline_clean: float = 0.0
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

    Raises: ConfigError for a model that names no classes; DataError for rows without one.
    """
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
    if settings.baseline:
        compared = corruption_error(
            errors, 1 - float(clean.mean()), settings.baseline, settings.baseline_clean
        )
        measures |= {"mce": Measure(compared.mce), "relative_mce": Measure(compared.relative)}
    samples = [
        {"key": key, "score": float(share), "clean": float(ok), "label": label}
        for key, share, ok, label in zip(rows.keys, each, clean, rows.labels, strict=True)
    ]
    details = {"errors": errors, "severities": list(settings.severities), "clean": 1 - float(clean.mean())}
    notes = (
        "pictures are corrupted at the model's size, after resizing; twelve corruptions, without glass, snow "
        "and frost: compare with models measured here, not with published mCE",
    )
    return Outcome(measures, samples, details, notes)
