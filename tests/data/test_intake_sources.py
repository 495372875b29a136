"""What the intake opens: files, pipes, remote paths, pixels without a file."""

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import upath
from PIL import Image

from limner.data.intake import Limits, open_picture, read_file
from limner.errors import PictureError


def encoded(image: Image.Image, format_name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def scene() -> Image.Image:
    return Image.new("RGB", (160, 120), (200, 40, 90))


def refusal(source: object, **options: object) -> str:
    with pytest.raises(PictureError) as caught:
        open_picture(source, **options)  # type: ignore[arg-type]
    return caught.value.reason


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jpg") == "missing"
    assert refusal(tmp_path) == "missing"
    assert refusal("a\x00b.jpg") == "missing"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_or_a_device_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for name in ("pipe.jpg", "link.jpg", "loop.jpg", "/dev/zero"):
        assert refusal(tmp_path / name) == "missing"


def test_remote_paths() -> None:
    folder = upath.UPath("memory://pictures")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scene.png").write_bytes(encoded(scene()))
    assert open_picture(folder / "scene.png").width == 160
    assert refusal(folder / "none.png") == "missing"
    assert refusal(folder) == "missing"
    assert refusal(folder / "scene.png", limits=Limits(max_bytes=99)) == "too_large"


def test_a_store_that_fails_is_a_refusal() -> None:
    class Lost:
        def stat(self) -> object:
            raise RuntimeError("no connection")

        def open(self, mode: str = "r") -> object:
            raise AssertionError("never opened")

    assert refusal(Lost()) == "missing"


def test_a_file_that_says_it_is_shorter_than_it_is(tmp_path: Path) -> None:
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 < size <= 1001
            return b"x" * size

    class Odd:
        def stat(self) -> object:
            return os.stat_result((stat.S_IFREG, *([0] * 9)))

        def open(self, mode: str = "r") -> object:
            return Endless()

    assert refusal(Odd(), limits=Limits(max_bytes=1000)) == "too_large"


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF"])
def test_a_pillow_image_with_an_orientation_is_turned(format_name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    held = Image.open(io.BytesIO(encoded(scene(), format_name, exif=exif)))
    picture = open_picture(held)
    assert (picture.width, picture.height) == picture.image.size == (120, 160)


def test_pillow_images_are_bounded_and_may_be_broken() -> None:
    assert refusal(scene(), limits=Limits(max_pixels=100)) == "too_many_pixels"
    assert refusal(np.zeros((20, 20), np.uint8), limits=Limits(max_pixels=100)) == "too_many_pixels"
    assert refusal(Image.open(io.BytesIO(encoded(scene(), "BMP")[:900]))) == "truncated"


def test_anything_else_is_told_what_a_source_is() -> None:
    """In a process without the types checked at every call, as a user's is."""
    program = "from limner.data.intake import open_picture; open_picture(None)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "PictureError" in done.stderr
    assert "a path, bytes, a Pillow image or an array" in done.stderr


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert refusal(path) == "too_large"
    assert refusal(b"x" * 100, limits=Limits(max_bytes=99)) == "too_large"


def test_read_file_gives_the_bytes_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    path.write_bytes(encoded(scene()))
    assert read_file(path, Limits()) == path.read_bytes()
    with pytest.raises(PictureError, match="more bytes"):
        read_file(path, Limits(max_bytes=10))
