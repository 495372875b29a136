"""What every place of a picture shows, told by a linear head on frozen features: mIoU.

A logistic regression names each place of the model's map by its features; its scores are brought to the size
of the mask and the best class of each pixel is compared with the truth.
Checked against: a loop over pixels and classes.

Source: Long et al. 2015 (arXiv 1411.4038), section 5, for mean intersection over union; the linear head is
what Oquab et al. 2023 (DINOv2, arXiv 2304.07193), section 7.4, call linear evaluation.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from limner.checkpoint import Bundle
from limner.errors import CheckpointError, DataError
from limner.evaluate.pictures import Progress, device_of, normed
from limner.models.blip import BLIP
from limner.models.blip_nlvr2 import BLIPNLVR2
from limner.models.blip_vqa import BLIPVQA
from limner.models.clip import CLIP
from limner.models.resnet import ResNet
from limner.models.vit import ViT

Masks = Sequence[UInt8[np.ndarray, "y x"]]


def place_features(model: nn.Module, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b d h w"]:
    """The last map of a model: of a ResNet as it is, of a transformer its patches row by row.

    Args:
        model: a ResNet, ViT, CLIP or BLIP.
        pixels: `normed`, of the model's size.
    Raises: CheckpointError for another model.
    """
    if isinstance(model, ResNet):
        return model.features(pixels).float()
    if isinstance(model, ViT):
        tokens: Tensor = model(pixels).tokens
    elif isinstance(model, CLIP):
        tokens = model.encode_image_tokens(pixels)
    elif isinstance(model, (BLIP, BLIPVQA, BLIPNLVR2)):
        tokens = model.encode_image(pixels)
    else:
        raise CheckpointError(
            f"{type(model).__name__} has no map of places", wanted="a ResNet, ViT, CLIP or BLIP"
        )
    side = int(tokens.shape[1] ** 0.5)
    cells = tokens[:, tokens.shape[1] - side * side :].float()
    return cells.transpose(1, 2).reshape(len(cells), -1, side, side)


@torch.inference_mode()
def maps_of(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n d h w"]:
    """Features of every place of pictures at the model's size."""
    parts = []
    for start in range(0, len(images), batch_size):
        stop = min(start + batch_size, len(images))
        pixels = normed(images[start:stop], bundle.image_spec, device_of(bundle))
        parts.append(place_features(bundle.model, pixels).cpu().numpy())
        if progress:
            progress(stop, len(images))
    return np.concatenate(parts)


def fit_head(
    maps: Float[np.ndarray, "n d h w"], masks: Masks, c: float = 0.1, most: int = 20_000, seed: int = 0
) -> Pipeline:
    """A linear head that names places; a place is what most of its pixels show.

    Args:
        maps: features of pictures.
        masks: class numbers of each pixel, at any size.
        c: inverse strength of regularisation.
        most: places that are learnt from, drawn at random.
        seed: of that choice.
    Raises: DataError when all places show one class.
    """
    cells = np.stack([cell_classes(mask, maps.shape[2], maps.shape[3]) for mask in masks]).ravel()
    features = maps.transpose(0, 2, 3, 1).reshape(len(cells), -1)
    if len(np.unique(cells)) < 2:
        raise DataError("masks of one class", wanted="places of at least two classes to learn from")
    drawn = np.random.default_rng(seed).permutation(len(cells))[:most]
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300)).fit(
        features[drawn], cells[drawn]
    )


def cell_classes(mask: UInt8[np.ndarray, "y x"], height: int, width: int) -> Int[np.ndarray, "h w"]:
    """The commonest class inside each cell of a grid; of equals the smallest number.

    Args:
        mask: class numbers; at least as large as the grid.
        height: cells.
        width: cells.
    """
    rows = np.linspace(0, mask.shape[0], height + 1).astype(int)
    columns = np.linspace(0, mask.shape[1], width + 1).astype(int)
    return np.array(
        [
            [
                np.bincount(mask[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].ravel()).argmax()
                for j in range(width)
            ]
            for i in range(height)
        ]
    )


def predicted(head: Pipeline, features: Float[np.ndarray, "d h w"], height: int, width: int) -> np.ndarray:
    """Class of each pixel of one picture.

    Args:
        head: fitted.
        features: its map.
        height: of the mask, pixels.
        width: likewise.
    Returns: (height, width) class numbers.
    """
    d, h, w = features.shape
    scores = head.decision_function(features.reshape(d, h * w).T)
    if scores.ndim == 1:  # two classes: one score
        scores = np.stack([-scores, scores], 1)
    grid = torch.from_numpy(scores.T.reshape(1, -1, h, w))
    large = functional.interpolate(grid, (height, width), mode="bilinear", align_corners=False)
    named: np.ndarray = head.classes_[large[0].argmax(0).numpy()]
    return named


def confusion(truth: Masks, said: Sequence[np.ndarray], classes: int) -> Int[np.ndarray, "k k"]:
    """Pixels by true class (rows) and named class (columns), of pictures together.

    Args:
        truth: class numbers of pixels.
        said: likewise.
        classes: how many there are.
    """
    total = np.zeros((classes, classes), np.int64)
    for mask, named in zip(truth, said, strict=True):
        pairs = mask.astype(np.int64).ravel() * classes + named.astype(np.int64).ravel()
        total += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return total


def class_iou(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """Intersection over union of each class; NaN for one that is neither there nor named."""
    inside = np.diag(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - inside
    result: np.ndarray = np.divide(inside, union, out=np.full(len(inside), np.nan), where=union > 0)
    return result
