import pytest
from pydantic import TypeAdapter, ValidationError

from limner.data.scenes import SceneSettings
from limner.recipe.sources import EmojiSource, ScenesSource, Source, TableSource
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=16)


def test_a_table_gives_rows_and_texts(table):
    source = TableSource(kind="table", path=str(table.path))
    assert len(source.rows(SPEC, 0)) == table.num_rows
    texts = list(source.texts())
    assert texts[:4] == ["red beside green", "red beside blue", "what is left?", "red"]
    assert "" not in texts


def test_scenes_give_texts_without_drawing(monkeypatch):
    monkeypatch.setattr("limner.data.scenes.draw", pytest.fail)
    source = ScenesSource(kind="scenes", start=5, count=3)
    texts = list(source.texts())
    assert len(texts) > 9
    assert all(isinstance(text, str) for text in texts)
    assert texts == list(source.texts())
    later = ScenesSource(kind="scenes", start=6, count=2)
    assert texts[-len(list(later.texts())) :] == list(later.texts())


def test_scenes_give_rows():
    rows = ScenesSource(kind="scenes", scenes=SceneSettings(seed=4), start=5, count=3).rows(SPEC, 0)
    assert (rows.settings.seed, rows.start, len(rows)) == (4, 5, 3)


def test_emoji_give_rows_and_names():
    source = EmojiSource(kind="emoji")
    names = list(source.texts())
    assert "owl" in names
    assert len(names) > 1000
    assert len(source.rows(SPEC, 0)) > len(names)


def test_the_kind_decides_which_source_it_is():
    adapter = TypeAdapter(Source)
    assert adapter.validate_python({"kind": "emoji", "weight": 2}) == EmojiSource(kind="emoji", weight=2)
    for wrong in (
        {"kind": "tar"},
        {"kind": "emoji", "path": "x"},
        {"kind": "table"},
        {"kind": "emoji", "weight": 0},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
