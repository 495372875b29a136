"""Pictures whose outline is of one class and whose surface is of another, made of the emoji of the concepts.

The outline is the silhouette of one sprite; inside it are tiles of another one's middle, so nothing of the
first but its shape is left, and nothing of the second but its colours and texture.
Differs: Geirhos et al. transfer the style of textures by a network; here nothing but the outline tells of the
first class, so it is the harder side.

Source: Geirhos et al. 2019 (arXiv 1811.12231), section 2 (silhouettes, cue conflict).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from limner.data.concepts import BY_NAME
from limner.data.sprites import load_sprite

CLASSES = ("dog", "cat", "elephant", "horse", "car", "bicycle", "banana", "apple", "guitar", "umbrella")
"""Concepts with outlines that people tell apart."""


class Conflict(NamedTuple):
    """One picture with two cues.

    Args:
        key: unique name.
        image: RGB pixels.
        shape: class of the outline.
        texture: class of the surface.
    """

    key: str
    image: UInt8[np.ndarray, "y x 3"]
    shape: str
    texture: str


def conflict(shape: str, texture: str, style: str = "openmoji", side: int = 128) -> Conflict:
    """Fill the outline of one concept with the surface of another.

    Args:
        shape: concept of the outline.
        texture: concept of the surface.
        style: art style of both.
        side: of the picture, pixels.
    """
    outline = _sprite(shape, style).resize((side, side), Image.Resampling.BICUBIC).getchannel("A")
    surface = _surface(texture, style, side)
    canvas = Image.new("RGB", (side, side), "white")
    canvas.paste(surface, mask=outline)
    return Conflict(f"{shape}-{texture}-{style}", np.asarray(canvas), shape, texture)


def conflicts(names: Sequence[str] = CLASSES, style: str = "openmoji", side: int = 128) -> list[Conflict]:
    """Every outline with every other surface: n · (n - 1) pictures."""
    return [conflict(shape, texture, style, side) for shape in names for texture in names if shape != texture]


def _sprite(name: str, style: str) -> Image.Image:
    """RGBA, not premultiplied."""
    return load_sprite(style, BY_NAME[name].views[0].emoji).large.convert("RGBA")


def _surface(name: str, style: str, side: int) -> Image.Image:
    """A square full of the middle of a sprite, tiled three by three; what is empty has its mean colour."""
    sprite = _sprite(name, style)
    ground = Image.new("RGB", sprite.size, load_sprite(style, BY_NAME[name].views[0].emoji).colour)
    ground.paste(sprite, mask=sprite.getchannel("A"))
    quarter = sprite.width // 4
    middle = ground.crop((quarter, quarter, sprite.width - quarter, sprite.height - quarter))
    cell = -(-side // 3)
    tile, whole = np.asarray(middle.resize((cell, cell), Image.Resampling.BICUBIC)), (3, 3, 1)
    return Image.fromarray(np.tile(tile, whole)[:side, :side])
