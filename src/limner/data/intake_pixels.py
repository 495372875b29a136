"""Pixels of every kind to upright RGB of 8 bits.

Grey of 16 or 32 bits and floats keep their range where the mode names it and are fitted into 0 to 255 where
it does not; CIE L*a*b* goes through sRGB's own profile; CMYK by Pillow's plain rule (JPEGs hold it inverted,
as Adobe writes them, and Pillow turns it back), since embedded profiles are not applied to any mode.
"""

from typing import Final

import numpy as np
from PIL import Image

from limner.data.intake_header import refused, silent

Colour = tuple[int, int, int]

QUARTER_TURNS: Final = (5, 6, 7, 8)
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNING: Final = frozenset(("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"))
_PLAIN: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; a broken EXIF block is no reason to refuse a picture."""
    if image.format == "JPEG" and not _TURNING.intersection(image.info):
        return 1  # which the search below would say too, in more time
    try:
        with silent():
            code = int(image.getexif().get(0x0112, 1))
    except Exception:  # whatever a broken block drives the parser to
        return 1
    return code if code in _UPRIGHT else 1


def upright(image: Image.Image, code: int) -> Image.Image:
    """Turn and flip as an EXIF orientation says.

    Args:
        image: as stored.
        code: 1 to 8; 1 leaves it.
    """
    return image.transpose(_UPRIGHT[code]) if code in _UPRIGHT else image


def to_rgb(image: Image.Image, background: Colour) -> Image.Image:
    """Any mode to RGB.

    Args:
        image: loaded.
        background: what shows through transparent parts, RGB.
    Raises: ValueError or OSError from Pillow for a mode that has no RGB.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _as_8_bit(image).convert("RGB")
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode == "La":  # the one mode with alpha that does not go to RGBA by itself
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    flat = Image.new("RGB", layer.size, background)
    flat.paste(layer, mask=layer.getchannel("A"))
    return flat


def storable(image: Image.Image, background: Colour) -> Image.Image:
    """A mode that a PNG holds without loss where there is one, else RGB."""
    return image if image.mode in _PLAIN else to_rgb(image, background)


def from_array(array: np.ndarray) -> Image.Image:
    """Pixels to a picture.

    Args:
        array: (y, x), (y, x, 1), (y, x, 3) or (y, x, 4) of u8, uint16, bool or floats in [0, 1].
    Raises: PictureError for another shape or type.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or array.size == 0:
        raise refused("not_a_picture", f"an array of shape {array.shape}", "(y, x), (y, x, 3) or (y, x, 4)")
    if array.dtype.kind == "f":
        array = np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
    elif array.dtype == np.uint16:
        array = np.rint(array / 257).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        wanted = "uint8, uint16, bool or floats in [0, 1]"
        raise refused("not_a_picture", f"an array of {array.dtype}", wanted)
    return Image.fromarray(np.ascontiguousarray(array))


def _as_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, 32 bits or floats; the range is the mode's, or read off the values."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32), copy=False, posinf=0, neginf=0)
    np.maximum(values, 0, out=values)
    values *= _scale(image.mode, float(values.max()))
    np.minimum(np.rint(values, out=values), 255, out=values)
    return Image.fromarray(values.astype(np.uint8))


def _scale(mode: str, peak: float) -> float:
    """Factor to 0 to 255, from the smallest range that holds the peak: 1 (floats), 255, 65,535, the peak."""
    if mode.startswith("I;16") or 255 < peak <= 65535:
        return 1 / 257
    if mode == "F" and 0 < peak <= 1:
        return 255.0
    return 255 / peak if peak > 65535 else 1.0


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # part of Pillow only when built with Little CMS

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    made = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if made is None:
        raise ValueError("no conversion from L*a*b*")
    return made
