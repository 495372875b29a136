"""A linear classifier on frozen features, as the CLIP paper fits and chooses it."""

import numpy as np

from limner.checkpoint import Bundle
from limner.evaluate.class_scores import softmax
from limner.evaluate.pictures import Progress
from limner.evaluate.probe import check, fit, sweep_probe
from limner.suite.classes import Scored
from limner.suite.features import features
from limner.suite.outcome import Outcome
from limner.suite.rows import rows_of
from limner.suite.selection import Selection
from limner.suite.splits import SplitSettings, carve, parts


class ProbeSettings(SplitSettings):
    """Which rows a probe learns from; see `SplitSettings`."""


def measure(
    bundle: Bundle, selection: Selection, settings: ProbeSettings, progress: Progress | None
) -> Outcome:
    """Fit, choose, fit again on both, measure.

    Raises: CheckpointError when the model gives no features; DataError when rows do not fit the task.
    """
    found = parts(selection, settings)
    train, truth = features(bundle, found.train, "probe", progress), found.truth(found.train)
    check(train, truth)
    if settings.val:
        path = settings.train_path or selection.path
        val_rows = rows_of(selection.model_copy(update={"path": path, "where": settings.val, "count": 0}))
        val_rows = val_rows.labelled().only(
            [place for place, label in enumerate(val_rows.labelled().labels) if label in found.classes]
        )
        val, val_truth = features(bundle, val_rows, "probe", progress), found.truth(val_rows)
        both, both_truth = np.concatenate([train, val]), np.concatenate([truth, val_truth])
    else:
        both, both_truth = train, truth
        kept, chosen = carve(truth, settings.val_share, settings.seed)
        train, truth, val, val_truth = train[kept], truth[kept], train[chosen], truth[chosen]
    classes = len(found.classes)
    swept = sweep_probe(train, truth, val, val_truth, classes)
    final = fit(both, both_truth, classes, swept.c)
    test = features(bundle, found.test, "probe", progress)
    scores = softmax(final.scores(test))
    stopped = swept.unfinished + (not final.converged)
    notes = [*found.notes, *([f"{stopped} fits stopped after 1,000 iterations"] if stopped else [])]
    details = {
        "c": swept.c,
        "tried": {f"{log:g}": value for log, value in sorted(swept.tried.items())},
        "rows": {"fit": len(truth), "chosen on": len(val_truth), "measured": len(test)},
        "width": train.shape[1],
    }
    return Scored(found.test.keys, found.truth(found.test), found.classes, scores).outcome(notes, details)
