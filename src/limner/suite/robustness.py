"""The task `robustness`: one task in several domains, by the model as it is and by a linear probe."""

import numpy as np
from jaxtyping import Bool, Int64
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from limner.checkpoint import Bundle
from limner.config import Config
from limner.errors import DataError
from limner.evaluate.pictures import Progress
from limner.evaluate.robustness import effective_robustness
from limner.suite.naming import column_of, labelled_rows, names_for, seen
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection


class RobustnessTask(Config):
    """Options of `limner evaluate robustness`.

    Args:
        domain: column that tells where a row is from.
        reference: the domain that is the model's own; "" is that of the first row.
        templates: texts with "{}" for a class.
        points: (own, shifted) accuracy of each ordinary model, for effective robustness; empty measures none.
        probe: share of the reference domain's rows that a linear probe learns from; 0 leaves it out. The
            probe is tested on the other rows of its domain, and on all rows of the others.
        probe_c: inverse strength of the probe's regularisation.
        seed: of that choice and of the intervals.
    """

    domain: str = "domain"
    reference: str = ""
    templates: tuple[str, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    probe: float = Field(default=0.5, ge=0, lt=1)
    probe_c: float = Field(default=0.1, gt=0)
    seed: int = 0


def run(
    bundle: Bundle, selection: Selection, settings: RobustnessTask, progress: Progress | None = None
) -> Outcome:
    """Measure accuracy per domain.

    Raises: DataError when the rows are of one domain; ConfigError for a model that names no classes.
    """
    rows = labelled_rows(bundle, selection)
    domains = np.array(column_of(selection, settings.domain, rows.keys))
    reference = settings.reference or str(domains[0])
    others = [name for name in sorted(set(domains.tolist())) if name != reference]
    if not others or reference not in domains:
        raise DataError(
            f"rows of {', '.join(sorted(set(domains.tolist())))} with {reference!r} as reference",
            wanted=f"rows of at least two values of {settings.domain!r}, the reference among them",
        )
    names = names_for(bundle, rows.labels)
    sight = seen(bundle, rows.images, names, settings.templates, progress)
    right = np.array([names[k] == label for k, label in zip(sight.named, rows.labels, strict=True)])
    measures = _accuracies("top1", right, domains, [reference, *others], settings.seed)
    shifted = domains != reference
    if settings.points:
        residual = effective_robustness(settings.points, right[~shifted], right[shifted], seed=settings.seed)
        measures["effective_robustness"] = Measure(*residual)
    probed = np.full(len(right), np.nan)
    if settings.probe:
        labels = np.unique(rows.labels, return_inverse=True)[1]
        held_out, hits = _probe(sight.vectors, labels, domains == reference, settings)
        probed[held_out] = hits
        measures |= _accuracies("probe", hits, domains[held_out], [reference, *others], settings.seed)
    samples = [
        {"key": key, "score": float(ok), "domain": str(domain), "named": names[k], "label": label}
        | ({} if np.isnan(hit) else {"probe": float(hit)})
        for key, ok, domain, k, label, hit in zip(
            rows.keys, right, domains, sight.named, rows.labels, probed, strict=True
        )
    ]
    unknown = sorted(set(rows.labels) - set(names))
    own, ends = float(right[~shifted].mean()), [point[0] for point in settings.points]
    beyond = ends and not min(ends) <= own <= max(ends)
    notes = (
        f"{reference} is the reference; shifted is the mean over rows of all other domains",
        *(
            ["the probe has seen the reference domain alone: its fall is that of adaptation"]
            if settings.probe
            else []
        ),
        *(
            [f"the line is continued: its models score {min(ends)} to {max(ends)}, this {own:.4f}"]
            if beyond
            else []
        ),
        *([f"top1 cannot be right of classes the model lacks: {', '.join(unknown)}"] if unknown else []),
    )
    return Outcome(measures, samples, {"classes": list(names)}, notes)


def _accuracies(
    what: str, right: Bool[np.ndarray, " n"], domains: np.ndarray, order: list[str], seed: int
) -> dict[str, Measure]:
    """Accuracy under shift, in the reference domain and in each; the first is to be quoted."""
    shifted = domains != order[0]
    found = {f"{what}_shifted": mean_of(right[shifted].astype(float), seed)}
    return found | {f"{what}_{name}": mean_of(right[domains == name].astype(float), seed) for name in order}


def _probe(
    vectors: np.ndarray,
    labels: Int64[np.ndarray, " n"],
    own: Bool[np.ndarray, " n"],
    settings: RobustnessTask,
) -> tuple[Int64[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
    """Rows that the probe has not learnt from, and whether it is right on them."""
    chosen = np.random.default_rng(settings.seed).random(len(own)) < settings.probe
    learnt, held_out = np.flatnonzero(own & chosen), np.flatnonzero(~(own & chosen))
    if len(np.unique(labels[learnt])) < 2:
        raise DataError(
            f"{len(learnt)} rows for the probe", wanted="two classes at least", hint="--set probe=0"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=settings.probe_c, max_iter=1000))
    model.fit(vectors[learnt], labels[learnt])
    hits: np.ndarray = model.predict(vectors[held_out]) == labels[held_out]
    return held_out, hits
