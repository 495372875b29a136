"""Several views of one picture: ten crops, and whole pictures at several scales through a ResNet.

Implements: the mean of probabilities over the ten crops; the fully convolutional test, where the classifier
is applied at each place of the last map and its scores are averaged over places, then probabilities over
scales and mirror images.
Checked against: a 1×1 convolution over the map, place by place; one view at a time.

Source: He et al. 2015 (arXiv 1512.03385), section 3.4.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from limner.evaluate.pictures import normed
from limner.shapes import ImageSpec

SCALES: Final = (224, 256, 384, 480, 640)
"""Short sides, pixels."""


@torch.inference_mode()
def crops_probability(
    model: nn.Module, crops: UInt8[np.ndarray, "v y x 3"], spec: ImageSpec
) -> Float[np.ndarray, " k"]:
    """Mean class probability over the crops of one picture; see `transforms.ten_crop`."""
    pixels = normed(list(crops), spec, next(model.parameters()).device)
    mean: np.ndarray = model(pixels).logits.float().softmax(1).mean(0).cpu().numpy()
    return mean


@torch.inference_mode()
def scales_probability(
    model: nn.Module, scales: Sequence[UInt8[np.ndarray, "_y _x 3"]], spec: ImageSpec
) -> Float[np.ndarray, " k"]:
    """Mean class probability over one picture at several sizes and their mirror images.

    The classifier is linear and the pool a mean over places, so the mean of its scores over all places is its
    score of the pooled map: what a ResNet gives of a picture of any size.

    Args:
        model: a ResNet with a classifier.
        scales: the picture at each size; see `transforms.multi_scale`.
        spec: mean and deviation.
    """
    device = next(model.parameters()).device
    found = []
    for whole in scales:
        both = normed([whole, np.ascontiguousarray(whole[:, ::-1])], spec, device)
        found.append(model(both).logits.float().softmax(1).mean(0))
    mean: np.ndarray = torch.stack(found).mean(0).cpu().numpy()
    return mean
