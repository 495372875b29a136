"""The task `detection`: COCO's AP of a detector on rows with boxes."""

from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.errors import CheckpointError
from limner.evaluate.detection import (
    ap_interval,
    boxed_rows,
    class_ap,
    coco_ap,
    detections,
    picture_f1,
)
from limner.evaluate.pictures import Progress
from limner.models.detector import Detector
from limner.suite.outcome import Measure, Outcome
from limner.suite.selection import Selection


class DetectionTask(Config):
    """Options of `limner evaluate detection`.

    Args:
        batch_size: pictures at a time.
        draws: resamples of the pictures for the intervals; 0 gives none.
    """

    batch_size: int = Field(default=8, ge=1)
    draws: int = Field(default=200, ge=0)


def run(
    bundle: Bundle, selection: Selection, settings: DetectionTask, progress: Progress | None = None
) -> Outcome:
    """Measure a detector.

    Raises: CheckpointError for another model; DataError for rows without boxes of its classes.
    """
    model, classes = bundle.model, bundle.labels
    if not isinstance(model, Detector):
        raise CheckpointError(
            f"{bundle.kind} finds no boxes",
            wanted="a detector",
            hint="limner train recipes/detection_raccoon.toml makes one",
        )
    names = {"where": selection.where, "count": selection.count, "version": selection.version}
    rows = boxed_rows(selection.path, bundle.image_spec, classes, **names)  # type: ignore[arg-type]
    found = detections(model, bundle.image_spec, rows, settings.batch_size, progress)
    values = coco_ap(rows.truth, found, len(classes))
    ends = ap_interval(rows.truth, found, len(classes), settings.draws) if settings.draws else {}
    known = {name: value for name, value in values.items() if value == value}  # not NaN
    measures = {name: Measure(value, *ends.get(name, (None, None))) for name, value in known.items()}
    each = zip(classes, class_ap(rows.truth, found, len(classes)).tolist(), strict=True)
    samples = [
        {"key": key, "score": picture_f1(truth, said), "things": len(truth.labels)}
        for key, truth, said in zip(rows.keys, rows.truth, found, strict=True)
    ]
    return Outcome(
        measures,
        samples,
        {"per_class": {name: value for name, value in each if value == value}},
        (
            "AP is no mean over pictures: a sample's score is its F1 at overlap .5 and score .5; the "
            "intervals resample pictures and count AP anew",
            "one square of the model's size; the paper tests at a short side of 600",
        ),
    )
