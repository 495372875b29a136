"""The one door for pictures: training, import, search and serving all come in here.

The header is read first, and what it promises is refused before a pixel is decoded: formats that are not
allowed, files and pictures that are too large. What comes out is upright RGB, whatever went in: EXIF
orientation, transparency on a named background, palettes, CMYK, 16 bits, the first frame of an animation. A
refusal is a `PictureError` with a reason code from `REASONS`.
"""

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from limner.config import Config
from limner.errors import PictureError

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
REASONS: Final = {
    "missing": "no such file, or it cannot be read",
    "empty": "nothing in it",
    "not_a_picture": "no known picture format",
    "format": "a picture format that is not allowed",
    "too_large": "more bytes than allowed",
    "too_many_pixels": "more pixels than allowed",
    "truncated": "broken or cut short",
}
WHITE: Final = (255, 255, 255)

_REFUSED_MAGIC: Final = {
    b"8BPS": "PSD",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"<svg": "SVG",
    b"<?xml": "SVG or XML",
    b"\x00\x00\x01\x00": "ICO",
    b"qoif": "QOI",
    b"gimp": "XCF",
    b"P5\n": "PGM",
    b"P6\n": "PPM",
    b"v/1\x01": "OpenEXR",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}
_ALLOWED_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\x00", b"MM\x00*")
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS: Final = {_UPRIGHT[code] for code in (5, 6, 7, 8)}
_filters: Final = threading.Lock()

Source = str | Path | bytes | Image.Image | np.ndarray
Colour = tuple[int, int, int]


class Limits(Config):
    """What the intake refuses before it decodes.

    Args:
        max_bytes: of the encoded file.
        max_pixels: width × height in the header.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 64_000_000


class Picture(NamedTuple):
    """One picture that came through the door.

    Args:
        image: RGB, upright.
        data: the encoded bytes as they came; a PNG when the source was pixels.
        width: of the whole picture, upright, in pixels.
        height: likewise.
        format: one of `FORMATS`.
        sha256: of `data`, 64 hex digits.
        phash: perceptual hash, 16 hex digits; near pictures differ in few bits.
    """

    image: Image.Image
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
    """Open one picture and know it by its hashes.

    Args:
        source: path, encoded bytes, Pillow image, or array (y, x), (y, x, 3 or 4) of u8, uint16 or unit
            floats.
        limits: bytes and pixels beyond which it is refused.
        background: what shows through transparent parts, RGB.
        max_side: when only a small picture is wanted, the longest side wanted; see `decode`.
    Raises: PictureError with a reason from `REASONS`.
    """
    data = _as_bytes(source, limits)
    image, size, format_name = _decode(data, limits, background, max_side)
    return Picture(image, data, *size, format_name, hashlib.sha256(data).hexdigest(), phash(image))


def decode(
    data: bytes,
    limits: Limits = _DEFAULT_LIMITS,
    background: Colour = WHITE,
    max_side: int | None = None,
) -> Image.Image:
    """Encoded bytes to upright RGB, without the hashes: for bytes the table holds already.

    Args:
        data: of one picture.
        limits: as for `open_picture`.
        background: as for `open_picture`.
        max_side: longest side wanted, pixels. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size, as
            long as neither side falls below; a picture of another format keeps its size.
    Raises: PictureError with a reason from `REASONS`.
    """
    return _decode(data, limits, background, max_side)[0]


def phash(image: Image.Image) -> str:
    """64-bit perceptual hash: which of the 8 × 8 lowest DCT terms of 32 × 32 greys exceed their median."""
    grey = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=3.0)
    terms = _DCT @ np.asarray(grey, dtype=np.float64) @ _DCT.T
    return np.packbits(terms > np.median(terms)).tobytes().hex()


_DCT: Final = np.cos(np.pi / 64 * np.outer(np.arange(8), 2 * np.arange(32) + 1))


def _decode(
    data: bytes, limits: Limits, background: Colour, max_side: int | None
) -> tuple[Image.Image, tuple[int, int], str]:
    """Upright RGB, the upright size before any reduction, the format."""
    image = _read_header(data, limits)
    width, height = image.size
    format_name = "JPEG" if image.format == "MPO" else str(image.format)
    try:
        if max_side and format_name == "JPEG":
            image.draft(None, (max_side, max_side))
        with _silent() if format_name == "TIFF" else nullcontext():  # whose decoder reads the EXIF block too
            image.load()
    except Exception as error:  # decoders raise whatever a broken file drives them to
        raise _refused("truncated", f"{format_name} breaks off: {error}") from error
    turn = _UPRIGHT.get(_orientation(image))
    try:
        image = _as_rgb(image, background)
    except (ValueError, OSError) as error:
        raise _refused("format", f"{format_name} with {image.mode} pixels: {error}") from error
    if turn is not None:
        image = image.transpose(turn)
        if turn in _QUARTER_TURNS:
            width, height = height, width
    return image, (width, height), format_name


def _read_header(data: bytes, limits: Limits) -> Image.Image:
    """Identify the picture and check what its header promises; no pixel is decoded."""
    if not data:
        raise _refused("empty", "no bytes")
    if len(data) > limits.max_bytes:
        raise _refused("too_large", f"{len(data):,} bytes", f"at most {limits.max_bytes:,}")
    try:
        with _silent():  # Pillow warns of sizes that are refused below
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _refused("too_many_pixels", str(error), f"at most {limits.max_pixels:,}") from error
    except Exception as error:  # header parsers raise whatever a broken file drives them to
        raise _unidentified(data) from error
    if image.width * image.height > limits.max_pixels:
        given = f"{image.width} x {image.height} pixels"
        raise _refused("too_many_pixels", given, f"at most {limits.max_pixels:,}")
    return image


@contextmanager
def _silent() -> Iterator[None]:
    """Without Pillow's warnings; the filters are the process's, so one thread at a time."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _unidentified(data: bytes) -> PictureError:
    """Why Pillow does not know the bytes: another format, a broken header, or no picture at all."""
    refused = [name for magic, name in _REFUSED_MAGIC.items() if data.startswith(magic)]
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        refused = ["HEIC"]
    if refused:
        return _refused("format", f"a {refused[0]} file", ", ".join(FORMATS))
    if data.startswith(_ALLOWED_MAGIC) or data[8:12] == b"WEBP" or data[4:12] in (b"ftypavif", b"ftypavis"):
        return _refused("truncated", "the header is broken")
    return _refused("not_a_picture", f"bytes that begin with {data[:12]!r}", ", ".join(FORMATS))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; a broken EXIF block is no reason to refuse a picture."""
    try:
        with _silent():
            return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1


def _as_rgb(image: Image.Image, background: Colour) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _as_8_bit(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    flat = Image.new("RGB", layer.size, background)
    flat.paste(layer, mask=layer.getchannel("A"))
    return flat


def _as_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, 32 bits or floats; the range is the mode's, or read off the values."""
    values = np.asarray(image).astype(np.float64)
    peak = values.max()
    if image.mode.startswith("I;16") or (image.mode == "I" and peak > 255):
        values /= 257
    elif image.mode == "F" and peak <= 1:
        values *= 255
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _as_bytes(source: Source, limits: Limits) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, (str, Path)):
        return _read_file(Path(source), limits)
    image = source if isinstance(source, Image.Image) else _from_array(source)
    if image.width * image.height == 0:
        raise _refused("empty", f"a picture of {image.width} x {image.height} pixels")
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _read_file(path: Path, limits: Limits) -> bytes:
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise _refused("too_large", f"{path}: {size:,} bytes", f"at most {limits.max_bytes:,}")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise _refused("missing", f"{path}: {error}", "a file that can be read") from error


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or array.size == 0:
        raise _refused("not_a_picture", f"an array of shape {array.shape}", "(y, x), (y, x, 3) or (y, x, 4)")
    if array.dtype.kind == "f":
        array = np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
    elif array.dtype == np.uint16:
        array = np.rint(array / 257).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise _refused(
            "not_a_picture", f"an array of {array.dtype}", "uint8, uint16, bool or floats in [0, 1]"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _refused(reason: str, given: str, wanted: str = "") -> PictureError:
    return PictureError(f"{REASONS[reason]}: {given}", reason=reason, wanted=wanted)
