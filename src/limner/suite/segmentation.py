"""The task `segmentation`: mIoU of a linear head on frozen features, on scenes or on a table's masks."""

import numpy as np
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.masks import KINDS, Masked, classes_in, masked_rows, masked_scenes
from limner.data.scenes import SceneSettings
from limner.evaluate.pictures import Progress
from limner.evaluate.segmentation import class_iou, confusion, fit_head, maps_of, predicted
from limner.suite.outcome import Measure, Outcome
from limner.suite.selection import Selection


class SegmentationTask(Config):
    """Options of `limner evaluate segmentation`.

    Args:
        scenes: how many generated scenes, where no table is given; a count of the selection goes before it.
        scenes_seed: which; none that the model was trained on.
        table: path of a table with masks; "" makes scenes.
        where: only rows of it this SQL filter holds for.
        column: of the masks.
        learn: share of the pictures that the head learns from; it is measured on the others.
        c: inverse strength of its regularisation.
        draws: resamples of the pictures for the interval.
        seed: of the choices.
    """

    scenes: int = Field(default=300, ge=2)
    scenes_seed: int = 3
    table: str = ""
    where: str = ""
    column: str = "mask"
    learn: float = Field(default=0.5, gt=0, lt=1)
    c: float = Field(default=0.1, gt=0)
    draws: int = Field(default=500, ge=1)
    seed: int = 0


def run(
    bundle: Bundle, selection: Selection, settings: SegmentationTask, progress: Progress | None = None
) -> Outcome:
    """Fit a head on some pictures and measure it on the rest.

    Raises: CheckpointError for a model without a map of places; DataError without masks.
    """
    data = _data(bundle, selection, settings)
    maps = maps_of(bundle, data.images, progress=progress)
    cut = max(1, min(len(data.keys) - 1, round(settings.learn * len(data.keys))))
    head = fit_head(maps[:cut], data.masks[:cut], settings.c, seed=settings.seed)
    truth, classes = data.masks[cut:], classes_in(data.masks)
    said = [predicted(head, one, *mask.shape) for one, mask in zip(maps[cut:], truth, strict=True)]
    each = np.stack([confusion([t], [s], classes) for t, s in zip(truth, said, strict=True)])
    iou = class_iou(each.sum(0))
    rng = np.random.default_rng(settings.seed)
    drawn = [
        np.nanmean(class_iou(each[rng.integers(len(each), size=len(each))].sum(0)))
        for _ in range(settings.draws)
    ]
    low, high = (float(value) for value in np.quantile(drawn, (0.025, 0.975)))
    right = np.array([np.diag(counts).sum() / counts.sum() for counts in each])
    total = each.sum(0)
    measures = {
        "miou": Measure(float(np.nanmean(iou)), low, high),
        "pixel_accuracy": Measure(float(np.diag(total).sum() / total.sum())),
        "commonest": Measure(float(total.sum(1).max() / total.sum())),
    }
    names = tuple(map(str, range(classes))) if settings.table else KINDS
    details = {"iou": {names[k]: float(value) for k, value in enumerate(iou) if value == value}}
    samples = [{"key": key, "score": float(share)} for key, share in zip(data.keys[cut:], right, strict=True)]
    notes = (
        f"{cut} pictures taught the head, {len(each)} measure it; a score is a share of right pixels",
        "commonest is the pixel accuracy of naming everything the commonest class",
    )
    return Outcome(measures, samples, details, notes)


def _data(bundle: Bundle, selection: Selection, settings: SegmentationTask) -> Masked:
    if settings.table:
        where, count = settings.where, selection.count
        return masked_rows(settings.table, bundle.image_spec, settings.column, where, count)
    family, count = SceneSettings(seed=settings.scenes_seed), selection.count or settings.scenes
    return masked_scenes(family, 0, count, bundle.image_spec)
