"""Things in pictures that a user hands in, with boxes in pixels of the picture as it came."""

from collections.abc import Sequence

import torch

from limner.checkpoint import Bundle
from limner.data.boxes import in_picture
from limner.data.intake import Source, open_picture
from limner.data.transforms import normalise
from limner.evaluate.pictures import device_of
from limner.models.detector import Detector
from limner.ready.inputs import batches, keyed_pixels
from limner.ready.results import Detection


@torch.inference_mode()
def things(bundle: Bundle, sources: Sequence[Source], least: float, batch_size: int) -> list[list[Detection]]:
    """What a detector finds, the surest first.

    Args:
        bundle: a detector.
        sources: pictures.
        least: score of what is told, at least.
        batch_size: pictures at a time.
    """
    model, spec, found = bundle.model, bundle.image_spec, []
    assert isinstance(model, Detector)
    for first, batch in batches(sources, batch_size):
        pixels = normalise(keyed_pixels(batch, spec, first)[1].to(device_of(bundle)), spec)
        for source, seen in zip(batch, model.detect(pixels), strict=True):
            boxes = in_picture(seen.boxes.cpu().numpy(), *open_picture(source).image.size, spec).tolist()
            lines = zip(boxes, seen.scores.tolist(), seen.labels.tolist(), strict=True)
            found.append([Detection(bundle.labels[k], s, tuple(box)) for box, s, k in lines if s >= least])
    return found
