"""From a picture to the pixels a model reads, exactly as its `ImageSpec` says.

`to_u8` is the one resize path of limner: training, evaluation, search and serving all call it, so a number
measured by one holds for the others. `normalise` runs on the batch, where the model is.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from limner.shapes import ImageSpec

_FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def to_u8(image: Image.Image, spec: ImageSpec) -> UInt8[np.ndarray, "y x 3"]:
    """Resize and crop one RGB picture to the square the model reads.

    Args:
        image: RGB, upright; what `limner.data.intake` returns.
        spec: size, filter and crop that travel with the weights.
    Returns: (spec.size, spec.size, 3) u8 pixels, writable and contiguous.
    """
    return np.array(_CROPS[spec.crop](image, spec))


def _squash(image: Image.Image, spec: ImageSpec) -> Image.Image:
    return image.resize((spec.size, spec.size), _FILTERS[spec.resampling])


def _center(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """As timm: short side to floor(size / crop_fraction), then the middle, rounded as torchvision does."""
    short = math.floor(spec.size / spec.crop_fraction)
    width, height = image.size
    size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    resized = image if image.size == size else image.resize(size, _FILTERS[spec.resampling])
    left, top = (round((side - spec.size) / 2.0) for side in size)
    return resized.crop((left, top, left + spec.size, top + spec.size))


def _pad(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """The whole picture, its long side filling the square, on the colour that normalises to zero."""
    scale = spec.size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    red, green, blue = (round(255 * value) for value in spec.mean)
    square = Image.new("RGB", (spec.size, spec.size), (red, green, blue))
    resized = image.resize((width, height), _FILTERS[spec.resampling])
    square.paste(resized, ((spec.size - width) // 2, (spec.size - height) // 2))
    return square


_CROPS: Final[dict[str, Callable[[Image.Image, ImageSpec], Image.Image]]] = {
    "squash": _squash,
    "center": _center,
    "pad": _pad,
}


def normalise(images: UInt8[Tensor, "b 3 y x"], spec: ImageSpec) -> Float[Tensor, "b 3 y x"]:
    """Turn u8 pixels into the normed pixels the model was trained on: (u8 / 255 - mean) / std.

    Args:
        images: u8 batch, on any device.
        spec: mean and std per channel.
    Returns: float32 on the same device.
    """
    mean = torch.tensor(spec.mean, device=images.device).view(3, 1, 1)
    std = torch.tensor(spec.std, device=images.device).view(3, 1, 1)
    return images.to(torch.float32).sub_(255 * mean).div_(255 * std)


def augment(
    image: UInt8[np.ndarray, "y x 3"], rng: np.random.Generator, strength: float = 0.2, shift: float = 0.06
) -> UInt8[np.ndarray, "y x 3"]:
    """Jitter brightness and contrast and move the picture a little; never mirror, captions know left from
    right.

    Args:
        image: u8 pixels.
        rng: the only source of chance; the same state gives the same picture.
        strength: largest relative change of brightness and of contrast, [0, 1).
        shift: largest move along each axis as a share of the side, [0, 0.5); the border pixel fills the gap.
    Returns: a new array of the same shape.
    """
    brightness, contrast = rng.uniform(1 - strength, 1 + strength, 2)
    levels = (np.arange(256) * brightness - 127.5) * contrast + 127.5
    height, width = image.shape[:2]
    down, right = (
        int(rng.integers(-reach, reach + 1)) for reach in (int(shift * height), int(shift * width))
    )
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    moved: np.ndarray = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[image[rows[:, None], columns]]
    return moved
