"""Frames of videos: even, bounded, of files and of folders."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.videos import VideoLimits, frame_indices, read_frames
from limner.errors import DataError, PictureError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        Image.new("RGB", (8, 8), (20 * number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    return tmp_path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    av = pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(20):
            image = Image.new("RGB", (32, 32), (12 * number, 12 * number, 12 * number))
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 100, 601])
@pytest.mark.parametrize("count", [1, 3, 8, 16])
def test_indices_are_those_of_the_released_code(length: int, count: int) -> None:
    found = frame_indices(length, count)
    assert len(found) == count
    assert found.tolist() == np.arange(0, length, length / count).astype(int)[:count].tolist()
    assert found[0] == 0
    assert found.max() < length


def test_no_frames_are_an_error() -> None:
    with pytest.raises(DataError, match="0 frames of a video of 3"):
        frame_indices(3, 0)


def test_frames_of_a_folder_come_in_the_order_people_count(folder: Path) -> None:
    reds = [np.asarray(frame)[0, 0, 0] for frame in read_frames(folder, 6)]
    assert reds == [0, 40, 80, 120, 160, 200]


def test_frames_of_a_file_are_those_at_the_indices(film: Path) -> None:
    greys = [np.asarray(frame).mean() for frame in read_frames(film, 4)]
    assert greys == pytest.approx([0, 60, 120, 180], abs=6)
    assert len(read_frames(film, 40)) == 40


def test_what_is_past_the_limits_is_refused(folder: Path, film: Path) -> None:
    with pytest.raises(DataError, match="bytes"):
        read_frames(film, 2, VideoLimits(max_bytes=10))
    with pytest.raises(DataError, match="frames of 32 x 32 pixels"):
        read_frames(film, 2, VideoLimits(max_pixels=1000))
    with pytest.raises(DataError, match="more than 5 frames"):
        read_frames(film, 2, VideoLimits(max_frames=5))
    with pytest.raises(DataError, match="not read within"):
        read_frames(film, 2, VideoLimits(timeout_s=1e-9))
    with pytest.raises(DataError, match="more than 5 frames"):
        read_frames(folder, 2, VideoLimits(max_frames=5))
    with pytest.raises(PictureError):
        read_frames(folder, 2, VideoLimits(max_pixels=10))


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no video"):
        read_frames(tmp_path / "none.mp4", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        read_frames(tmp_path / "empty", 2)
    pytest.importorskip("av")
    (tmp_path / "bad.mp4").write_bytes(b"not a video at all")
    with pytest.raises(DataError, match="cannot be decoded"):
        read_frames(tmp_path / "bad.mp4", 2)


def test_without_pyav_a_file_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"pip install 'limner\[video\]'"):
        read_frames(tmp_path / "film.mp4", 2)
