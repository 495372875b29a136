"""BLIP's JSON lists: captions, questions, and what has no place in a pairs table."""

import json
from pathlib import Path
from typing import Any

import pytest

from limner.data.sources.blip_json import recognise
from limner.data.sources.item import Guess, ImportOptions
from limner.errors import DataError

OPTIONS = ImportOptions()


def write(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8-sig")
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def guessed(path: Path, options: ImportOptions = OPTIONS) -> Guess:
    guess = recognise(path, options)
    assert guess is not None
    return guess


def test_captions_of_one_picture_are_joined(tmp_path: Path) -> None:
    touch(tmp_path, "images/val2014/a.jpg", "images/val2014/b.jpg")
    rows = [
        {"image": "val2014/a.jpg", "caption": "one", "image_id": "coco_1"},
        {"image": "val2014/b.jpg", "caption": "two", "image_id": "coco_2"},
        {"image": "val2014/a.jpg", "caption": "three", "image_id": "coco_1"},
    ]
    guess = guessed(write(tmp_path / "coco_karpathy_train.json", rows))
    items = list(guess.items())
    assert [(item.key, item.texts, item.split) for item in items] == [
        ("val2014/a.jpg", ("one", "three"), "train"),
        ("val2014/b.jpg", ("two",), "train"),
    ]
    assert items[0].picture == tmp_path / "images" / "val2014" / "a.jpg"
    assert guess.count == 2
    assert guess.lines[0] == "BLIP list: 3 rows, 3 captions, 0 questions"
    assert "split: train, from the file's name" in guess.lines


def test_lists_of_captions_and_whole_paths(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    path = write(tmp_path / "set.json", [{"image": str(tmp_path / "a.jpg"), "caption": ["one", "two", None]}])
    (item,) = guessed(path).items()
    assert item.texts == ("one", "two", None)
    assert item.picture == tmp_path / "a.jpg"
    assert item.split is None


def test_questions_are_joined(tmp_path: Path) -> None:
    touch(tmp_path, "vqa/val2014/a.jpg", "vg/b.jpg")
    rows = [
        {"image": "val2014/a.jpg", "question": "what?", "answer": ["dog", "cat"], "dataset": "vqa"},
        {"image": "val2014/a.jpg", "question": "how many?", "answer": [2], "dataset": "vqa"},
        {"image": "b.jpg", "question": "where?", "answer": "here", "dataset": "vg"},
        {"image": "b.jpg", "question": "why?", "question_id": 4, "dataset": "vg"},
    ]
    guess = guessed(write(tmp_path / "vqa_val.json", rows))
    first, second = guess.items()
    assert first.questions == (("what?", ("dog", "cat")), ("how many?", ("2",)))
    assert second.questions == (("where?", ("here",)), ("why?", ()))
    assert (first.texts, first.split) == ((), "val")
    assert [item.picture for item in (first, second)] == [
        tmp_path / "vqa" / "val2014" / "a.jpg",
        tmp_path / "vg" / "b.jpg",
    ]


def test_columns_can_be_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    path = write(
        tmp_path / "set.json", [{"image": "no.jpg", "shot": "a.jpg", "words": "one", "caption": "x"}]
    )
    options = ImportOptions(picture_column="shot", caption_column="words")
    (item,) = guessed(path, options).items()
    assert (item.key, item.texts) == ("a.jpg", ("one",))
    with pytest.raises(DataError, match=r"(?s)no row of .* has 'nothing'.*caption, image, shot, words"):
        recognise(path, ImportOptions(picture_column="nothing"))


def test_broken_rows_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    rows = [
        {"image": "a.jpg", "caption": 3},
        7,
        None,
        {"caption": "x"},
        {"image": None},
        {"image": ["a.jpg"]},
    ]
    guess = guessed(write(tmp_path / "set.json", rows))
    assert "not read: 5 rows that name no picture" in guess.lines
    assert [item.texts for item in guess.items()] == [(3,)]


def test_what_has_no_place(tmp_path: Path) -> None:
    pair = {"sentence": "both are dogs", "label": "True", "images": ["a.jpg", "b.jpg"]}
    with pytest.raises(
        DataError,
        match=r"pairs of pictures, as NLVR2(.|\n)*limner table TABLE --statements .*nlvr_train.json",
    ):
        recognise(write(tmp_path / "nlvr_train.json", [pair]), OPTIONS)
    with pytest.raises(DataError, match="holds web addresses"):
        recognise(write(tmp_path / "cc.json", [{"image": "https://example.org/a.jpg"}]), OPTIONS)
    with pytest.raises(DataError, match="none of the pictures"):
        recognise(write(tmp_path / "set.json", [{"image": "a.jpg", "caption": "x"}]), OPTIONS)
    (tmp_path / "cut.json").write_text('[{"image": "a.jpg"}, {"im', encoding="utf-8")
    with pytest.raises(DataError, match="is no whole JSON"):
        recognise(tmp_path / "cut.json", OPTIONS)


def test_other_files_are_another_kind(tmp_path: Path) -> None:
    for rows in ([], {}, [1, 2], [{"a": 1}], {"image": "a.jpg"}, "text", None):
        assert recognise(write(tmp_path / "set.json", rows), OPTIONS) is None
    assert recognise(tmp_path, OPTIONS) is None
