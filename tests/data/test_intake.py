"""The one door for pictures: what comes in is upright RGB, what does not has a reason."""

import io
import struct
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.data.intake import FORMATS, REASONS, Limits, decode, identify, open_picture, phash
from limner.errors import PictureError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, format_name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def scene(width: int = 160, height: int = 120) -> Image.Image:
    """Red left half, blue lower right, green upper right, with a soft texture."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, width // 2 :] = BLUE
    return Image.fromarray(pixels)


def refusal(source: object, **options: object) -> str:
    with pytest.raises(PictureError) as caught:
        open_picture(source, **options)  # type: ignore[arg-type]
    assert caught.value.reason in REASONS
    return caught.value.reason


def near(colour: tuple[int, int, int], expected: tuple[int, int, int], tolerance: int = 12) -> bool:
    return max(abs(a - b) for a, b in zip(colour, expected, strict=True)) <= tolerance


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_allowed_format_comes_in(format_name: str) -> None:
    data = encoded(scene(), format_name)
    picture = open_picture(data)
    assert picture.image.mode == "RGB"
    assert (picture.width, picture.height) == picture.image.size == (160, 120)
    assert picture.format == format_name
    assert picture.data == data
    assert near(picture.image.getpixel((20, 60)), RED)
    assert near(picture.image.getpixel((140, 100)), BLUE)


def test_paths_bytes_images_and_arrays_are_one_picture(tmp_path: Path) -> None:
    image = scene()
    path = tmp_path / "scene.png"
    path.write_bytes(encoded(image))
    array = np.asarray(image)
    sources = [path, str(path), path.read_bytes(), image, array, array / 255, array.astype(np.uint16) * 257]
    opened = [open_picture(source) for source in sources]
    assert all(np.array_equal(np.asarray(picture.image), array) for picture in opened)
    assert len({identify(source).phash for source in sources}) == 1
    assert np.array_equal(np.asarray(open_picture(opened[-1].data).image), array)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((4, 4), 200, np.uint8), (200, 200, 200)),
        (np.full((4, 4, 1), 0.5), (128, 128, 128)),
        (np.ones((4, 4), bool), WHITE),
        (np.dstack([np.full((4, 4), v, np.uint8) for v in (0, 0, 255, 0)]), WHITE),
    ],
)
def test_arrays_of_other_shapes(array: np.ndarray, expected: tuple[int, int, int]) -> None:
    assert open_picture(array).image.getpixel((1, 1)) == expected


@pytest.mark.parametrize(
    "array", [np.zeros((3, 8, 8)), np.zeros(5), np.zeros((4, 4, 3), np.int64), np.zeros((0, 4, 3), np.uint8)]
)
def test_arrays_that_are_no_pictures(array: np.ndarray) -> None:
    assert refusal(array) == "not_a_picture"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(orientation: int, format_name: str) -> None:
    upright = scene()
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's numbers of the turn a camera applied
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(encoded(stored, format_name, exif=exif.tobytes()))
    assert (picture.width, picture.height) == picture.image.size == (160, 120)
    for place, colour in {(20, 60): RED, (140, 20): GREEN, (140, 100): BLUE}.items():
        assert near(picture.image.getpixel(place), colour, 20)


def test_broken_exif_does_not_refuse_a_picture() -> None:
    data = encoded(scene(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f garbage")
    assert open_picture(data).image.size == (160, 120)


def test_transparency_shows_the_background() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert open_picture(encoded(clear)).image.getpixel((3, 3)) == WHITE
    assert open_picture(encoded(clear), background=BLUE).image.getpixel((3, 3)) == BLUE
    half = open_picture(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 128)))).image.getpixel((3, 3))
    assert near(half, (255, 127, 127), 1)
    grey = open_picture(encoded(Image.new("LA", (8, 8), (0, 0)))).image.getpixel((3, 3))
    assert grey == WHITE


def test_palette_with_transparency() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 0)
    for format_name in ("PNG", "GIF"):
        opened = open_picture(encoded(image, format_name, transparency=0)).image
        assert opened.getpixel((0, 0)) == WHITE
        assert opened.getpixel((4, 4)) == GREEN
    several = encoded(image, transparency=bytes([0, 255]))
    assert open_picture(several).image.getpixel((0, 0)) == WHITE


def test_rgb_with_a_transparent_colour() -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), transparency=RED)
    assert open_picture(data).image.getpixel((2, 2)) == WHITE


def test_cmyk() -> None:
    opened = open_picture(encoded(scene().convert("CMYK"), "JPEG", quality=95)).image
    assert near(opened.getpixel((20, 60)), RED, 20)


def test_16_bit_grey_keeps_its_range() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    for format_name in ("PNG", "TIFF"):
        pixels = np.asarray(open_picture(encoded(Image.fromarray(ramp), format_name)).image)
        assert np.array_equal(pixels[0, :, 0], np.arange(256))


def test_16_bit_rgb() -> None:
    row = b"\x00" + struct.pack(">3H", 65535, 32768, 0) * 4
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row * 4))]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [*chunks, (b"IEND", b"")]
    )
    assert open_picture(png).image.getpixel((1, 1)) == (255, 128, 0)


@pytest.mark.parametrize("mode", ["1", "L", "I", "F"])
def test_grey_of_every_kind(mode: str) -> None:
    image = Image.fromarray(np.full((6, 6), 255, np.uint8)).convert(mode)
    assert open_picture(encoded(image, "TIFF")).image.getpixel((2, 2)) == WHITE


def test_float_pictures_in_the_unit_range() -> None:
    image = Image.fromarray(np.full((6, 6), 0.5, np.float32))
    assert open_picture(encoded(image, "TIFF")).image.getpixel((2, 2)) == (128, 128, 128)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(format_name: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:])
    assert near(open_picture(data).image.getpixel((8, 8)), RED, 4)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_file_cut_short_is_truncated(format_name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format_name)
    assert refusal(data[: int(len(data) * share)]) == "truncated"


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_broken_header_is_truncated(format_name: str) -> None:
    assert refusal(encoded(scene(), format_name)[:14]) == "truncated"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just some text, renamed to jpg", "not_a_picture"),
        (b"\x00" * 100, "not_a_picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "format"),
        (b"8BPS\x00\x01", "format"),
        (b"%PDF-1.7", "format"),
        (b"\x00\x00\x00\x1cftypheic", "truncated"),
        (encoded(scene(), "PPM"), "format"),
        (encoded(scene(), "ICO"), "format"),
    ],
)
def test_what_is_no_picture_is_told_apart(data: bytes, reason: str) -> None:
    assert refusal(data) == reason


def bomb(width: int, height: int) -> bytes:
    """A PNG of one colour that is tiny on disk and huge in memory."""
    packed = zlib.compressobj(9)
    body = b"".join(packed.compress(b"\x00" * (1 + (width + 7) // 8)) for _ in range(height)) + packed.flush()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize("side", [9500, 13300, 20000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    data = bomb(side, side)
    assert len(data) < 500_000
    tracemalloc.start()
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal(data) == "too_many_pixels"
    spent, peak = time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < 0.5
    assert peak < 5_000_000


def test_the_pixel_cap_is_the_users() -> None:
    assert refusal(encoded(scene()), limits=Limits(max_pixels=160 * 120 - 1)) == "too_many_pixels"
    assert open_picture(encoded(scene()), Limits(max_pixels=160 * 120)).width == 160


def test_a_small_side_decodes_jpeg_at_reduced_scale() -> None:
    data = encoded(scene(640, 480), "JPEG", quality=95)
    small = open_picture(data, max_side=100)
    assert (small.width, small.height) == (640, 480)
    assert small.image.size == (160, 120)
    exact = np.asarray(decode(data).resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
    fast = np.asarray(decode(data, max_side=128).resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(exact - fast).mean() < 2
    assert decode(data, max_side=481).size == (640, 480)
    assert decode(encoded(scene(640, 480)), max_side=100).size == (640, 480)


def test_reduced_scale_and_quarter_turn_together() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = open_picture(encoded(scene(640, 480), "JPEG", exif=exif.tobytes()), max_side=100)
    assert (picture.width, picture.height) == (480, 640)
    assert picture.image.size == (120, 160)


def test_sha256_is_of_the_bytes_and_phash_of_the_look() -> None:
    texture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    image = texture.resize((320, 240), Image.Resampling.BICUBIC)
    png, jpeg, small = (
        identify(data) for data in (encoded(image), encoded(image, "JPEG"), encoded(image.resize((200, 150))))
    )
    other = identify(encoded(image.transpose(Image.Transpose.ROTATE_180)))
    assert len(png.sha256) == 64
    assert len(png.phash) == 16
    assert png.sha256 != jpeg.sha256
    assert distance(png.phash, jpeg.phash) <= 4
    assert distance(png.phash, small.phash) <= 6
    assert distance(png.phash, other.phash) > 16


def distance(one: str, two: str) -> int:
    return (int(one, 16) ^ int(two, 16)).bit_count()


def test_phash_equals_the_sum_over_cosines() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (32, 32), dtype=np.uint8)
    terms = np.zeros((8, 8))
    for u in range(8):
        for v in range(8):
            for y in range(32):
                for x in range(32):
                    wave = np.cos(np.pi * u * (2 * y + 1) / 64) * np.cos(np.pi * v * (2 * x + 1) / 64)
                    terms[u, v] += grey[y, x] * wave
    bits = "".join("1" if term > np.median(terms) else "0" for term in terms.flatten())
    assert phash(Image.fromarray(grey)) == f"{int(bits, 2):016x}"


def test_phash_of_a_symmetric_picture_is_not_decided_by_rounding() -> None:
    """Terms that cancel are 0 on every machine: sums of whole numbers, whatever order they are added in."""
    random = np.random.default_rng(2)
    for _ in range(20):
        half = random.integers(0, 256, (32, 16), dtype=np.uint8)
        whole = np.concatenate([half, half[:, ::-1]], axis=1)
        bits = f"{int(phash(Image.fromarray(whole)), 16):064b}"
        terms = {bits[row * 8 + odd] for row in range(8) for odd in (1, 3, 5, 7)}
        assert len(terms) == 1


@settings(max_examples=300, deadline=None)
@given(data=st.data(), format_name=st.sampled_from(FORMATS))
def test_mutated_files_come_in_or_are_refused_but_never_crash(data: st.DataObject, format_name: str) -> None:
    original = bytearray(encoded(scene(24, 16), format_name))
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    outcome = fate(bytes(original))
    assert outcome == "RGB" or outcome in REASONS


def fate(data: bytes) -> str:
    try:
        return open_picture(data, Limits(max_pixels=1_000_000)).image.mode
    except PictureError as error:
        return error.reason


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(640, 480), (47, 63), (3, 200), (1, 1)])
def test_identity_is_of_the_whole_picture_though_a_jpeg_is_decoded_small(
    mode: str, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    texture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    image = texture.resize(size, Image.Resampling.BICUBIC).convert(mode)
    data = encoded(image, "JPEG", exif=exif.tobytes())
    whole, known = open_picture(data), identify(data)
    assert known[:-1] == whole[1:]
    assert distance(known.phash, phash(whole.image)) <= 6


def test_a_jpeg_cut_anywhere_is_refused_by_its_identity_too() -> None:
    for progressive in (False, True):
        data = encoded(scene(640, 480), "JPEG", progressive=progressive)
        for share in (0.3, 0.6, 0.95):
            with pytest.raises(PictureError) as caught:
                identify(data[: int(len(data) * share)])
            assert caught.value.reason == "truncated"
