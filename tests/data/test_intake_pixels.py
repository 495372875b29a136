"""Every mode to RGB, against formulas written out; orientation; arrays."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.data.intake import WHITE, identify, open_picture, phash
from limner.data.intake_pixels import from_array, orientation, storable, to_rgb, upright
from limner.errors import PictureError

MODES = (
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "RGBa",
    "La",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
    "I",
    "F",
)


def srgb_of_lab(lab: tuple[float, float, float]) -> list[float]:
    """CIE L*a*b* under D50 to sRGB (Bradford-adapted matrix), 0 to 255."""
    lightness, a, b = lab
    middle = (lightness + 16) / 116
    parts = np.array([middle + a / 500, middle, middle - b / 200])
    xyz = np.where(parts > 6 / 29, parts**3, (parts - 4 / 29) * 3 * (6 / 29) ** 2)
    xyz *= [0.96422, 1.0, 0.82521]
    matrix = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540]]
    matrix += [[0.0719453, -0.2289914, 1.4052427]]
    linear = np.clip(np.array(matrix) @ xyz, 0, 1)
    return list(255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear))


@pytest.mark.parametrize("lab", [(50, 0, 0), (100, 0, 0), (60, 30, -20), (40, -25, 30), (75, 10, 45)])
def test_lab_equals_the_formula(lab: tuple[int, int, int]) -> None:
    stored = (round(lab[0] * 2.55), lab[1] + 128, lab[2] + 128)
    planes = [Image.new("L", (4, 4), value) for value in stored]
    buffer = io.BytesIO()
    Image.merge("LAB", planes).save(buffer, "TIFF")
    seen = open_picture(buffer.getvalue()).image.getpixel((1, 1))
    assert max(abs(x - y) for x, y in zip(seen, srgb_of_lab(lab), strict=True)) < 3


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_becomes_rgb(mode: str) -> None:
    image = Image.new(mode, (5, 3))
    rgb = to_rgb(image, WHITE)
    assert (rgb.mode, rgb.size) == ("RGB", (5, 3))
    assert open_picture(image).image.size == (5, 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 25700.0, 65535.0], [0, 100, 255]),
        ([-5.0, 5e8, 1e9], [0, 128, 255]),
        ([np.nan, np.inf, 1.0], [0, 0, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
        ([-3.0, -2.0, -1.0], [0, 0, 0]),
        ([-3e38, 1e-40, 3e38], [0, 0, 255]),
        ([-3e38, 0.5, 1.0], [0, 128, 255]),
    ],
)
def test_floats_are_fitted_to_the_range_that_holds_them(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert np.asarray(to_rgb(image, WHITE))[0, :, 0].tolist() == expected


def test_32_bit_integers() -> None:
    image = Image.fromarray(np.array([[0, 2**30, 2**31 - 1]], np.int32))
    assert np.asarray(to_rgb(image, WHITE))[0, :, 0].tolist() == [0, 128, 255]


def test_cmyk_equals_its_rule() -> None:
    image = Image.new("CMYK", (2, 2), (51, 102, 0, 51))
    seen = to_rgb(image, WHITE).getpixel((0, 0))
    rule = [(255 - ink) * (255 - 51) / 255 for ink in (51, 102, 0)]
    assert max(abs(x - y) for x, y in zip(seen, rule, strict=True)) <= 1


def test_orientations_outside_the_standard_are_upright() -> None:
    image = Image.new("RGB", (4, 2))
    for code in (0, 1, 9, 65535):
        image.getexif()[0x0112] = code
        assert orientation(image) == 1
        assert upright(image, code).size == (4, 2)


def test_modes_a_png_cannot_hold_are_converted() -> None:
    assert storable(Image.new("P", (2, 2)), WHITE).mode == "P"
    assert storable(Image.new("CMYK", (2, 2)), WHITE).mode == "RGB"


@pytest.mark.parametrize("shape", [(0, 5), (5,), (2, 2, 5), (2, 2, 2, 3)])
def test_arrays_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match="shape"):
        from_array(np.zeros(shape, np.uint8))


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    mode=st.sampled_from(MODES),
    code=st.integers(1, 8),
    seed=st.integers(0, 2**16),
)
def test_size_mode_and_orientation(width: int, height: int, mode: str, code: int, seed: int) -> None:
    """A file of any mode and size, held any way, is the same picture turned, and hashes repeat."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    if mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"):
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = code
    name = "PNG" if image.mode in ("1", "L", "P", "RGB", "RGBA") else "TIFF"
    if image.mode in ("HSV", "YCbCr"):  # Pillow before 13 cannot read its own TIFFs of the second
        image = image.convert("RGB")
    plain, turned = io.BytesIO(), io.BytesIO()
    image.save(plain, name)
    image.save(turned, name, exif=exif)
    first, second = open_picture(plain.getvalue()), open_picture(turned.getvalue())
    assert second.image.size == (second.width, second.height)
    assert np.array_equal(np.asarray(upright(first.image, code)), np.asarray(second.image))
    assert identify(turned.getvalue()).phash == phash(second.image)
