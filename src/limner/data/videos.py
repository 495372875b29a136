"""Frames of videos, evenly taken: from a video file by PyAV, or from a folder of pictures.

Every bound of the intake holds for each frame, and the video has its own: bytes, frames, seconds. A
rotation that a phone writes beside the pixels is not applied.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Int
from PIL import Image
from pydantic import Field

from limner.config import Config
from limner.data.intake import Limits, open_picture
from limner.errors import DataError

PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff")


class VideoLimits(Config):
    """What is refused of a video.

    Args:
        max_bytes: of the file.
        max_pixels: of a frame.
        max_frames: that a file or folder may hold.
        timeout_s: seconds to read one.
    """

    max_bytes: int = Field(default=4 * 2**30, ge=1)
    max_pixels: int = Field(default=16_000_000, ge=1)
    max_frames: int = Field(default=1_000_000, ge=1)
    timeout_s: float = Field(default=300.0, gt=0)


_DEFAULT: Final = VideoLimits()


def frame_indices(length: int, count: int) -> Int[np.ndarray, " n"]:
    """Which frames stand for a video: `count` of them, evenly apart, the first among them.

    Args:
        length: frames of the video.
        count: wanted; a shorter video gives some frames twice.
    Raises: DataError when one of them is below 1.
    Source: BLIP's released video code, `np.arange(0, vlen, vlen / num_frm)` cut to whole numbers.
    """
    if length < 1 or count < 1:
        raise DataError(f"{count} frames of a video of {length}", wanted="at least one of each")
    return np.arange(0, length, length / count).astype(np.int64)[:count]


def read_frames(path: str | Path, count: int, limits: VideoLimits = _DEFAULT) -> list[Image.Image]:
    """Take frames of one video, evenly.

    Args:
        path: a video file, or a folder whose pictures are the frames in the order of their names.
        count: frames wanted.
        limits: what is refused.
    Returns: RGB pictures.
    Raises: DataError when there is no such file, nothing can decode it, or it is past the limits;
        PictureError when a frame of a folder is refused.
    """
    path = Path(path)
    if path.is_dir():
        return _of_folder(path, count, limits)
    if not path.is_file():
        raise DataError(f"no video {path}", wanted="a video file, or a folder of pictures")
    if (size := path.stat().st_size) > limits.max_bytes:
        raise DataError(f"{path}: {size:,} bytes", wanted=f"at most {limits.max_bytes:,}")
    return _of_file(path, count, limits)


def _of_folder(folder: Path, count: int, limits: VideoLimits) -> list[Image.Image]:
    names = sorted((p for p in folder.iterdir() if p.suffix.lower() in PICTURES), key=_in_order)
    if not names:
        raise DataError(f"{folder} holds no pictures", wanted="one picture a frame, named in their order")
    _check_length(folder, len(names), limits)
    bounds = Limits(max_pixels=limits.max_pixels)
    return [open_picture(names[i], bounds).image for i in frame_indices(len(names), count).tolist()]


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Names as people count: frame 9 before frame 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _of_file(path: Path, count: int, limits: VideoLimits) -> list[Image.Image]:
    av = _pyav()
    deadline = time.monotonic() + limits.timeout_s
    try:
        length = sum(1 for _ in _frames(av, path, limits, deadline))
        if not length:
            raise DataError(f"{path} holds no frames", wanted="a video that can be decoded")
        wanted = frame_indices(length, count).tolist()
        kept: dict[int, Image.Image] = {}
        for number, frame in enumerate(_frames(av, path, limits, deadline)):
            if number in wanted:
                kept[number] = frame.to_image().convert("RGB")
            if number == wanted[-1]:
                break
        return [kept[number] for number in wanted]
    except av.error.FFmpegError as error:
        raise DataError(f"{path} cannot be decoded: {error}", wanted="a video file PyAV reads") from error


def _frames(av: Any, path: Path, limits: VideoLimits, deadline: float) -> Iterator[Any]:
    """Decode a file, looking at its bounds before and between frames."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise DataError(f"{path} holds no video", wanted="a file with a video stream")
        stream = container.streams.video[0]
        if (size := stream.width * stream.height) > limits.max_pixels:
            raise DataError(
                f"{path}: frames of {stream.width} x {stream.height} pixels ({size:,})",
                wanted=f"at most {limits.max_pixels:,}",
            )
        for number, frame in enumerate(container.decode(stream)):
            _check_length(path, number + 1, limits)
            if time.monotonic() > deadline:
                raise DataError(f"{path} is not read within {limits.timeout_s:g} s", wanted="a shorter video")
            yield frame


def _check_length(path: Path, length: int, limits: VideoLimits) -> None:
    if length > limits.max_frames:
        raise DataError(f"{path}: more than {limits.max_frames:,} frames", wanted="a shorter video")


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise DataError(
            "a video file, and PyAV is not installed",
            wanted="PyAV, or a folder of pictures a video",
            hint="pip install 'limner[video]'",
        ) from error
    return av
