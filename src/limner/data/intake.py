"""The one door for pictures: training, import, search and serving all come in here.

The header is read first, and what it promises is refused before a pixel is decoded: formats that are not
allowed, files, pictures and metadata that are too large (`intake_header`). What comes out is upright RGB,
whatever went in: EXIF orientation, transparency on a named background, palettes, CMYK, L*a*b*, 16 bits, the
first frame of an animation (`intake_pixels`). A refusal is a `PictureError` with a reason of `REASONS`.

Damage that a decoder hides cannot be refused: libjpeg fills a gap in the middle of a JPEG with grey.
"""

import hashlib
import io
from contextlib import nullcontext
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from limner.data.intake_header import (
    FORMATS,
    REASONS,
    Limits,
    Reader,
    is_text_bomb,
    read_header,
    refused,
    silent,
)
from limner.data.intake_pixels import (
    QUARTER_TURNS,
    Colour,
    from_array,
    orientation,
    storable,
    to_rgb,
    upright,
)
from limner.errors import PictureError

__all__ = [
    "FORMATS",
    "REASONS",
    "WHITE",
    "Colour",
    "Identity",
    "Limits",
    "Picture",
    "Source",
    "decode",
    "identify",
    "open_picture",
    "phash",
    "read_file",
]

WHITE: Final = (255, 255, 255)


@runtime_checkable
class RemotePath(Protocol):
    """A file elsewhere, such as a `upath.UPath`."""

    def stat(self) -> Any:
        """With `st_size` and `st_mode`."""

    def open(self, mode: str = "r") -> Any:
        """A file to read from."""


Source = str | Path | RemotePath | bytes | Image.Image | np.ndarray


class Picture(NamedTuple):
    """One picture that came through the door.

    Args:
        image: RGB, upright.
        data: the encoded bytes as they came; a PNG when the source was pixels.
        width: of the whole picture, upright, in pixels.
        height: likewise.
        format: one of `FORMATS`, or "HEIC".
        sha256: of `data`, 64 hex digits.
    """

    image: Image.Image
    data: bytes
    width: int
    height: int
    format: str
    sha256: str


class Identity(NamedTuple):
    """What one picture is known by; the pixels are gone.

    Args:
        data: as in `Picture`.
        width: likewise.
        height: likewise.
        format: likewise.
        sha256: likewise.
        phash: perceptual hash, 16 hex digits; near pictures differ in few bits.
    """

    data: bytes
    width: int
    height: int
    format: str
    sha256: str
    phash: str


_DEFAULT_LIMITS: Final = Limits()


def open_picture(
    source: Source,
    limits: Limits = _DEFAULT_LIMITS,
    background: Colour = WHITE,
    max_side: int | None = None,
) -> Picture:
    """Open one picture.

    Args:
        source: path (local or a `UPath`), encoded bytes, Pillow image, or array (y, x), (y, x, 3 or 4) of
            u8, uint16 or unit floats.
        limits: bytes, pixels, metadata and time beyond which it is refused.
        background: what shows through transparent parts, RGB.
        max_side: when only a small picture is wanted, the longest side wanted; see `decode`.
    Raises: PictureError with a reason from `REASONS`.
    """
    data = _as_bytes(source, limits, background)
    image, size, format_name = _decode(data, limits, background, max_side)
    return Picture(image, data, *size, format_name, hashlib.sha256(data).hexdigest())


def identify(source: Source, limits: Limits = _DEFAULT_LIMITS, background: Colour = WHITE) -> Identity:
    """Look at one picture as `open_picture` does, and keep its hashes instead of its pixels.

    Every byte is decoded, a JPEG to small greys: what breaks `open_picture` breaks this, in less time.

    Args:
        source: as for `open_picture`.
        limits: as for `open_picture`.
        background: as for `open_picture`.
    Raises: PictureError with a reason from `REASONS`.
    """
    data = _as_bytes(source, limits, background)
    image, size, format_name = _decode(data, limits, background, 2 * _GREYS, grey=True)
    return Identity(data, *size, format_name, hashlib.sha256(data).hexdigest(), phash(image))


def decode(
    data: bytes,
    limits: Limits = _DEFAULT_LIMITS,
    background: Colour = WHITE,
    max_side: int | None = None,
) -> Image.Image:
    """Encoded bytes to upright RGB: for bytes the table holds already.

    Args:
        data: of one picture.
        limits: as for `open_picture`.
        background: as for `open_picture`.
        max_side: longest side wanted, pixels. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size, as
            long as neither side falls below; a picture of another format keeps its size.
    Raises: PictureError with a reason from `REASONS`.
    """
    return _decode(data, limits, background, max_side)[0]


def read_file(path: RemotePath | Path, limits: Limits) -> bytes:
    """The bytes of a picture file; a folder, a pipe or a device is never opened, since it may block.

    Args:
        path: local or remote.
        limits: of bytes.
    Raises: PictureError with reason `missing` or `too_large`.
    """
    try:
        known = path.stat()
        if known.st_mode and not S_ISREG(known.st_mode):
            raise refused("missing", f"{path} is no regular file", "a file that can be read")
        if known.st_size > limits.max_bytes:
            raise refused("too_large", f"{path}: {known.st_size:,} bytes", f"at most {limits.max_bytes:,}")
        with path.open("rb") as file:  # never more than is allowed, whatever the size said
            data = bytes(file.read(known.st_size + 1))
            return data if len(data) <= known.st_size else data + file.read(limits.max_bytes + 1 - len(data))
    except PictureError:
        raise
    except Exception as error:  # OSError, ValueError for a null byte, and what remote stores raise
        said = getattr(error, "strerror", None) or error  # without the path, which stands before it
        raise refused("missing", f"{path}: {said}", "a file that can be read") from error


def phash(image: Image.Image) -> str:
    """64-bit perceptual hash: which of the 8 × 8 lowest DCT terms of 32 × 32 greys exceed their median."""
    grey = image if image.mode == "L" else image.convert("L")
    grey = grey.resize((_GREYS, _GREYS), Image.Resampling.HAMMING, reducing_gap=3.0)
    terms = (_DCT @ np.asarray(grey, dtype=np.float64) @ _DCT.T).ravel()
    middle = np.partition(terms, (31, 32))[31:33].sum()  # twice the median, in less time
    return np.packbits(2 * terms > middle).tobytes().hex()


_GREYS: Final = (
    32  # a JPEG is decoded to twice that: to just that, copies of another size differ in more bits
)
_DCT: Final = np.rint(2**14 * np.cos(np.pi / 64 * np.outer(np.arange(8), 2 * np.arange(32) + 1)))
"""Whole numbers, whose sums of products are exact in any order: every machine makes the same hash."""


def _decode(
    data: bytes, limits: Limits, background: Colour, max_side: int | None, grey: bool = False
) -> tuple[Image.Image, tuple[int, int], str]:
    """Upright RGB (or a JPEG's greys), the upright size before any reduction, the format."""
    reader = Reader(data, limits)
    image = read_header(data, reader, limits)
    width, height = image.size
    format_name = {"MPO": "JPEG", "HEIF": "HEIC"}.get(str(image.format), str(image.format))
    try:
        if max_side and format_name == "JPEG":
            image.draft("L" if grey else None, (max_side, max_side))
        with silent() if format_name == "TIFF" else nullcontext():  # whose decoder reads the EXIF block too
            image.load()
    except Exception as error:  # decoders raise whatever a broken file drives them to
        broken = refused("truncated", f"{format_name} breaks off: {error}")
        raise reader.refusal or is_text_bomb(error) or broken from error
    if format_name in ("TIFF", "HEIC"):  # their decoders turn the picture themselves
        width, height = image.size
    turn = orientation(image)
    try:
        image = image if grey and image.mode == "L" else to_rgb(image, background)
    except (ValueError, OSError, ImportError) as error:
        raise refused("format", f"{format_name} with {image.mode} pixels: {error}") from error
    image = upright(image, turn)
    return image, (height, width) if turn in QUARTER_TURNS else (width, height), format_name


def _as_bytes(source: Source, limits: Limits, background: Colour) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, Image.Image):
        return _encoded(source, limits, background)
    if isinstance(source, np.ndarray):
        return _encoded(from_array(source), limits, background)
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, str):
        return read_file(Path(source), limits)
    if isinstance(source, Path) or (hasattr(source, "stat") and hasattr(source, "open")):
        return read_file(source, limits)
    raise refused("not_a_picture", f"a {type(source).__name__}", "a path, bytes, a Pillow image or an array")


def _encoded(image: Image.Image, limits: Limits, background: Colour) -> bytes:
    """A PNG of pixels that came without a file, upright."""
    if image.width * image.height == 0:
        raise refused("empty", f"a picture of {image.width} x {image.height} pixels")
    if image.width * image.height > limits.max_pixels:
        given = f"{image.width} x {image.height} pixels"
        raise refused("too_many_pixels", given, f"at most {limits.max_pixels:,}")
    try:
        image.load()
        made = upright(storable(image, background), orientation(image))
        buffer = io.BytesIO()
        made.save(buffer, "PNG", compress_level=1)
    except (OSError, ValueError, SyntaxError, ImportError) as error:
        raise refused("truncated", f"a Pillow image that cannot be read: {error}") from error
    return buffer.getvalue()
