"""Common corruptions at five severities: what weather, lenses and codecs do to pictures.

Implements: twelve of the fifteen of ImageNet-C, with its constants for pictures above 64 pixels and those of
CIFAR-10-C for smaller ones.
Differs: no glass blur, snow or frost (frost pastes photographs); motion blur lies on both sides of a pixel;
fog is a sum of smooth noises of halving scale, not the diamond-square fractal. So numbers compare with each
other and not with published ones.
Checked against: their definitions (moments of the noises, sums of the kernels), and a rising distance from
the clean picture.

Source: Hendrycks & Dietterich 2019 (arXiv 1903.12261), section 3.1 and appendix A; their code for constants.
"""

import io
from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from limner.errors import ConfigError

Pixels = Float[np.ndarray, "y x 3"]
Corruption = Callable[[Pixels, int, bool, np.random.Generator], Pixels]

SEVERITIES: Final = (1, 2, 3, 4, 5)
_SMALL_PX: Final = 64


def corrupted(
    image: UInt8[np.ndarray, "y x 3"], name: str, severity: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "y x 3"]:
    """One picture, corrupted.

    Args:
        image: u8 pixels.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        rng: the only source of chance.
    Raises: ConfigError for an unknown name or severity.
    """
    if name not in CORRUPTIONS or severity not in SEVERITIES:
        raise ConfigError(
            f"corruption {name!r} of severity {severity}", wanted=f"1 to 5 of {', '.join(CORRUPTIONS)}"
        )
    small = max(image.shape[:2]) <= _SMALL_PX
    result = CORRUPTIONS[name](image / 255, severity - 1, small, rng)
    rounded: np.ndarray = np.rint(np.clip(result, 0, 1) * 255).astype(np.uint8)
    return rounded


# ---- noise


def _gaussian_noise(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    sigma = ((0.04, 0.06, 0.08, 0.09, 0.10) if small else (0.08, 0.12, 0.18, 0.26, 0.38))[level]
    return x + rng.normal(0, sigma, x.shape)


def _shot_noise(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    photons = ((500, 250, 100, 75, 50) if small else (60, 25, 12, 5, 3))[level]
    counted: Pixels = rng.poisson(x * photons) / photons
    return counted


def _impulse_noise(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    share = ((0.01, 0.02, 0.03, 0.05, 0.07) if small else (0.03, 0.06, 0.09, 0.17, 0.27))[level]
    struck, salt = rng.random(x.shape) < share, rng.random(x.shape) < 0.5
    return np.where(struck, salt.astype(np.float64), x)


# ---- blur


def _defocus_blur(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    sharp = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))
    radius, soft = (sharp if small else ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)))[level]
    blurred: Pixels = ndimage.convolve(x, disk(radius, soft)[..., None], mode="reflect")
    return blurred


def disk(radius: float | int, soft: float) -> Float[np.ndarray, "k k"]:
    """The kernel of a lens out of focus: a disk with a soft rim; it sums to one.

    Args:
        radius: pixels.
        soft: standard deviation of the rim, pixels.
    """
    reach = np.arange(-max(8, int(radius)), max(8, int(radius)) + 1)
    round_ = (reach[:, None] ** 2 + reach[None] ** 2 <= radius**2).astype(np.float64)
    blurred: np.ndarray = ndimage.gaussian_filter(round_ / round_.sum(), soft, truncate=2.0)
    whole: np.ndarray = blurred / blurred.sum()
    return whole


def _motion_blur(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    near = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))
    radius, sigma = (near if small else ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)))[level]
    angle, steps = np.deg2rad(rng.uniform(-45, 45)), np.arange(-radius, radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    total = np.zeros_like(x)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        moved = (step * np.sin(angle), step * np.cos(angle), 0)
        total += weight * ndimage.shift(x, moved, order=1, mode="nearest")
    return total


def _zoom_blur(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    far, step = (
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))
        if small
        else ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
    )[level]
    picture = Image.fromarray(np.rint(x * 255).astype(np.uint8))
    parts = [x]
    for factor in np.arange(1, far, step):
        left, upper = (float(side * (1 - 1 / factor) / 2) for side in picture.size)
        box = (left, upper, picture.width - left, picture.height - upper)
        parts.append(np.asarray(picture.resize(picture.size, Image.Resampling.BILINEAR, box)) / 255)
    mean: Pixels = np.mean(parts, axis=0)
    return mean


# ---- weather


def _fog(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    thin = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))
    thickness, decay = (thin if small else ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)))[
        level
    ]
    haze = clouds(x.shape[0], x.shape[1], decay, rng)[..., None]
    brightest = float(x.max())
    foggy: Pixels = (x + thickness * haze) * brightest / (brightest + thickness)
    return foggy


def clouds(height: int, width: int, decay: float, rng: np.random.Generator) -> Float[np.ndarray, "y x"]:
    """Smooth noise in [0, 1]: noises of halving scale, each weaker by `decay` than the coarser one before.

    Args:
        height: pixels.
        width: pixels.
        decay: above 1.
        rng: the only source of chance.
    """
    total, cells, weight = np.zeros((height, width)), 2, 1.0
    while cells <= max(height, width):
        coarse = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
        total += weight * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        cells, weight = 2 * cells, weight / decay
    total -= total.min()
    cloudy: np.ndarray = total / max(float(total.max()), 1e-12)
    return cloudy


def _brightness(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    """Raise V of HSV: hue and saturation stay."""
    more = ((0.05, 0.1, 0.15, 0.2, 0.3) if small else (0.1, 0.2, 0.3, 0.4, 0.5))[level]
    value = x.max(-1, keepdims=True)
    lighter: Pixels = np.where(value > 0, x / np.maximum(value, 1e-12), 1.0) * np.minimum(value + more, 1)
    return lighter


def _contrast(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    kept = ((0.75, 0.5, 0.4, 0.3, 0.15) if small else (0.4, 0.3, 0.2, 0.1, 0.05))[level]
    mean = x.mean((0, 1), keepdims=True)
    flat: Pixels = (x - mean) * kept + mean
    return flat


# ---- digital


def _elastic(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    near = ((0, 1, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))
    far = ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
    strength, smooth, tilt = (near if small else far)[level]
    height, width = x.shape[:2]
    side = float(min(height, width))
    matrix = np.eye(2) + rng.uniform(-tilt, tilt, (2, 2))
    y, x_ = np.mgrid[0:height, 0:width].astype(np.float64)
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    places = np.tensordot(matrix, np.stack([y - centre[0], x_ - centre[1]]), 1) + centre[:, None, None]
    if strength:
        waves = rng.uniform(-1, 1, (2, height, width))
        places += strength * side * np.stack([ndimage.gaussian_filter(w, smooth * side) for w in waves])
    planes = [ndimage.map_coordinates(x[..., c], places, order=1, mode="reflect") for c in range(3)]
    return np.stack(planes, -1)


def _pixelate(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    share = ((0.95, 0.9, 0.85, 0.75, 0.65) if small else (0.6, 0.5, 0.4, 0.3, 0.25))[level]
    picture = Image.fromarray(np.rint(x * 255).astype(np.uint8))
    fewer = picture.resize([max(1, int(side * share)) for side in picture.size], Image.Resampling.BOX)
    return np.asarray(fewer.resize(picture.size, Image.Resampling.NEAREST)) / 255


def _jpeg(x: Pixels, level: int, small: bool, rng: np.random.Generator) -> Pixels:
    quality = ((80, 65, 58, 50, 40) if small else (25, 18, 15, 10, 7))[level]
    file = io.BytesIO()
    Image.fromarray(np.rint(x * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255


CORRUPTIONS: Final[dict[str, Corruption]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic": _elastic,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
}
"""Name → what it does to pixels in [0, 1]."""
