"""Classification: cross entropy with label smoothing, and pictures mixed in pairs.

Implements: cross entropy and one sigmoid a class; mixup (a weighted sum of two pictures) and CutMix (a
    rectangle of one in the other), the labels mixed in the same share.
Differs: both mix a batch with itself in reversed order, as timm does, so one share holds for a batch.
Checked against: loops over rows and classes written from the definitions.

Source: Szegedy et al. 2016 (arXiv 1512.00567), section 7; Zhang et al. 2018 (mixup, arXiv 1710.09412), eq. 1;
Yun et al. 2019 (CutMix, arXiv 1905.04899), eq. 1 and 2; Beyer et al. 2020 (arXiv 2006.07159) for sigmoids.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from limner.errors import ShapeError


def soft_targets(labels: Int[Tensor, " b"], classes: int, smoothing: float = 0.0) -> Float[Tensor, "b k"]:
    """What a classifier should say: (1 − ε)·one-hot + ε/k.

    Args:
        labels: [0, classes).
        classes: k.
        smoothing: ε, [0, 1).
    Raises: ShapeError when a label is no class.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ShapeError(
            f"labels from {int(labels.min())} to {int(labels.max())}", wanted=f"0 to {classes - 1}"
        )
    even = torch.full((len(labels), classes), smoothing / classes, device=labels.device)
    return even.scatter_add(1, labels[:, None], torch.full_like(even[:, :1], 1 - smoothing))


def classification_loss(
    logits: Float[Tensor, "b k"],
    targets: Float[Tensor, "b k"],
    form: Literal["softmax", "sigmoid"] = "softmax",
) -> Float[Tensor, ""]:
    """Cross entropy with soft targets, mean over rows, nats.

    Args:
        logits: of the classes.
        targets: shares of each row.
        form: "sigmoid" asks each class by itself, and sums over classes.
    """
    if form == "softmax":
        return functional.cross_entropy(logits.float(), targets)
    each = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return each.sum(1).mean()


class Mixed(NamedTuple):
    """A batch after mixing.

    Args:
        pixels: as they came in.
        targets: mixed in the same share.
    """

    pixels: Float[Tensor, "b 3 y x"]
    targets: Float[Tensor, "b k"]


def mixed(
    pixels: Float[Tensor, "b 3 y x"],
    targets: Float[Tensor, "b k"],
    generator: torch.Generator,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> Mixed:
    """Mix each picture with the one that mirrors it in the batch.

    Args:
        pixels: normalised.
        targets: see `soft_targets`.
        generator: two draws and a place; any device.
        mixup: α of the Beta(α, α) that shares are drawn from; 0 is off.
        cutmix: likewise; with both, a coin decides for each batch.
    """
    if not (mixup or cutmix):
        return Mixed(pixels, targets)
    cut = bool(cutmix) and (not mixup or _uniform(generator) < 0.5)
    share = _beta(cutmix if cut else mixup, generator)
    if cut:
        pixels, share = _with_a_window(pixels, share, generator)
    else:
        pixels = torch.lerp(pixels.flip(0), pixels, share)
    return Mixed(pixels, torch.lerp(targets.flip(0), targets, share))


def _with_a_window(
    pixels: Float[Tensor, "b 3 y x"], share: float, generator: torch.Generator
) -> tuple[Float[Tensor, "b 3 y x"], float]:
    """The pictures with a window of their mirrors, and the share of them that is left."""
    height, width = pixels.shape[2:]
    side = (1 - share) ** 0.5
    top, down = _span(height, side, generator)
    left, right = _span(width, side, generator)
    pixels = pixels.clone()
    pixels[:, :, top:down, left:right] = pixels.flip(0)[:, :, top:down, left:right]
    return pixels, 1 - (down - top) * (right - left) / (height * width)


def _span(length: int, side: float, generator: torch.Generator) -> tuple[int, int]:
    """A stretch of `side · length` around a place drawn anywhere, cut at the ends."""
    middle, half = int(_uniform(generator) * length), int(length * side) / 2
    return max(0, round(middle - half)), min(length, round(middle + half))


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator, device=generator.device))


def _beta(alpha: float, generator: torch.Generator) -> float:
    """A draw from Beta(α, α) by two gammas; where both vanish, as for tiny α, 0 or 1."""
    shape = torch.full((2,), alpha, device=generator.device)
    pair = torch._standard_gamma(shape, generator=generator)
    total = float(pair.sum())
    return float(pair[0]) / total if total > 0 else float(_uniform(generator) < 0.5)


def accuracy(logits: Float[Tensor, "b k"], labels: Int[Tensor, " b"], top: int = 1) -> Float[Tensor, ""]:
    """Share of rows whose class is among the `top` highest."""
    best = logits.topk(min(top, logits.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1).float().mean()
