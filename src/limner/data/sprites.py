"""Sprites of the concepts, trimmed and ready to compose, cached on disk.

Each emoji is drawn as its artist drew it and in two other hands: a style sheet thins or recolours OpenMoji's
lines and gives Twemoji outlines it never had, so that a model trained on scenes sees more than two ways to
draw a dog.
"""

import hashlib
import json
import os
import sys
import zipfile
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from limner.data.concepts import CONCEPTS
from limner.data.emoji import FONT, PACKAGES, sprite

SPRITE_PX = 96
_SMALL_PX = 48
_MARGIN_PX = 2
_DRAWN_PX = 160

_SHAPES = "path,circle,ellipse,rect,polygon"
HANDS: dict[str, tuple[str | None, ...]] = {
    "openmoji": (None, "*{stroke-width:1.1px}", '[stroke="#000000"],[stroke="#000"]{stroke:#6b4a3a}'),
    "twemoji": (
        None,
        _SHAPES + "{stroke:#222;stroke-width:.7px}",
        _SHAPES + "{stroke:#444;stroke-width:.35px}",
    ),
}


class Sprite(NamedTuple):
    """One emoji in one hand, with what placing it needs.

    Args:
        large: premultiplied RGBA, 96 × 96 pixels.
        small: the same at 48 × 48, to shrink from without aliasing.
        width, height: of the drawn part, pixels of `large`.
        colour: mean RGB of the drawn part.
    """

    large: Image.Image
    small: Image.Image
    width: int
    height: int
    colour: tuple[int, int, int]


def cache_folder() -> Path:
    """Where limner keeps what it can rebuild; `LIMNER_CACHE` overrides the platform's place."""
    if override := os.environ.get("LIMNER_CACHE"):
        return Path(override)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "limner" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "limner"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner"


@cache
def emoji_order() -> dict[str, int]:
    """Row of each emoji of the concepts in a style's sprite array."""
    return {view.emoji: row for row, view in enumerate(v for concept in CONCEPTS for v in concept.views)}


@cache
def load_sprite(style: str, emoji: str, hand: int = 0) -> Sprite:
    """The sprite of one emoji of the concepts.

    Args:
        style: "openmoji", "twemoji", or "font:" and the path of a colour font.
        emoji: a view's character sequence.
        hand: 0 as the artist drew it, 1 or 2 for the other hands.
    """
    straight = Image.fromarray(_pixels(style, hand)[emoji_order()[emoji]])
    premultiplied = straight.convert("RGBa")
    left, top, right, bottom = _drawn_box(straight)
    *total, alpha = np.asarray(premultiplied, dtype=np.int64).sum(axis=(0, 1))
    red, green, blue = (int(channel) * 255 // max(1, int(alpha)) for channel in total)
    small = straight.resize((_SMALL_PX, _SMALL_PX), Image.Resampling.BOX).convert("RGBa")
    return Sprite(premultiplied, small, right - left, bottom - top, (red, green, blue))


@cache
def _pixels(style: str, hand: int) -> UInt8[np.ndarray, "row y x 4"]:
    """All sprites of a style in one hand, from the disk cache or else drawn and cached."""
    sheets = HANDS.get(style, (None,))
    sheet = sheets[hand % len(sheets)]
    name = style if style in HANDS else "font"
    path = cache_folder() / f"sprites-{name}-{hand}-{_digest(style, sheet)}.npz"
    cached = _read(path)
    if cached is not None:
        return cached
    drawn = np.stack([_trimmed(sprite(emoji, style, _DRAWN_PX, sheet)) for emoji in emoji_order()])
    _write(path, drawn)
    return drawn


def _digest(style: str, sheet: str | None) -> str:
    """Names what the sprites are drawn from, so that another version of anything draws them anew."""
    if style.startswith(FONT):
        drawers = [hashlib.sha256(Path(style.removeprefix(FONT)).read_bytes()).hexdigest(), version("pillow")]
    else:
        drawers = [version(name) for name in (PACKAGES[style], "resvg-py", "pillow")]
    recipe = [list(emoji_order()), sheet, SPRITE_PX, _MARGIN_PX, _DRAWN_PX, drawers]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]


def _trimmed(pixels: UInt8[np.ndarray, "y x 4"]) -> UInt8[np.ndarray, "side side 4"]:
    """Cut to the drawn part, centre it in a square with a margin, and shrink."""
    image = Image.fromarray(pixels)
    left, top, right, bottom = _drawn_box(image)
    scale = (SPRITE_PX - 2 * _MARGIN_PX) / max(right - left, bottom - top)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    drawn = image.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    square = Image.new("RGBA", (SPRITE_PX, SPRITE_PX))
    square.paste(drawn, ((SPRITE_PX - size[0]) // 2, (SPRITE_PX - size[1]) // 2))
    return np.array(square)


def _drawn_box(image: Image.Image) -> tuple[int, int, int, int]:
    """Bounds of what can be seen; the whole picture when nothing can."""
    return image.getchannel("A").point(_SEEN).getbbox() or (0, 0, *image.size)


_SEEN = [0] * 9 + [255] * 247


def _read(path: Path) -> UInt8[np.ndarray, "row y x 4"] | None:
    """What the cache holds, or None when it is missing, broken or of another shape."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            pixels: np.ndarray = archive["pixels"]  # the zip checks its CRC-32 here
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return None
    whole = pixels.shape == (len(emoji_order()), SPRITE_PX, SPRITE_PX, 4) and pixels.dtype == np.uint8
    return pixels if whole else None


def _write(path: Path, pixels: UInt8[np.ndarray, "row y x 4"]) -> None:
    """Write whole or not at all; a cache that cannot be written is done without."""
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez(file, pixels=pixels)
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
