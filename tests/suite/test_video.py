"""Videos as a task: made ones, and a list of folders and files."""

import json
from pathlib import Path

import pytest

from limner.checkpoint import Bundle, load
from limner.data.scene_videos import scene_video
from limner.data.scenes import SceneSettings
from limner.errors import DataError
from limner.suite.selection import Selection
from limner.suite.video import VideoSettings, clips_of, measure


@pytest.fixture(scope="module")
def tiny() -> Bundle:
    return load()


def test_made_videos_find_their_texts_better_than_chance(tiny: Bundle) -> None:
    settings = VideoSettings(frames=3, qa_frames=4, top_k=4, start=0)
    found = measure(tiny, Selection(path="", count=8), settings, None)
    assert next(iter(found.measures)) == "t2v_r1"
    ranked = [s for s in found.samples if "rank" in s]
    assert found.measures["t2v_r1"].value == sum(s["rank"] == 1 for s in ranked) / 8
    assert found.measures["t2v_r1_itc"].value > 1 / 8
    assert found.measures["t2v_median_rank"].value >= 1
    asked = [s for s in found.samples if "right" in s]
    assert found.measures["qa_accuracy"].value == pytest.approx(sum(s["right"] for s in asked) / len(asked))
    assert all("score" not in s for s in asked)


def test_a_list_of_folders_gives_the_same_as_the_frames(tiny: Bundle, tmp_path: Path) -> None:
    lines = []
    for number in range(3):
        made = scene_video(SceneSettings(seed=0), number, 4)
        (tmp_path / made.key).mkdir()
        for place, frame in enumerate(made.frames):
            frame.save(tmp_path / made.key / f"{place}.png")
        lines.append({"video": made.key, "texts": [made.captions[0]], "questions": []})
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    settings = VideoSettings(frames=4, qa_frames=4, start=0)
    listed = settings.model_copy(update={"videos": str(tmp_path / "list.jsonl")})
    read = clips_of(Selection(path="", count=2), listed, tiny.image_spec)
    made_clips = clips_of(Selection(path="", count=2), settings, tiny.image_spec)
    for one, other in zip(read, made_clips, strict=True):
        assert (one.key, one.texts) == (other.key, other.texts)
        assert all((a == b).all() for a, b in zip(one.frames, other.frames, strict=True))
        assert one.qa_frames == []


def test_what_is_no_list_is_told(tiny: Bundle, tmp_path: Path) -> None:
    path, rows = tmp_path / "list.jsonl", Selection(path="")
    path.write_text('{"film": "x"}\n')
    with pytest.raises(DataError, match="KeyError 'video'"):
        measure(tiny, rows, VideoSettings(videos=str(path)), None)
    with pytest.raises(DataError, match="no list of videos"):
        measure(tiny, rows, VideoSettings(videos=str(tmp_path / "none.jsonl")), None)
    path.write_text('{"video": "x"}\n')
    with pytest.raises(DataError, match="nothing to measure"):
        measure(tiny, rows, VideoSettings(videos=str(path)), None)
