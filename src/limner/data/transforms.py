"""From a picture to the pixels a model reads, exactly as its `ImageSpec` says.

`to_u8` is the one resize path of limner: training, evaluation, search and serving all call it, so a number
measured by one holds for the others. `normalise` runs on the batch, where the model is.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from limner.shapes import ImageSpec

_MOST_PIXELS: Final = 64_000_000  # of a resized picture before its middle is cut: 256 MB

Box = tuple[int, int, int, int]

FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def to_u8(image: Image.Image, spec: ImageSpec) -> UInt8[np.ndarray, "y x 3"]:
    """Resize one RGB picture and cut or pad it to the square the model reads.

    Args:
        image: RGB, upright; what `limner.data.intake` returns.
        spec: size, filter and crop that travel with the weights.
    Returns: (spec.size, spec.size, 3) u8 pixels, writable and contiguous.
    """
    sides = _SIDES[spec.crop](*image.size, spec)
    box = _middle(sides, spec)
    if sides[0] * sides[1] > _MOST_PIXELS:
        middle = _resize_middle(image, sides, box, spec)
    else:
        resized = image if image.size == sides else image.resize(sides, FILTERS[spec.resampling])
        middle = resized if box == (0, 0, *sides) else resized.crop(box)
    return np.array(_laid_on_square(middle, spec))


class Placement(NamedTuple):
    """Where a picture comes to lie in the square: x · scale_x + left, y · scale_y + top.

    Args:
        scale_x, scale_y: pixels of the square for one of the picture.
        left, top: of the picture's corner in the square; below 0 where it is cut off.
        seen: left, top, right, bottom of what the square shows of it, pixels of the square.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    seen: Box


def placement(width: int, height: int, spec: ImageSpec) -> Placement:
    """What `to_u8` does to places, as it does it to pixels.

    Args:
        width: of the picture, pixels.
        height: likewise.
        spec: size and crop.
    """
    sides = _SIDES[spec.crop](width, height, spec)
    kept = _middle(sides, spec)
    across, down = kept[2] - kept[0], kept[3] - kept[1]
    left, top = (spec.size - across) // 2, (spec.size - down) // 2
    seen = (left, top, left + across, top + down)
    return Placement(sides[0] / width, sides[1] / height, left - kept[0], top - kept[1], seen)


def _squash(width: int, height: int, spec: ImageSpec) -> tuple[int, int]:
    side = spec.resize_px or spec.size
    return side, side


def _center(width: int, height: int, spec: ImageSpec) -> tuple[int, int]:
    """As timm and torchvision: the short side exact, the long one rounded down."""
    short = spec.resize_px or math.floor(spec.size / spec.crop_fraction)
    return (short, int(short * height / width)) if width <= height else (int(short * width / height), short)


def _pad(width: int, height: int, spec: ImageSpec) -> tuple[int, int]:
    """The long side exact, the short one to the nearest pixel and at least one."""
    ratio = max(width, height) / (spec.resize_px or spec.size)
    return max(1, round(width / ratio)), max(1, round(height / ratio))


_SIDES: Final[dict[str, Callable[[int, int, ImageSpec], tuple[int, int]]]] = {
    "squash": _squash,
    "center": _center,
    "pad": _pad,
}


def _middle(sides: tuple[int, int], spec: ImageSpec) -> Box:
    """What is kept of a resized picture: all of a side that fits, the middle of one that does not."""
    margins = [max(side - spec.size, 0) for side in sides]
    left, top = (margin // 2 if spec.crop_offset == "floor" else round(margin / 2) for margin in margins)
    return left, top, left + sides[0] - margins[0], top + sides[1] - margins[1]


def _resize_middle(image: Image.Image, sides: tuple[int, int], box: Box, spec: ImageSpec) -> Image.Image:
    """Resize only what is kept: a line of one by a million pixels would fill the memory."""
    across, down = image.width / sides[0], image.height / sides[1]
    source = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    return image.resize((box[2] - box[0], box[3] - box[1]), FILTERS[spec.resampling], source)


def _laid_on_square(image: Image.Image, spec: ImageSpec) -> Image.Image:
    if image.size == (spec.size, spec.size):
        return image
    square = Image.new("RGB", (spec.size, spec.size), spec.pad_colour or _zero_colour(spec))
    square.paste(image, ((spec.size - image.width) // 2, (spec.size - image.height) // 2))
    return square


def _zero_colour(spec: ImageSpec) -> tuple[int, int, int]:
    """The colour that normalises to zero."""
    red, green, blue = (round(255 * value) for value in spec.mean)
    return red, green, blue


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


def ten_crop(image: Image.Image, spec: ImageSpec) -> UInt8[np.ndarray, "n y x 3"]:
    """Four corners and the middle, each also mirrored: ResNet's standard test.

    The corners are of the rectangle whose short side is `spec.resize_px` (256 for an input of 224 where the
    spec does not say), not of a square.

    Args:
        image: RGB, upright.
        spec: size and filter; `crop` is not looked at.
    Returns: (10, spec.size, spec.size, 3) u8: corners row by row, the middle, then the same five mirrored.
    Source: He et al. 2015, section 3.4; order as torchvision's `TenCrop`.
    """
    short, size = spec.resize_px or round(spec.size * 256 / 224), spec.size
    whole = np.asarray(_short_side_to(image, short, spec))
    bottom, right = whole.shape[0] - size, whole.shape[1] - size
    middle = (round(bottom / 2), round(right / 2))
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), middle]
    five = [whole[y : y + size, x : x + size] for y, x in places]
    mirrored = whole[:, ::-1]
    five += [mirrored[y : y + size, x : x + size] for y, x in places]
    return np.stack(five)


def multi_scale(
    image: Image.Image, spec: ImageSpec, short_sides: Sequence[int] = (224, 256, 384, 480, 640)
) -> list[UInt8[np.ndarray, "y x 3"]]:
    """The whole picture at several sizes, for a net that averages its scores over places and scales.

    Args:
        image: RGB, upright.
        spec: the filter; nothing is cut.
        short_sides: pixels.
    Returns: one u8 array a scale, aspect kept.
    Source: He et al. 2015, section 3.4.
    """
    return [np.array(_short_side_to(image, short, spec)) for short in short_sides]


def _short_side_to(image: Image.Image, short: int, spec: ImageSpec) -> Image.Image:
    sides = _center(*image.size, spec.model_copy(update={"resize_px": short}))
    return image if image.size == sides else image.resize(sides, FILTERS[spec.resampling])
