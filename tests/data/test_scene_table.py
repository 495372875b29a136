from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from limner.data import intake
from limner.data.scene_language import Scenery, is_exact, nouns_in
from limner.data.scene_table import NoiseSettings, build_scenes_table, web_texts
from limner.data.scenes import SceneSettings, plan_scene, scene
from limner.data.table import SCHEMA
from limner.errors import DataError

SETTINGS = SceneSettings(seed=6, styles=("twemoji",))
JUNK = {"", "nan", "图片", "foto", "sin título", "Bild", "写真", "sans titre", "изображение", "obraz"}


@pytest.fixture(scope="module")
def truths() -> list[Scenery]:
    return [plan_scene(SETTINGS, index).truth for index in range(300)]


def test_a_clean_table_holds_all_that_is_known_of_its_scenes(tmp_path: Path):
    told: list[tuple[int, int]] = []
    table = build_scenes_table(
        tmp_path / "s.lance", SETTINGS, 20, 12, progress=lambda done, total: told.append((done, total))
    )
    assert table.column_names[: len(SCHEMA)] == SCHEMA.names
    assert not table.has("truth")
    keys = table.column("key")
    assert keys == [f"scene-6-{number}" for number in range(20, 32)]
    for number, row in enumerate(table.rows(range(12)), start=20):
        made = scene(SETTINGS, number)
        assert np.array_equal(np.asarray(intake.decode(row["image"])), made.image)
        assert Scenery.from_row(row) == made.truth
        assert row["texts"] == made.captions
        assert [(q["question"], q["answers"][0]) for q in row["questions"]] == made.questions
        assert [box["label"] for box in row["boxes"]] == [thing.concept for thing in made.truth.things]
        assert (row["source"], row["licence"]) == ("twemoji", "CC-BY-4.0")
        assert len(row["statements"]) == 2
        assert all(s["other_key"] in keys and s["other_key"] != row["key"] for s in row["statements"])
    assert told[-1] == (12, 12)


def test_a_noisy_table_has_one_text_a_row_and_its_truth(tmp_path: Path):
    noise = NoiseSettings(swapped=0.4, junk=0.2, seed=3)
    table = build_scenes_table(tmp_path / "s.lance", SETTINGS, 0, 20, noise)
    texts, marks = table.column("texts"), table.column("truth")
    assert Counter(mark for (mark,) in marks) == {"clean": 8, "swapped": 8, "junk": 4}
    expected = web_texts([plan_scene(SETTINGS, number).truth for number in range(20)], noise)
    assert [(text, mark) for (text,), (mark,) in zip(texts, marks, strict=True)] == expected


def test_clean_text_is_right_swapped_text_is_wrong_and_junk_says_nothing(truths: list[Scenery]):
    clean_of_all = {text for text, _ in web_texts(truths, NoiseSettings(swapped=0, junk=0))}
    texts = web_texts(truths, NoiseSettings())
    assert Counter(mark for _, mark in texts) == {"clean": 195, "swapped": 90, "junk": 15}
    for (text, mark), truth in zip(texts, truths, strict=True):
        if mark == "clean":
            assert is_exact(text, truth)
        elif mark == "swapped":
            assert text in clean_of_all
            assert nouns_in(text) - {thing.concept for thing in truth.things}
        else:
            assert text in JUNK or text.startswith("IMG_")


def test_noise_is_seeded(truths: list[Scenery]):
    first, again, other = (web_texts(truths, NoiseSettings(seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_what_cannot_be_made_is_an_error(tmp_path: Path, truths: list[Scenery]):
    with pytest.raises(DataError, match="1 row"):
        build_scenes_table(tmp_path / "s.lance", SETTINGS, 0, 1)
    with pytest.raises(DataError, match="no other scene"):
        web_texts([truths[0]] * 5, NoiseSettings())
    assert not (tmp_path / "s.lance").exists()
