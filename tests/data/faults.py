"""Faulty and odd picture files of known truth.

    fault = make("cmyk_jpeg", seed=3)     # fault.data, and what the intake must say of it

`KINDS` names every kind: `GOOD` come in, `BROKEN` are refused. A file is a pure function of kind and seed.
The upper left eighth of an upright picture shows `colour`, so that a wrong turn or colour space is seen.
"""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Rng = np.random.Generator


class Fault(NamedTuple):
    """One file and its truth.

    Args:
        name: of the file, unique by kind and seed.
        data: its bytes.
        reason: why the intake refuses it; None when it comes in, and only then the rest holds.
        width: of the upright picture, pixels.
        height: likewise.
        format: as the intake names it.
        colour: RGB of the upper left eighth.
        tolerance: per channel, of the colour.
    """

    name: str
    data: bytes
    reason: str | None
    width: int = 0
    height: int = 0
    format: str = ""
    colour: tuple[int, int, int] = (0, 0, 0)
    tolerance: int = 0


class Kept(NamedTuple):
    """A file that comes in, and what it shows."""

    data: bytes
    image: Image.Image
    format: str
    tolerance: int = 0


def make(kind: str, seed: int) -> Fault:
    """A file of that kind; see `KINDS`."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    suffix, maker = KINDS[kind]
    made = maker(rng)
    name = f"{kind}_{seed:05d}.{suffix}"
    if isinstance(made, Kept):
        image = made.image.convert("RGB")
        colour = image.getpixel((image.width // 16, image.height // 16))
        return Fault(name, made.data, None, image.width, image.height, made.format, colour, made.tolerance)
    data, reason = made
    return Fault(name, data, reason)


def scene(rng: Rng, mode: str = "RGB") -> Image.Image:
    """Sixteen blocks of random colours, 24 to 96 pixels a side, never square."""
    blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    width, height = 8 * int(rng.integers(3, 8)), 8 * int(rng.integers(8, 13))
    if rng.random() < 0.5:
        width, height = height, width
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).convert(mode)


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    """By Pillow; by pillow-heif where the name is HEIC."""
    buffer = io.BytesIO()
    if name == "HEIC":
        import pillow_heif

        pillow_heif.from_pillow(image).save(buffer, quality=95, chroma=444, **options)
    else:
        image.save(buffer, name, **options)
    return buffer.getvalue()


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, with right lengths and checksums."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _plain(name: str, tolerance: int = 0, mode: str = "RGB", **options: Any) -> Callable[[Rng], Kept]:
    def maker(rng: Rng) -> Kept:
        image = scene(rng, mode)
        return Kept(encoded(image, name, **options), image, name, tolerance)

    return maker


def _turned(name: str, code: int, tolerance: int) -> Callable[[Rng], Kept]:
    """Stored as a camera held that way does, with its EXIF orientation."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow transposes that undo the orientation

    def maker(rng: Rng) -> Kept:
        image, exif = scene(rng), Image.Exif()
        exif[0x0112] = code
        stored = image if code == 1 else image.transpose(Image.Transpose(back[code]))
        options = {"quality": 95, "subsampling": 0} if name == "JPEG" else {}
        return Kept(encoded(stored, name, exif=exif.tobytes(), **options), image, name, tolerance)

    return maker


def _ycck_jpeg(rng: Rng) -> Kept:
    """Adobe's four channels, the first three as luma and chroma: planes go in as they are stored."""
    image = scene(rng)
    *inks, black = image.convert("CMYK").split()
    luma = Image.merge("RGB", inks).convert("YCbCr").split()
    planes = [plane.point(lambda value: 255 - value) for plane in luma]
    data = encoded(Image.merge("CMYK", (*planes, black)), "JPEG", quality=98)
    at = data.index(b"Adobe") + 11
    return Kept(data[:at] + b"\x02" + data[at + 1 :], image, "JPEG", 14)


def _lab_tiff(rng: Rng) -> Kept:
    from PIL import ImageCms

    image = scene(rng)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    stored = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    return Kept(encoded(stored, "TIFF"), image, "TIFF", 40)  # 8 bits are coarse near black


def _grey(name: str, dtype: Any, factor: float) -> Callable[[Rng], Kept]:
    """Grey of 16 bits, 32 bits or floats; one corner holds the range's end."""

    def maker(rng: Rng) -> Kept:
        values = np.asarray(scene(rng, "L")).copy()
        values[-1, -1] = 255
        stored = Image.fromarray((values * np.float64(factor)).astype(dtype))
        return Kept(encoded(stored, name), Image.fromarray(values), name, 1)

    return maker


def _deep_png(rng: Rng) -> Kept:
    image = scene(rng)
    rows = np.asarray(image).astype(">u2") * 257
    body = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", *image.size, 16, 2, 0, 0, 0)
    data = png_of((b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b""))
    return Kept(data, image, "PNG", 1)


def _palette(name: str) -> Callable[[Rng], Kept]:
    """Its upper left block is the transparent index, so white shows."""

    def maker(rng: Rng) -> Kept:
        image = scene(rng).quantize(16)
        clear = image.getpixel((1, 1))
        shown = image.convert("RGB")
        shown.paste((255, 255, 255), (0, 0, image.width // 4, image.height // 4))
        return Kept(encoded(image, name, transparency=clear), shown, name, 1)

    return maker


def _alpha(name: str) -> Callable[[Rng], Kept]:
    def maker(rng: Rng) -> Kept:
        image = scene(rng)
        half = image.copy()
        half.putalpha(128)
        shown = Image.blend(Image.new("RGB", image.size, "white"), image, 128 / 255)
        options = {"lossless": True} if name == "WEBP" else {}
        return Kept(encoded(half, name, **options), shown, name, 2)

    return maker


def _frames(name: str, tolerance: int = 0, **options: Any) -> Callable[[Rng], Kept]:
    """Three frames or pages; the first is wanted."""

    def maker(rng: Rng) -> Kept:
        image = scene(rng)
        others = [Image.eval(image, lambda value, turn=turn: (value + turn) % 256) for turn in (90, 170)]
        data = encoded(image, name, save_all=True, append_images=others, **options)
        return Kept(data, image, "JPEG" if name == "MPO" else name, tolerance)

    return maker


def _cut(name: str, low: float = 0.2, high: float = 0.8) -> Callable[[Rng], tuple[bytes, str]]:
    """Noise of 64 × 64, cut between these shares of the file."""

    def maker(rng: Rng) -> tuple[bytes, str]:
        data = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), name)
        return data[: max(14, int(len(data) * rng.uniform(low, high)))], "truncated"

    return maker


def _damaged_png(rng: Rng) -> tuple[bytes, str]:
    """One wrong byte in the pixels: the checksum tells."""
    data = bytearray(encoded(Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)), "PNG"))
    data[len(data) // 2] ^= 1 << int(rng.integers(8))
    return bytes(data), "truncated"


def _begins(*heads: bytes, reason: str) -> Callable[[Rng], tuple[bytes, str]]:
    return lambda rng: (heads[int(rng.integers(len(heads)))] + rng.bytes(200), reason)


@cache
def _zeros(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def _png_bomb(rng: Rng) -> tuple[bytes, str]:
    """One bit a pixel, 9,500 to 20,000 a side; the pixels are 1 MB of zeros, whatever the header promises."""
    side = int(rng.integers(9500, 20_000))
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return png_of((b"IHDR", header), (b"IDAT", _zeros(1 << 20)), (b"IEND", b"")), "too_many_pixels"


def _header_bomb(name: str, at: int, layout: str) -> Callable[[Rng], tuple[bytes, str]]:
    """A small file whose header says up to 16,000 a side."""

    def maker(rng: Rng) -> tuple[bytes, str]:
        data = bytearray(encoded(scene(rng), name))
        struct.pack_into(layout, data, at, *map(int, rng.integers(8100, 16_000, 2)))
        return bytes(data), "too_many_pixels"

    return maker


def _webp_bomb(rng: Rng) -> tuple[bytes, str]:
    sides = b"".join(int(value).to_bytes(3, "little") for value in rng.integers(8100, 16_383, 2))
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sides + encoded(scene(rng), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body, "too_many_pixels"


def _metadata_png(chunk: bytes, head: bytes) -> Callable[[Rng], tuple[bytes, str]]:
    """A text or profile of 32 MB of zeros in 32 KB before the pixels."""

    def maker(rng: Rng) -> tuple[bytes, str]:
        data = encoded(scene(rng), "PNG")
        return data[:33] + png_of((chunk, head + _zeros(1 << 25)))[8:] + data[33:], "metadata"

    return maker


def _tiff_of(tags: list[tuple[int, int, int, int]], tail: int) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + bytes(tail)


def _tiff_tags(rng: Rng) -> tuple[bytes, str]:
    count = int(rng.integers(5000, 65_000))
    return _tiff_of([(tag, 3, 1, 1) for tag in range(count)], 64), "metadata"


def _tiff_strips(rng: Rng) -> tuple[bytes, str]:
    """250,000 strips or more, all at one place."""
    count = int(rng.integers(250_000, 260_000))
    sides = [(256, 3, 1, 8), (257, 3, 1, 8)]
    return _tiff_of([*sides, (273, 4, count, 100), (279, 4, count, 100)], 4 * count), "metadata"


@cache
def _flat() -> bytes:
    return encoded(Image.new("L", (7900, 7900), 128), "JPEG", progressive=True, quality=10)


def _scan_bomb(rng: Rng) -> tuple[bytes, str]:
    """A progressive JPEG of 62 million pixels that passes over them 80 times or more."""
    data = _flat()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * int(rng.integers(80, 120)) + data[-2:], "too_slow"


_CUT = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_FINE: dict[str, Any] = {"quality": 95, "subsampling": 0}
GOOD: dict[str, tuple[str, Callable[[Rng], Kept]]] = {
    "jpeg": ("jpg", _plain("JPEG", 12, **_FINE)),
    "png": ("png", _plain("PNG")),
    "webp": ("webp", _plain("WEBP", lossless=True)),
    "gif": ("gif", _plain("GIF")),
    "bmp": ("bmp", _plain("BMP")),
    "tiff": ("tif", _plain("TIFF")),
    "tiff_lzw": ("tiff", _plain("TIFF", compression="tiff_lzw")),
    "avif": ("avif", _plain("AVIF", 14, quality=95, subsampling="4:4:4", speed=10)),
    "heic": ("heic", _plain("HEIC", 14)),
    "progressive": ("JPG", _plain("JPEG", 12, progressive=True, quality=95, subsampling=0)),
    "grey_jpeg": ("jpeg", _plain("JPEG", 6, mode="L", quality=95)),
    "wrong_suffix": ("jpg", _plain("PNG")),
    "one_bit": ("png", _plain("PNG", mode="1")),
    "one_bit_fax": ("tif", _plain("TIFF", mode="1", compression="group4")),
    **{f"exif_{code}": ("jpg", _turned("JPEG", code, 12)) for code in range(1, 9)},
    "exif_png": ("png", _turned("PNG", 6, 0)),
    "exif_webp": ("webp", _turned("WEBP", 5, 40)),
    "exif_tiff": ("tif", _turned("TIFF", 8, 0)),
    "broken_exif": ("jpg", _plain("JPEG", 12, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f junk", **_FINE)),
    "cmyk_jpeg": ("jpg", _plain("JPEG", 12, mode="CMYK", quality=98)),
    "ycck_jpeg": ("jpg", _ycck_jpeg),
    "cmyk_tiff": ("tif", _plain("TIFF", 2, mode="CMYK")),
    "lab_tiff": ("tif", _lab_tiff),
    "grey16_png": ("png", _grey("PNG", np.uint16, 257)),
    "grey16_tiff": ("tif", _grey("TIFF", np.uint16, 257)),
    "int32_tiff": ("tif", _grey("TIFF", np.int32, 2**31 / 256)),
    "float_tiff": ("tif", _grey("TIFF", np.float32, 1 / 255)),
    "rgb16_png": ("png", _deep_png),
    "palette_png": ("png", _palette("PNG")),
    "palette_gif": ("gif", _palette("GIF")),
    "alpha_png": ("png", _alpha("PNG")),
    "alpha_webp": ("webp", _alpha("WEBP")),
    "animated_gif": ("gif", _frames("GIF", 60)),
    "animated_webp": ("webp", _frames("WEBP", lossless=True)),
    "animated_png": ("png", _frames("PNG")),
    "pages": ("tif", _frames("TIFF")),
    "mpo": ("mpo", _frames("MPO", 12, quality=95, subsampling=0)),
}
BROKEN: dict[str, tuple[str, Callable[[Rng], tuple[bytes, str]]]] = {
    "empty": ("jpg", lambda rng: (b"", "empty")),
    "text": ("jpg", _begins(b"no picture here, just words ", b"404 Not Found\n", reason="not_a_picture")),
    "page": ("jpg", _begins(b"<!DOCTYPE html><html>", b"<html><body>", reason="not_a_picture")),
    "zeros": ("png", lambda rng: (bytes(int(rng.integers(1, 5000))), "not_a_picture")),
    "other_format": ("png", _begins(b"<svg xmlns=", b"8BPS\x00\x01", b"%PDF-1.7\n", reason="format")),
    **{f"cut_{name.lower()}": (name.lower(), _cut(name)) for name in _CUT},
    "header_jpeg": ("jpg", _cut("JPEG", 0, 0.01)),
    "header_png": ("png", _cut("PNG", 0, 0.002)),
    "damaged_png": ("png", _damaged_png),
    "png_bomb": ("png", _png_bomb),
    "bmp_bomb": ("bmp", _header_bomb("BMP", 18, "<ii")),
    "gif_bomb": ("gif", _header_bomb("GIF", 6, "<HH")),
    "webp_bomb": ("webp", _webp_bomb),
    "text_bomb": ("png", _metadata_png(b"zTXt", b"Comment\x00\x00")),
    "itxt_bomb": ("png", _metadata_png(b"iTXt", b"Comment\x00\x01\x00\x00\x00")),
    "profile_bomb": ("png", _metadata_png(b"iCCP", b"icc\x00\x00")),
    "tiff_tags": ("tif", _tiff_tags),
    "tiff_strips": ("tif", _tiff_strips),
    "scan_bomb": ("jpg", _scan_bomb),
}
KINDS = {**GOOD, **BROKEN}
