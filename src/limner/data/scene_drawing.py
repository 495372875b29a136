"""Draws planned scenes: the pixels of `limner.data.scenes`, by Pillow's integer operations only."""

import math
from functools import cache
from random import Random
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageFilter

from limner.data.scene_language import Box, Scenery
from limner.data.sprites import SPRITE_PX, load_sprite

Colour = tuple[int, int, int]

# hue in degrees, saturation and value in [0, 1]: the region where an English speaker gives this name
REGIONS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "white": ((0, 360), (0.0, 0.03), (0.96, 1.0)),
    "grey": ((0, 360), (0.0, 0.05), (0.42, 0.72)),
    "black": ((0, 360), (0.0, 0.20), (0.03, 0.13)),
    "red": ((-7, 5), (0.68, 0.92), (0.68, 0.92)),
    "orange": ((23, 33), (0.78, 0.98), (0.92, 1.0)),
    "yellow": ((49, 58), (0.55, 0.95), (0.93, 1.0)),
    "green": ((95, 150), (0.40, 0.80), (0.50, 0.85)),
    "blue": ((204, 230), (0.42, 0.85), (0.60, 0.98)),
    "purple": ((266, 285), (0.40, 0.75), (0.50, 0.82)),
    "pink": ((326, 345), (0.22, 0.48), (0.95, 1.0)),
    "brown": ((19, 28), (0.50, 0.75), (0.33, 0.52)),
}


class Placement(NamedTuple):
    """Where and how one sprite is drawn.

    Args:
        emoji: which sprite.
        box: x0, y0, x1, y1 of the drawn part, pixels.
        scale: canvas pixels per pixel of the large sprite.
        angle: rotation, radians.
        mirrored: left and right exchanged.
    """

    emoji: str
    box: Box
    scale: float
    angle: float
    mirrored: bool


class Plan(NamedTuple):
    """A scene before it is drawn.

    Args:
        key: unique name of the scene.
        truth: its things and the colour of its ground.
        style: art style.
        hand: drawing hand of `limner.data.sprites`.
        placements: one for each thing, in order.
        ground: main shade of the ground.
        canvas_px: side of the picture, pixels.
        jitter: whether light, shadow, blur and ground texture vary.
    """

    key: str
    truth: Scenery
    style: str
    hand: int
    placements: tuple[Placement, ...]
    ground: Colour
    canvas_px: int
    jitter: bool


def shade(rng: Random, name: str) -> Colour:
    """A colour from the region of a name."""
    hue, saturation, value = (low + (high - low) * rng.random() for low, high in REGIONS[name])
    red, green, blue = (_channel(n, hue, saturation, value) for n in (5, 3, 1))
    return red, green, blue


def _channel(n: int, hue: float, saturation: float, value: float) -> int:
    k = (n + hue / 60) % 6
    return round(255 * value * (1 - saturation * max(0.0, min(k, 4 - k, 1.0))))


def draw(plan: Plan, rng: Random) -> Image.Image:
    """Draw a planned scene.

    Args:
        plan: what stands where.
        rng: decides light, shadow, blur and ground texture.
    Returns: RGB, canvas_px square.
    """
    canvas = Image.new("RGB", (plan.canvas_px, plan.canvas_px), plan.ground)
    if not plan.jitter:
        for placement in plan.placements:
            _stamp(canvas, plan, placement, None, shadow=False)
        return canvas
    if rng.random() < 0.5:
        masks = _textures(plan.canvas_px)
        canvas.paste(shade(rng, plan.truth.ground), mask=masks[int(rng.random() * len(masks))])
    light, shadow = _light(rng), rng.random() < 0.15
    for placement in plan.placements:
        _stamp(canvas, plan, placement, light, shadow=shadow)
    return _finish(rng, canvas)


class Light(NamedTuple):
    """Draws sprites towards a tint, or below zero away from it: contrast, brightness and balance at once."""

    tint: Colour
    strength: float


def _light(rng: Random) -> Light:
    level = 40 + 176 * rng.random()
    red, green, blue = (int(level + 60 * (rng.random() - 0.5)) for _ in range(3))
    return Light((red, green, blue), 0.34 * (rng.random() - 0.5))


def _stamp(
    canvas: Image.Image, plan: Plan, placement: Placement, light: Light | None, *, shadow: bool
) -> None:
    """Turn, scale and light one sprite and lay it on the canvas."""
    stamp = _turned(plan, placement)
    x0, y0, _, _ = placement.box
    if shadow:
        cast = Image.blend(Image.new("L", stamp.size), stamp.getchannel("A"), 0.4)
        canvas.paste((30, 30, 40), (x0 + 2, y0 + 3), cast)
    lit = stamp
    if light is not None:
        lit = Image.blend(stamp, Image.new("RGBA", stamp.size, light.tint), light.strength)
    canvas.paste(lit, (x0, y0), stamp)


def silhouettes(plan: Plan) -> list[Bool[np.ndarray, "y x"]]:
    """Pixels that each thing of a scene covers by more than half, in order; the later lies above.

    Args:
        plan: what stands where.
    """
    found = []
    for placement in plan.placements:
        canvas = Image.new("L", (plan.canvas_px, plan.canvas_px))
        canvas.paste(_turned(plan, placement).getchannel("A"), placement.box[:2])
        found.append(np.asarray(canvas) > 127)
    return found


def _turned(plan: Plan, placement: Placement) -> Image.Image:
    """One sprite at its size and angle, filling its box."""
    drawn = load_sprite(plan.style, placement.emoji, plan.hand)
    x0, y0, x1, y1 = placement.box
    source, scale = drawn.large, placement.scale
    if scale <= 0.6:
        source, scale = drawn.small, scale * SPRITE_PX / drawn.small.width
    cos, sin = math.cos(placement.angle) / scale, math.sin(placement.angle) / scale
    flip = -1 if placement.mirrored else 1
    centre, half_x, half_y = source.width / 2, (x1 - x0) / 2, (y1 - y0) / 2
    a, b, d, e = cos * flip, sin * flip, -sin, cos
    matrix = (a, b, centre - a * half_x - b * half_y, d, e, centre - d * half_x - e * half_y)
    affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return source.transform((x1 - x0, y1 - y0), affine, matrix, bilinear).convert("RGBA")


def _finish(rng: Random, canvas: Image.Image) -> Image.Image:
    """Now and then change the saturation or blur the whole picture."""
    chance = rng.random()
    if chance < 0.25:
        grey = canvas.convert("L").convert("RGB")
        return Image.blend(canvas, grey, 0.15 - 0.4 * rng.random())
    if chance < 0.37:
        return canvas.filter(ImageFilter.BoxBlur(0.4 + 0.6 * rng.random()))
    return canvas


@cache
def _textures(side: int) -> list[Image.Image]:
    """Masks that mix two shades of a ground: gradients, horizons, stripes, dots and clouds."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    planes = [x, y, (x + y) / 2, (x + 1 - y) / 2, np.hypot(x - 0.5, y - 0.5) * 1.4]
    planes += [(y > level) * 1.0 for level in (0.5, 0.62, 0.75)]
    planes += [np.sin(x * 50) > 0, np.sin((x + y) * 40) > 0, (np.sin(x * 40) * np.sin(y * 40)) > 0.5]
    masks = [Image.fromarray((np.clip(plane, 0, 1) * 255).astype(np.uint8)) for plane in planes]
    noise = np.random.RandomState(7)  # a frozen stream, the same in every numpy
    for cells in (4, 9, side):
        coarse = Image.fromarray(noise.randint(0, 256, (cells, cells)).astype(np.uint8))
        masks.append(coarse.resize((side, side), Image.Resampling.BICUBIC))
    return masks
