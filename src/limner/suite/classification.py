"""The classifier a model was trained with, on one view of each picture, on ten crops, or at many scales."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.transforms import multi_scale, ten_crop, to_u8
from limner.errors import CheckpointError
from limner.evaluate.pictures import Progress, device_of, normed
from limner.evaluate.views import SCALES, crops_probability, scales_probability
from limner.models.resnet import ResNet
from limner.ready.abilities import class_count, is_vision
from limner.ready.classes import own_labels
from limner.ready.towers import class_logits
from limner.suite.classes import Scored, class_numbers
from limner.suite.features import StoredFeatures
from limner.suite.outcome import Outcome
from limner.suite.rows import Rows, rows_of
from limner.suite.selection import Selection


class ClassificationSettings(Config):
    """How pictures are looked at.

    Args:
        views: "one" as the checkpoint says, "ten" crops, or "scales": whole pictures at several sizes.
        scales: short sides of "scales", pixels.
        batch_size: pictures at a time, with one view.
    """

    views: Literal["one", "ten", "scales"] = "one"
    scales: tuple[int, ...] = Field(default=SCALES, min_length=1)
    batch_size: int = Field(default=64, ge=1)


def measure(
    bundle: Bundle, selection: Selection, settings: ClassificationSettings, progress: Progress | None
) -> Outcome:
    """Measure a classifier.

    Raises: CheckpointError when the model has none, or cannot be shown the views; DataError when labels are
        not its classes.
    """
    _require(bundle, settings)
    rows, classes = rows_of(selection).labelled(), own_labels(bundle)
    numbers = class_numbers(rows.labels, classes)
    truth = np.array([numbers[label] for label in rows.labels])
    if settings.views == "one":
        scores = _one_view(bundle, rows, settings.batch_size, progress)
    else:
        scores = _many_views(bundle, rows, settings, progress)
    notes = [] if bundle.labels else ["the model names no classes; labels are taken for their numbers"]
    if settings.views == "scales":
        notes.append("probabilities are averaged over scales and mirrors, scores over places")
    return Scored(rows.keys, truth, classes, scores).outcome(notes)


def _require(bundle: Bundle, settings: ClassificationSettings) -> None:
    stored = isinstance(bundle.model, StoredFeatures)
    if stored or not class_count(bundle.model):
        raise CheckpointError(
            f"{bundle.path} is a {bundle.kind} without a classifier",
            wanted="a model that was trained on classes",
            hint="limner evaluate zeroshot for a model that reads texts, probe for any other",
        )
    if settings.views == "scales" and not isinstance(bundle.model, ResNet):
        raise CheckpointError(
            f"{bundle.path} is a {bundle.kind}, which reads pictures of one size",
            wanted="a ResNet for pictures at several scales",
            hint="--set views=ten",
        )
    if settings.views == "ten" and not is_vision(bundle.model):
        raise CheckpointError(f"{bundle.path} is a {bundle.kind}", wanted="a ResNet or a ViT for ten crops")


@torch.inference_mode()
def _one_view(
    bundle: Bundle, rows: Rows, batch_size: int, progress: Progress | None
) -> Float[np.ndarray, "n k"]:
    spec, device = bundle.image_spec, device_of(bundle)
    parts = []
    for places, pixels in rows.batches(lambda picture: to_u8(picture, spec), batch_size):
        scores = class_logits(bundle.model, normed(pixels, spec, device))
        parts.append(scores.softmax(1).cpu().numpy())
        if progress:
            progress(places.stop, len(rows.keys))
    return np.concatenate(parts)


def _many_views(
    bundle: Bundle, rows: Rows, settings: ClassificationSettings, progress: Progress | None
) -> Float[np.ndarray, "n k"]:
    """One picture at a time: its views are a batch."""
    spec, ten = bundle.image_spec, settings.views == "ten"
    found = []
    for places, views in rows.batches(
        lambda picture: ten_crop(picture, spec) if ten else multi_scale(picture, spec, settings.scales), 8
    ):
        for one in views:
            read = crops_probability if ten else scales_probability
            found.append(read(bundle.model, one, spec))
        if progress:
            progress(places.stop, len(rows.keys))
    return np.stack(found)
