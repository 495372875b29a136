"""How often a classifier names the class: top-1, top-5 and cross entropy over labelled pictures.

Checked against: a loop over rows.
Source: Russakovsky et al. 2015 (ILSVRC, arXiv 1409.0575), section 4.1, for top-5.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn
from torch.nn import functional

from limner.data.batches import numbered
from limner.evaluate.pictures import Progress, normed
from limner.shapes import ImageSpec


@torch.inference_mode()
def classification(
    model: nn.Module,
    spec: ImageSpec,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    labels: Sequence[str],
    classes: Sequence[str],
    batch_size: int = 256,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Classify pictures whose class is known.

    Args:
        model: gives `logits`, one a class; in eval mode.
        spec: its preprocessing.
        images: u8 pixels at the model's size.
        labels: class of each.
        classes: in the order of the logits.
        batch_size: pictures at a time.
        progress: counts pictures.
    Returns: `top1`, with more than five classes `top5`, in [0, 1], and `loss`, nats.
    Raises: DataError when a label is no class.
    """
    truth = numbered(list(zip(map(str, range(len(labels))), labels, strict=True)), classes)
    device = next(model.parameters()).device
    first = fifth = loss = 0.0
    for start in range(0, len(images), batch_size):
        stop = min(start + batch_size, len(images))
        logits = model(normed(images[start:stop], spec, device)).logits.float()
        wanted = truth[start:stop].to(device)
        best = logits.topk(min(5, len(classes)), dim=1).indices == wanted[:, None]
        first, fifth = first + float(best[:, 0].sum()), fifth + float(best.any(1).sum())
        loss += float(functional.cross_entropy(logits, wanted, reduction="sum"))
        if progress:
            progress(stop, len(images))
    shares = {"top1": first, **({"top5": fifth} if len(classes) > 5 else {}), "loss": loss}
    return {name: value / len(images) for name, value in shares.items()}
