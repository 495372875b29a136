"""What training does to a picture, by the papers' own recipes; chance comes from the generator given alone.

A recipe takes the upright RGB picture and gives the square that the model reads, as `transforms.to_u8` does
for evaluation. Crops follow torchvision v2 (same boxes for the same draws, same pixels for the same boxes).

- `resnet`: short side uniform in [256, 480], random crop of 224, mirror, PCA lighting (He et al. 2015 §3.4;
  Krizhevsky et al. 2012 §4.1); sides scale with the input size.
- `cifar`: four pixels of border, random crop, mirror (He et al. §4.2).
- `inception`: 8 to 100 % of the area, aspect 3:4 to 4:3, mirror (Szegedy et al. 2015).
- `vit_finetune`: the same from 5 % (Google's fine-tuning code).
- `augreg_light1` … `augreg_strong2`: `inception` and RandAugment (Steiner et al. 2021, figure 4); their mixup
  works on batches, see `MIXUP`.
- `clip`: short side to the input size, random square crop, nothing else (Radford et al. 2021 §2.5).
- `open_clip`: 90 to 100 % of the area (open_clip's default).
- `deit`: `inception`, timm's RandAugment N 2, M 9 ± 0.5, of a quarter a part is erased (Touvron
  et al. 2020, table 9; Zhong et al. 2017); colours change by RandAugment alone, as in its code.
- `blip_pretrain`, `blip_finetune`: 20 or 50 to 100 % of the area, mirror, RandAugment N 2, M 5 (BLIP's code).
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from limner.data import transforms
from limner.data.distortions import AUGREG, BLIP, DEIT, Policy, rand_augment
from limner.data.transforms import FILTERS
from limner.errors import ConfigError
from limner.shapes import ImageSpec

Crop = Callable[[Image.Image, ImageSpec, np.random.Generator], Image.Image]
Area = tuple[float, float]

MIXUP: Final = {
    "augreg_light1": 0.0,
    "augreg_light2": 0.2,
    "augreg_medium1": 0.2,
    "augreg_medium2": 0.5,
    "augreg_strong1": 0.5,
    "augreg_strong2": 0.8,
}
"""AugReg's mixup α beside each recipe: it mixes pictures of a batch, so it is training's to apply."""

_ASPECT: Final = (3 / 4, 4 / 3)
_TRIES: Final = 10
_ERASED: Final = (0.02, 1 / 3)
_ERASED_ASPECT: Final = (0.3, 1 / 0.3)
_EIGENVALUES: Final = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS: Final = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)


@dataclass(frozen=True)
class Augmentation:
    """A recipe: crop, then perhaps mirror, RandAugment, light, erase.

    Args:
        crop: from the whole picture to the square.
        mirror: chance of a mirrored picture, [0, 1].
        policy: operations of RandAugment, or None.
        magnitude: RandAugment's M; N is 2 in all of these papers.
        spread: standard deviation of that M.
        erase: chance that a rectangle becomes noise, [0, 1].
        lighting: standard deviation of the PCA lighting's three weights.
        jitter: change brightness, contrast and place a little, see `transforms.augment`.
        reach: longest useful side of the picture, in input sides; 0 when every pixel may count.
    """

    crop: Crop
    mirror: float = 0.0
    policy: Policy | None = None
    magnitude: float = 0.0
    spread: float = 0.0
    erase: float = 0.0
    lighting: float = 0.0
    jitter: bool = False
    reach: float = 0.0

    def __call__(
        self, image: Image.Image, spec: ImageSpec, rng: np.random.Generator
    ) -> UInt8[np.ndarray, "y x 3"]:
        """Draw one augmented square.

        Args:
            image: RGB, upright.
            spec: size and filter of the input.
            rng: the only source of chance; the same state gives the same pixels.
        Returns: (spec.size, spec.size, 3) u8 pixels, writable.
        """
        square = self.crop(image, spec, rng)
        if self.mirror and rng.random() < self.mirror:
            square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.policy:
            square = rand_augment(square, self.policy, rng, 2, self.magnitude, self.spread)
        pixels = np.array(square)
        if self.lighting:
            pixels = lit(pixels, rng.normal(0, self.lighting, 3))
        if self.erase and rng.random() < self.erase:
            pixels = erased(pixels, spec, rng)
        return transforms.augment(pixels, rng) if self.jitter else pixels

    def decode_px(self, spec: ImageSpec) -> int | None:
        """Side below which no JPEG should be reduced while it is decoded; None for the whole picture."""
        return math.ceil(self.reach * spec.size) or None


def recipe(name: str) -> Augmentation:
    """A recipe by name.

    Raises: ConfigError that names the nearest of `RECIPES`.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, n=1)
    raise ConfigError(
        f"no augmentation {name!r}",
        wanted=", ".join(RECIPES),
        hint=f'augment = "{near[0]}"' if near else "",
    )


# ---- crops


def as_evaluated(image: Image.Image, spec: ImageSpec, rng: np.random.Generator) -> Image.Image:
    """No chance at all: the picture as evaluation sees it."""
    return Image.fromarray(transforms.to_u8(image, spec))


def drawn_box(
    width: int, height: int, rng: np.random.Generator, area: Area, aspect: Area = _ASPECT
) -> tuple[int, int, int, int]:
    """A random rectangle: left, top, right, bottom in pixels.

    Ten draws of an area and a log-uniform aspect, as torchvision's `RandomResizedCrop`; if none fits, the
    middle of the picture with its aspect brought into the range.

    Args:
        width: of the picture, pixels.
        height: likewise.
        rng: the only source of chance.
        area: least and largest share of the picture.
        aspect: least and largest width / height.
    """
    for _ in range(_TRIES):
        target = width * height * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, aspect[0]), aspect[1])
    w, h = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _of_area(least: float) -> Crop:
    """A random part of at least this share of the area, resized to the square."""

    def crop(image: Image.Image, spec: ImageSpec, rng: np.random.Generator) -> Image.Image:
        box = drawn_box(image.width, image.height, rng, (least, 1.0))
        return image.crop(box).resize((spec.size, spec.size), FILTERS[spec.resampling])

    return crop


def square_of(image: Image.Image, spec: ImageSpec, rng: np.random.Generator, short_px: int) -> Image.Image:
    """A random square of the picture resized to `short_px` on its short side.

    Only the square is resized: what torchvision's resize and crop give, up to the rounding of one level.
    """
    scale = min(image.size) / short_px
    width, height = (max(spec.size, int(side / scale)) for side in image.size)
    left = int(rng.integers(width - spec.size + 1))
    top = int(rng.integers(height - spec.size + 1))
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, (left + spec.size) * across, (top + spec.size) * down)
    clamped = (box[0], box[1], min(box[2], image.width), min(box[3], image.height))
    return image.resize((spec.size, spec.size), FILTERS[spec.resampling], clamped)


def _clip_square(image: Image.Image, spec: ImageSpec, rng: np.random.Generator) -> Image.Image:
    return square_of(image, spec, rng, spec.size)


def _scale_jitter(image: Image.Image, spec: ImageSpec, rng: np.random.Generator) -> Image.Image:
    """Short side in [256, 480] for an input of 224."""
    short = round(rng.uniform(256, 480) * spec.size / 224)
    return square_of(image, spec, rng, short)


def _padded_shift(image: Image.Image, spec: ImageSpec, rng: np.random.Generator) -> Image.Image:
    """Four black pixels around a picture of the input's size, then a random square."""
    size = spec.size
    whole = image if image.size == (size, size) else image.resize((size, size), FILTERS[spec.resampling])
    left, top = int(rng.integers(9)) - 4, int(rng.integers(9)) - 4
    return whole.crop((left, top, left + size, top + size))  # Pillow fills with black


# ---- light


def lit(pixels: UInt8[np.ndarray, "y x 3"], weights: np.ndarray) -> UInt8[np.ndarray, "y x 3"]:
    """AlexNet's colour augmentation: add the principal components of ImageNet's colours.

    Args:
        pixels: u8.
        weights: of the three components; drawn with a standard deviation of 0.1 in the paper.
    """
    shift = 255 * (_EIGENVECTORS @ (weights * _EIGENVALUES))
    shifted: np.ndarray = np.clip(np.rint(pixels + shift), 0, 255).astype(np.uint8)
    return shifted


def erased(
    pixels: UInt8[np.ndarray, "y x 3"], spec: ImageSpec, rng: np.random.Generator
) -> UInt8[np.ndarray, "y x 3"]:
    """Turn a random rectangle of 2 % to a third of the picture into noise that is normal once normalised.

    Args:
        pixels: u8.
        spec: mean and std of the normalisation; levels below 0 and above 255 are cut.
        rng: the only source of chance.
    Source: Zhong et al. 2017 (arXiv 1708.04896), algorithm 1, with timm's noise.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = drawn_box(width, height, rng, _ERASED, _ERASED_ASPECT)
    noise = rng.normal(size=(bottom - top, right - left, 3)) * spec.std + spec.mean
    out = pixels.copy()
    out[top:bottom, left:right] = np.clip(np.rint(255 * noise), 0, 255)
    return out


def _augreg(magnitude: float) -> Augmentation:
    return Augmentation(_of_area(0.08), mirror=0.5, policy=AUGREG, magnitude=magnitude)


RECIPES: Final[dict[str, Augmentation]] = {
    "none": Augmentation(as_evaluated, reach=2.0),
    "jitter": Augmentation(as_evaluated, jitter=True, reach=2.0),
    "resnet": Augmentation(_scale_jitter, mirror=0.5, lighting=0.1, reach=2 * 480 / 224),
    "cifar": Augmentation(_padded_shift, mirror=0.5, reach=2.0),
    "inception": Augmentation(_of_area(0.08), mirror=0.5),
    "vit_finetune": Augmentation(_of_area(0.05), mirror=0.5),
    "augreg_light1": _augreg(0.0),
    "augreg_light2": _augreg(10.0),
    "augreg_medium1": _augreg(15.0),
    "augreg_medium2": _augreg(15.0),
    "augreg_strong1": _augreg(20.0),
    "augreg_strong2": _augreg(20.0),
    "deit": Augmentation(_of_area(0.08), 0.5, policy=DEIT, magnitude=9.0, spread=0.5, erase=0.25),
    "clip": Augmentation(_clip_square, reach=2.0),
    "open_clip": Augmentation(_of_area(0.9), reach=2.0),
    "blip_pretrain": Augmentation(_of_area(0.2), mirror=0.5, policy=BLIP, magnitude=5.0),
    "blip_finetune": Augmentation(_of_area(0.5), mirror=0.5, policy=BLIP, magnitude=5.0, reach=4.0),
}
"""Every recipe by name."""
