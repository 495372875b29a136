"""What happens in a made video is what its truth says, by its pixels."""

import numpy as np

from limner.data.scene_videos import EVENTS, scene_video
from limner.data.scenes import SceneSettings

SETTINGS = SceneSettings(seed=2, canvas_px=64)
VIDEOS = [scene_video(SETTINGS, number, 8) for number in range(24)]


def _changed(video, one: int, other: int) -> np.ndarray:
    first, second = (np.asarray(video.frames[i]).astype(int) for i in (one, other))
    return np.abs(first - second).sum(2) > 30


def test_every_event_happens_and_is_said() -> None:
    assert {video.event for video in VIDEOS} == set(EVENTS)
    for video in VIDEOS:
        assert video.captions[1].endswith(f"{video.subject} {video.event}")
        assert video.questions[0][1] == video.subject


def test_what_appears_or_vanishes_does_so_in_the_middle() -> None:
    for video in (v for v in VIDEOS if v.event in EVENTS[:2]):
        assert not _changed(video, 0, 3).any()
        assert _changed(video, 3, 4).any()
        assert not _changed(video, 4, 7).any()
        counts = dict(video.questions)
        start, end = (counts[f"how many things are there at the {t}?"] for t in ("start", "end"))
        assert start != end


def test_what_moves_goes_where_it_is_said_to_go() -> None:
    still = {True: 0, False: 1}
    moved = 0
    for video in (v for v in VIDEOS if v.event.startswith("moves")):
        if len(video.truth.things) > 1:
            continue  # others may hide it
        ground = np.asarray(video.frames[0]).reshape(-1, 3)
        colours, counts = np.unique(ground, axis=0, return_counts=True)
        plain = colours[counts.argmax()]
        middles = []
        for frame in (video.frames[0], video.frames[-1]):
            seen = (np.abs(np.asarray(frame).astype(int) - plain).sum(2) > 30).nonzero()
            middles.append((seen[1].mean(), seen[0].mean()))
        way = video.event.split()[-1]
        axis = still[way in ("right", "left")]
        forward = middles[1][axis] - middles[0][axis]
        assert (forward > 1) if way in ("right", "down") else (forward < -1)
        moved += 1
    assert moved


def test_a_video_repeats() -> None:
    again = scene_video(SETTINGS, 5, 8)
    assert again[2:] == VIDEOS[5][2:]
    assert all(
        (np.asarray(a) == np.asarray(b)).all() for a, b in zip(again.frames, VIDEOS[5].frames, strict=True)
    )
