"""What the intake refuses before a pixel is decoded, and the reader that decoders must go through.

Nothing here trusts a file: its size, its header, the metadata before its pixels and the time it takes are
all bounded by `Limits`. The bounds of Pillow stay in force beneath.
"""

import io
import struct
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

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
    "metadata": "more metadata than allowed",
    "too_slow": "takes longer than allowed",
    "truncated": "broken or cut short",
}

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
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
}
_ALLOWED_MAGIC: Final = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n",
    b"GIF8",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
)
_HEVC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_MAX_HEADER_READS: Final = 20_000
_MAX_EXIF_BYTES: Final = 4 * 1024 * 1024
_MAX_TIFF_TAGS: Final = 4096
_MAX_TIFF_VALUES: Final = 200_000  # strips or tiles; each costs Pillow some 400 bytes
_MAX_SCAN_PIXELS: Final = 4_000_000_000  # scans of a progressive JPEG × its pixels; some 20 s of work
_PLAIN_SEGMENTS: Final = 100
_SEGMENTS: Final = bytes((*range(0xC0, 0xC5), 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))
_SCAN_BYTES: Final = 10  # of the shortest header of a scan
_TIFF_SIZES: Final = {3: "H", 4: "I", 16: "Q"}
_TIFF_NUMBERS: Final = (3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18)
_filters: Final = Lock()
_read: Final = io.BytesIO.read


class Limits(Config):
    """What the intake refuses before it decodes, and how long it decodes.

    Args:
        max_bytes: of the encoded file.
        max_pixels: width × height in the header. It bounds memory, to about 16 bytes a pixel, and the time
            of the decoders that cannot be stopped.
        max_metadata_bytes: of all that stands before the pixels: EXIF, colour profile, texts.
        timeout_s: processor time of the calling thread, looked at whenever the decoder asks for more of the
            file. It stops JPEG, PNG, GIF, BMP and plain TIFF; WebP, AVIF, HEIC and compressed TIFF decode
            in one call that nothing can stop, and are bounded by `max_pixels` alone.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 64_000_000
    max_metadata_bytes: int = 16 * 1024 * 1024
    timeout_s: float = 10.0


class Reader(io.BytesIO):
    """The bytes of one picture as a file; its reads fail when the header or the time runs over.

    Args:
        data: encoded bytes.
        limits: of metadata and time.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        super().__init__(data)
        self.refusal: PictureError | None = None
        self._limits = limits
        self._deadline = time.thread_time() + limits.timeout_s
        self._in_header = data[4:8] != b"ftyp" and data[8:12] != b"WEBP"  # these are read whole
        self._reads = self._read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises: PictureError for reason `metadata` or `too_slow`."""
        got = _read(self, size)
        if self._in_header:  # bounded by what may be read
            self._reads += 1
            self._read_bytes += len(got)
            if self._reads > _MAX_HEADER_READS or self._read_bytes > self._limits.max_metadata_bytes:
                self._refuse("metadata", "no pixels yet after", self._limits.max_metadata_bytes)
        elif time.thread_time() > self._deadline:
            self._refuse("too_slow", "not decoded within", self._limits.timeout_s)
        return got

    def end_header(self) -> None:
        """What is read from now on is pixels."""
        self._in_header = False

    def _refuse(self, reason: str, what: str, limit: int | float) -> None:
        unit = "s" if reason == "too_slow" else f"bytes or {_MAX_HEADER_READS:,} pieces"
        self.refusal = refused(reason, f"{what} {limit:,} {unit}")  # kept: decoders swallow errors
        raise self.refusal


def read_header(data: bytes, reader: Reader, limits: Limits) -> Image.Image:
    """Identify the picture and check what its header promises; no pixel is decoded.

    Args:
        data: encoded bytes.
        reader: of these bytes; pixels are read through it later.
        limits: what is refused.
    Returns: the picture, not loaded. Its format is one of `FORMATS`, "MPO" or "HEIF".
    Raises: PictureError.
    """
    if not data:
        raise refused("empty", "no bytes")
    if len(data) > limits.max_bytes:
        raise refused("too_large", f"{len(data):,} bytes", f"at most {limits.max_bytes:,}")
    _check_before_pillow(data, limits)
    try:
        with silent():  # Pillow warns of sizes that are refused below
            image = _heic(reader) if _is_heic(data) else _opened(data, reader, limits)
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise refused("too_many_pixels", str(error), f"at most {limits.max_pixels:,}") from error
    except Exception as error:  # header parsers raise whatever a broken file drives them to
        raise reader.refusal or is_text_bomb(error) or _unidentified(data) from error
    reader.end_header()
    _check_pixels(image.size, limits)
    _check_metadata(image, limits)
    if image.format in ("JPEG", "MPO"):
        _check_scans(data, reader.tell(), image.size)
    return image


def is_text_bomb(error: Exception) -> PictureError | None:
    """The refusal when Pillow met a PNG text or profile that unpacks to more than it allows."""
    told = str(error)
    if "Decompressed data too large" in told or "memory used in text chunks" in told:
        return refused("metadata", told)
    return None


def refused(reason: str, given: str, wanted: str = "", hint: str = "") -> PictureError:
    """A refusal with the words of its reason before what was given."""
    return PictureError(f"{REASONS[reason]}: {given}", reason=reason, wanted=wanted, hint=hint)


@contextmanager
def silent() -> Iterator[None]:
    """Without Pillow's warnings; the filters are the process's, so one thread at a time."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opened(data: bytes, reader: Reader, limits: Limits) -> Image.Image:
    """The picture by Pillow; the many small reads of a plain JPEG's header need no watching, which costs."""
    if not _is_plain_jpeg(data, limits):
        return Image.open(reader, formats=FORMATS)
    unwatched = io.BytesIO(data)
    image = Image.open(unwatched, formats=("JPEG",))
    reader.seek(unwatched.tell())
    image.fp = reader
    return image


def _is_plain_jpeg(data: bytes, limits: Limits) -> bool:
    """Whether a JPEG's header is segment after segment up to its pixels, few, short, and of one picture."""
    if not data.startswith(b"\xff\xd8"):
        return False
    at = 2
    for _ in range(_PLAIN_SEGMENTS):
        mark, kind = data[at : at + 2], data[at + 4 : at + 8]
        if mark == b"\xff\xda":
            return at < limits.max_metadata_bytes
        if len(mark) < 2 or mark[0] != 0xFF or mark[1] not in _SEGMENTS or kind == b"MPF\0":
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _check_before_pillow(data: bytes, limits: Limits) -> None:
    """Headers that drive Pillow to take memory while it reads them."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        size = _webp_size(data)
        if size is not None:
            _check_pixels(size, limits)
    elif data[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        try:
            _check_tiff(data, limits)
        except struct.error as error:
            raise refused("truncated", "the TIFF breaks off in its tags") from error


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the canvas; None when the header is too short or odd, which Pillow refuses."""
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    return width, height


def _check_tiff(data: bytes, limits: Limits) -> None:
    """The tags of the first page: how many, how long their lists, how large a tile."""
    order, big = "<" if data[:1] == b"I" else ">", 43 in (data[2], data[3])
    (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    if place >= len(data):
        return  # Pillow calls it broken
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
    if count > _MAX_TIFF_TAGS:
        raise refused("metadata", f"{count:,} TIFF tags", f"at most {_MAX_TIFF_TAGS:,}")
    place, step, layout = place + (8 if big else 2), (20 if big else 12), order + ("HHQ" if big else "HHI")
    tile = {322: 0, 323: 0}
    for at in range(place, place + step * count, step):
        tag, kind, length = struct.unpack_from(layout, data, at)
        if kind in _TIFF_NUMBERS and length > _MAX_TIFF_VALUES:
            raise refused("metadata", f"{length:,} values in TIFF tag {tag}", f"at most {_MAX_TIFF_VALUES:,}")
        if tag in tile and kind in _TIFF_SIZES:
            (tile[tag],) = struct.unpack_from(order + _TIFF_SIZES[kind], data, at + (12 if big else 8))
    _check_pixels((tile[322], tile[323]), limits)


def _check_pixels(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        given = f"{width} x {height} pixels"
        raise refused("too_many_pixels", given, f"at most {limits.max_pixels:,}")


def _check_metadata(image: Image.Image, limits: Limits) -> None:
    sizes = {name: len(value) for name, value in image.info.items() if isinstance(value, (bytes, str))}
    if sum(sizes.values()) > limits.max_metadata_bytes:
        raise refused("metadata", f"{sum(sizes.values()):,} bytes", f"at most {limits.max_metadata_bytes:,}")
    if sizes.get("exif", 0) > _MAX_EXIF_BYTES:
        raise refused("metadata", f"EXIF of {sizes['exif']:,} bytes", f"at most {_MAX_EXIF_BYTES:,}")


def _check_scans(data: bytes, begin: int, size: tuple[int, int]) -> None:
    """A progressive JPEG may pass over all its pixels again for every few bytes."""
    if (len(data) // _SCAN_BYTES + 1) * size[0] * size[1] <= _MAX_SCAN_PIXELS:
        return
    end = data.find(b"\xff\xd9", begin) if begin else -1  # pixels never hold this pair, metadata may
    scans = 1 + data.count(b"\xff\xda", begin, end if end > 0 else len(data))
    if scans * size[0] * size[1] > _MAX_SCAN_PIXELS:
        given = f"{scans:,} scans over {size[0]} x {size[1]} pixels"
        raise refused("too_slow", given, f"at most {_MAX_SCAN_PIXELS:,} pixels in all")


def _is_heic(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : max(16, min(int.from_bytes(data[:4], "big"), 256))]
    generic = data[8:12] in (b"mif1", b"msf1")
    return data[8:12] in _HEVC_BRANDS or (generic and b"avif" not in brands and b"avis" not in brands)


def _heic(reader: Reader) -> Image.Image:
    """A HEIC by pillow-heif, used directly: Pillow's own list of formats stays as it is."""
    try:
        import pillow_heif
    except ImportError as error:
        hint = "pip install 'limner[heic]'"
        raise refused("format", "a HEIC file, and pillow-heif is not installed", hint=hint) from error
    image: Image.Image = pillow_heif.HeifImageFile(reader)  # type: ignore[no-untyped-call, unused-ignore]
    return image


def _unidentified(data: bytes) -> PictureError:
    """Why Pillow does not know the bytes: another format, a broken header, or no picture at all."""
    wanted = ", ".join((*FORMATS, "HEIC"))
    names = [name for magic, name in _REFUSED_MAGIC.items() if data.startswith(magic)]
    if names:
        return refused("format", f"a {names[0]} file", wanted)
    known = data.startswith(_ALLOWED_MAGIC) or data[8:12] == b"WEBP"
    if known or _is_heic(data) or data[4:12] in (b"ftypavif", b"ftypavis", b"ftypmif1", b"ftypmsf1"):
        return refused("truncated", "the header is broken")
    return refused("not_a_picture", f"bytes that begin with {data[:12]!r}", wanted)
