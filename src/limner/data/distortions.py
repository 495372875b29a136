"""RandAugment's operations as the two code bases around these papers have them, drawn by one generator.

Cubuk et al., RandAugment (1909.13719). `AUGREG` is big_vision's table (TensorFlow, nearest pixels, sixteen
operations): AugReg. `BLIP` is salesforce/BLIP's (OpenCV, bilinear, the ten it trains with). `DEIT` is timm's
"increasing" table of fifteen, which DeiT trains with. Magnitudes are of 0 to 10 and extrapolate beyond. The
colour operations are Pillow's through torchvision. Checked: BLIP's against outputs of its own code, AugReg's
against loops written from its definitions, DeiT's against timm's operations.

Differs: AugReg's distances are of an input of 224 pixels and scale with it, where its code moves a small
input out of sight. BLIP's own autocontrast overflows where a channel has no black (`-low` of a uint8) and
blows the channel out to white; here it stretches, as its comment promises. OpenCV rounds to 1/32 px. DeiT's
moves are bilinear with grey outside, where timm draws bilinear or bicubic and fills with the mean.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as tv

GREY: Final = (128, 128, 128)
_MOST: Final = 10
_TRAINED_PX: Final = 224

Distortion = Callable[[Image.Image, float, np.random.Generator], Image.Image]
Reach = Callable[[int], float]
Matrix = tuple[float, float, float, float, float, float]


class Policy(NamedTuple):
    """A table of operations and how they are drawn.

    Args:
        operations: by name; each takes an RGB picture, a magnitude and the generator.
        probability: that a drawn operation is applied.
    """

    operations: dict[str, Distortion]
    probability: float


def rand_augment(
    image: Image.Image,
    policy: Policy,
    rng: np.random.Generator,
    count: int = 2,
    magnitude: float = 10.0,
    spread: float = 0.0,
) -> Image.Image:
    """Apply `count` operations drawn with replacement.

    Args:
        image: RGB.
        policy: `AUGREG`, `BLIP` or `DEIT`.
        rng: the only source of chance.
        count: RandAugment's N.
        magnitude: RandAugment's M, of 10.
        spread: standard deviation of the magnitude, which then stays within 0 to 10; 0 is always M.
    Returns: a picture of the same size.
    """
    for name in rng.choice(list(policy.operations), count):
        if rng.random() < policy.probability:
            level = float(np.clip(rng.normal(magnitude, spread), 0, _MOST)) if spread else magnitude
            image = policy.operations[name](image, level, rng)
    return image


def warp(image: Image.Image, back: Matrix, resample: Image.Resampling) -> Image.Image:
    """Move pixels: output (x, y) is read at (a x + b y + c, d x + e y + f), in whole pixel numbers; grey
    outside."""
    a, b, c, d, e, f = back
    centred = (a, b, c + 1.5 - 0.5 * (a + b), d, e, f + 1.5 - 0.5 * (d + e))
    framed = ImageOps.expand(image, 1, GREY)  # so that the border is mixed with grey, as OpenCV does
    return framed.transform(image.size, Image.Transform.AFFINE, centred, resample, fillcolor=GREY)


def _either_way(value: float, rng: np.random.Generator) -> float:
    return value if rng.random() < 0.5 else -value


def _shear_x(
    image: Image.Image, level: float, rng: np.random.Generator, how: Image.Resampling
) -> Image.Image:
    return warp(image, (1.0, _either_way(0.3 * level / _MOST, rng), 0.0, 0.0, 1.0, 0.0), how)


def _shear_y(
    image: Image.Image, level: float, rng: np.random.Generator, how: Image.Resampling
) -> Image.Image:
    return warp(image, (1.0, 0.0, 0.0, _either_way(0.3 * level / _MOST, rng), 1.0, 0.0), how)


def _translate_x(
    image: Image.Image, level: float, rng: np.random.Generator, how: Image.Resampling, reach: Reach
) -> Image.Image:
    moved = _either_way(reach(image.width) * level / _MOST, rng)
    return warp(image, (1.0, 0.0, moved, 0.0, 1.0, 0.0), how)


def _translate_y(
    image: Image.Image, level: float, rng: np.random.Generator, how: Image.Resampling, reach: Reach
) -> Image.Image:
    moved = _either_way(reach(image.height) * level / _MOST, rng)
    return warp(image, (1.0, 0.0, 0.0, 0.0, 1.0, moved), how)


def _rotate(
    image: Image.Image, level: float, rng: np.random.Generator, how: Image.Resampling, centre_px: float
) -> Image.Image:
    """By up to 30 degrees at 10; `centre_px` is what the code base takes off half the side."""
    angle = math.radians(_either_way(30 * level / _MOST, rng))
    x, y = image.width / 2 - centre_px, image.height / 2 - centre_px
    cos, sin = math.cos(angle), math.sin(angle)
    return warp(image, (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y), how)


def _picture(made: Any) -> Image.Image:
    """What torchvision made of a picture: a picture."""
    assert isinstance(made, Image.Image)
    return made


def _factor(level: float) -> float:
    return 1.8 * level / _MOST + 0.1


def _identity(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return image


def _autocontrast(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return _picture(tv.autocontrast(image))


def _equalize(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return _picture(tv.equalize(image))


def _invert(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return _picture(tv.invert(image))


def _posterize(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    """Four bits at 10; all eight from 20 on, and none at 0: a black picture, as in the code."""
    lost = 8 - min(8, int(4 * level / _MOST))
    return image.point([value >> lost << lost for value in range(256)] * 3)


def _solarize(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    threshold = int(256 * level / _MOST)
    return _picture(tv.solarize(image, threshold)) if threshold < 256 else image


def _solarize_add(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    added = int(110 * level / _MOST)
    return image.point([min(255, value + added) if value < 128 else value for value in range(256)] * 3)


def _colour(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return _picture(tv.adjust_saturation(image, _factor(level)))


def _contrast(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    """Away from a grey of (pixels / 256), which is not the mean, as in the code that AugReg trained with."""
    grey = min(255, int(image.width * image.height / 256))
    return Image.blend(Image.new("RGB", image.size, (grey, grey, grey)), image, _factor(level))


def _brightness(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return _picture(tv.adjust_brightness(image, _factor(level)))


def _sharpness(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return _picture(tv.adjust_sharpness(image, _factor(level)))


def _cutout(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    """A grey square of 80 of 224 pixels a side at 10, its centre anywhere."""
    half = int(40 * level / _MOST * image.width / _TRAINED_PX)
    x, y = int(rng.integers(image.width)), int(rng.integers(image.height))
    holed = image.copy()
    holed.paste(GREY, (max(0, x - half), max(0, y - half), x + half, y + half))
    return holed


def _moves(how: Image.Resampling, reach: Reach, centre_px: float) -> dict[str, Distortion]:
    return {
        "rotate": partial(_rotate, how=how, centre_px=centre_px),
        "shear_x": partial(_shear_x, how=how),
        "shear_y": partial(_shear_y, how=how),
        "translate_x": partial(_translate_x, how=how, reach=reach),
        "translate_y": partial(_translate_y, how=how, reach=reach),
    }


def _posterize_more(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    """Four bits at 0, none at 10."""
    lost = 4 + int(4 * level / _MOST)
    return image.point([value >> lost << lost for value in range(256)] * 3)


def _solarize_more(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    """Nothing at 0, all at 10."""
    threshold = 256 - int(256 * level / _MOST)
    return _picture(tv.solarize(image, threshold)) if threshold < 256 else image


def _enhanced(
    image: Image.Image, level: float, rng: np.random.Generator, how: Callable[[Any, float], Any]
) -> Image.Image:
    """Less or more of something, further from 1 as the level rises."""
    return _picture(how(image, max(0.1, 1 + _either_way(0.9 * level / _MOST, rng))))


AUGREG: Final = Policy(
    {
        "autocontrast": _autocontrast,
        "equalize": _equalize,
        "invert": _invert,
        "posterize": _posterize,
        "solarize": _solarize,
        "colour": _colour,
        "contrast": _contrast,
        "brightness": _brightness,
        "sharpness": _sharpness,
        **_moves(Image.Resampling.NEAREST, reach=lambda side: 100 * side / _TRAINED_PX, centre_px=0.5),
        "cutout": _cutout,
        "solarize_add": _solarize_add,
    },
    probability=1.0,
)
"""big_vision's sixteen operations; the drawn ones are always applied."""

BLIP: Final = Policy(
    {
        "identity": _identity,
        "autocontrast": _autocontrast,
        "brightness": _brightness,
        "sharpness": _sharpness,
        "equalize": _equalize,
        **_moves(Image.Resampling.BILINEAR, reach=lambda side: 10.0, centre_px=0.0),
    },
    probability=0.5,
)
"""BLIP's ten; at its magnitude of 5 brightness and sharpness change nothing (their factor is 1)."""

DEIT: Final = Policy(
    {
        "autocontrast": _autocontrast,
        "equalize": _equalize,
        "invert": _invert,
        "posterize": _posterize_more,
        "solarize": _solarize_more,
        "solarize_add": _solarize_add,
        "colour": partial(_enhanced, how=tv.adjust_saturation),
        "contrast": partial(_enhanced, how=tv.adjust_contrast),
        "brightness": partial(_enhanced, how=tv.adjust_brightness),
        "sharpness": partial(_enhanced, how=tv.adjust_sharpness),
        **_moves(Image.Resampling.BILINEAR, reach=lambda side: 0.45 * side, centre_px=0.0),
    },
    probability=0.5,
)
"""timm's fifteen, harder as the magnitude rises."""
