"""Bounds of the intake before and while a picture is decoded: header, metadata, time."""

import builtins
import io
import runpy
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.data import intake_header
from limner.data.intake import Limits, open_picture
from limner.data.intake_header import Reader, read_header
from limner.errors import PictureError

FAULTS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("faults.py")))
make, encoded, png_of = FAULTS["make"], FAULTS["encoded"], FAULTS["png_of"]


def refusal(data: bytes, **limits: Any) -> PictureError:
    with pytest.raises(PictureError) as caught:
        open_picture(data, Limits(**limits))
    return caught.value


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "tiff", "webp", "avif"])
def test_the_time_limit_is_looked_at_in_every_format(kind: str) -> None:
    assert refusal(make(kind, 0).data, timeout_s=0).reason == "too_slow"


def test_a_decoder_that_goes_on_reading_is_stopped() -> None:
    """Hundreds of thousands of empty pixel chunks: seconds of work that never comes to an end."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    empty = png_of((b"IDAT", b""))[8:]
    data = png_of((b"IHDR", header), (b"IDAT", b""))[:-12] + empty * 300_000
    error = refusal(data, timeout_s=0.05)
    assert error.reason == "too_slow"
    assert "0.05 s" in str(error)


def test_a_slow_bmp_of_runs_is_stopped() -> None:
    side = 2000
    head = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 0, 0, 0, 1078, 40, side, side, 1, 8, 1, 0, 0, 0, 256, 0)
    data = head + bytes(1024) + b"\x01\x05" * (side * side)
    assert refusal(data, timeout_s=0.05).reason == "too_slow"


def test_metadata_before_the_pixels_is_bounded() -> None:
    comment = b"\xff\xfe\xff\xff" + bytes(65533)
    jpeg = make("jpeg", 0).data
    data = jpeg[:2] + comment * 4 + jpeg[2:]
    assert open_picture(data).format == "JPEG"
    assert refusal(data, max_metadata_bytes=200_000).reason == "metadata"


def test_metadata_read_in_many_pieces_is_bounded() -> None:
    gif = make("gif", 0).data
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    comment = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 12_000 + b"\x00"
    assert refusal(gif[:at] + comment + gif[at:]).reason == "metadata"


def test_a_profile_beside_the_pixels_is_bounded() -> None:
    data = encoded(Image.new("RGB", (16, 16)), "WEBP", icc_profile=bytes(300_000))
    assert open_picture(data).width == 16
    assert refusal(data, max_metadata_bytes=200_000).reason == "metadata"


def test_a_huge_exif_block_is_refused() -> None:
    data = encoded(Image.new("RGB", (16, 16)), "WEBP", exif=b"Exif\x00\x00II*\x00" + bytes(5_000_000))
    assert "EXIF" in str(refusal(data))


def test_a_text_bomb_behind_the_pixels_is_metadata() -> None:
    png = make("png", 0).data
    bomb = png_of((b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(1 << 23))))[8:]
    assert refusal(png[:-12] + bomb + png[-12:]).reason == "metadata"


def test_a_tiff_whose_tiles_are_larger_than_it_is_refused() -> None:
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (322, 4, 1, 60_000), (323, 4, 1, 60_000)]
    assert refusal(FAULTS["_tiff_of"](tags, 64)).reason == "too_many_pixels"


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff_tags_are_counted(order: str) -> None:
    magic = b"II" if order == "<" else b"MM"
    head = magic + struct.pack(order + "HHHQQ", 43, 8, 0, 16, 2**40)
    assert refusal(head + bytes(100)).reason == "metadata"
    assert refusal(magic + struct.pack(order + "HHHQQ", 43, 8, 0, 16, 90)).reason == "truncated"


def test_a_progressive_jpeg_of_usual_scans_comes_in() -> None:
    assert open_picture(encoded(Image.new("RGB", (300, 200)), "JPEG", progressive=True)).width == 300
    assert refusal(make("scan_bomb", 0).data).reason == "too_slow"


def test_an_end_mark_in_a_thumbnail_does_not_hide_scans() -> None:
    data = make("scan_bomb", 0).data
    comment = b"\xff\xfe\x00\x06\xff\xda\xff\xd9"
    assert refusal(data[:2] + comment + data[2:]).reason == "too_slow"


def test_a_small_webp_with_a_huge_canvas_costs_no_memory() -> None:
    """The canvas is refused before the decoder that would take it is made."""
    fault = make("webp_bomb", 0)
    reader = Reader(fault.data, Limits())
    with pytest.raises(PictureError):
        read_header(fault.data, reader, Limits())
    assert reader.tell() == 0


def test_heic_leaves_pillows_list_of_formats_alone() -> None:
    before = dict(Image.OPEN)
    assert open_picture(make("heic", 0).data).format == "HEIC"
    assert before == Image.OPEN


def test_heic_without_its_reader_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data, real = make("heic", 0).data, builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    error = refusal(data)
    assert error.reason == "format"
    assert error.hint == "pip install 'limner[heic]'"


def test_generic_brands_are_told_apart_by_what_they_hold() -> None:
    for kind, name in (("avif", "AVIF"), ("heic", "HEIC")):
        data = make(kind, 0).data
        assert open_picture(data[:8] + b"mif1" + data[12:]).format == name


def test_a_cut_heic_is_truncated() -> None:
    data = make("heic", 0).data
    for share in (0.1, 0.5, 0.9):
        assert refusal(data[: int(len(data) * share)]).reason == "truncated"


def test_a_reader_is_a_file_and_remembers_why_it_stopped() -> None:
    reader = Reader(b"x" * 100, Limits(max_metadata_bytes=50))
    assert (reader.read(40), reader.refusal) == (b"x" * 40, None)
    with pytest.raises(PictureError):
        reader.read(40)
    assert reader.refusal is not None
    assert reader.refusal.reason == "metadata"
    assert isinstance(reader, io.BytesIO)


def fate(data: bytes) -> object:
    try:
        picture = open_picture(data)
    except PictureError as error:
        return error.reason
    return picture.image.tobytes(), picture.image.size


def damaged_headers() -> list[bytes]:
    """A JPEG with Exif, a profile and a comment; bytes of its header changed, lost or doubled."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.linear_gradient("L").convert("RGB")
    whole = encoded(image, "JPEG", exif=exif, icc_profile=bytes(300), comment="a comment", progressive=True)
    random, end, made = np.random.default_rng(0), whole.index(b"\xff\xda") + 20, [whole]
    for _ in range(400):
        at, value = int(random.integers(2, end)), int(random.integers(256))
        size = int(random.integers(0, 3))
        made.append(whole[:at] + bytes([value]) * size + whole[at + 1 :])
    return made


def test_a_plain_jpeg_read_unwatched_is_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = damaged_headers()
    plain = [intake_header._is_plain_jpeg(data, Limits()) for data in headers]
    assert plain[0]
    assert 100 < sum(plain) < len(plain)
    found = [fate(data) for data in headers]
    monkeypatch.setattr(intake_header, "_is_plain_jpeg", lambda data, limits: False)
    assert found == [fate(data) for data in headers]


def test_a_jpeg_of_very_many_segments_is_watched() -> None:
    data = encoded(Image.linear_gradient("L"), "JPEG")
    many = data[:2] + b"\xff\xfe\x00\x04ab" * 200 + data[2:]
    assert intake_header._is_plain_jpeg(data, Limits())
    assert not intake_header._is_plain_jpeg(many, Limits())
    assert fate(many) == fate(data)
