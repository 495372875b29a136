"""Karpathy's splits of COCO and Flickr."""

import json
from pathlib import Path
from typing import Any

import pytest

from limner.data.sources.item import Guess, ImportOptions
from limner.data.sources.karpathy import recognise
from limner.errors import DataError

OPTIONS = ImportOptions()


def image(name: str, split: str, texts: list[str], **more: Any) -> dict[str, Any]:
    sentences = [{"raw": text, "tokens": text.split(), "sentid": i} for i, text in enumerate(texts)]
    return {"filename": name, "split": split, "sentences": sentences, "imgid": 0, **more}


def write(path: Path, images: Any) -> Path:
    path.write_text(json.dumps({"images": images, "dataset": "coco"}), encoding="utf-8")
    return path


def guessed(path: Path) -> Guess:
    guess = recognise(path, OPTIONS)
    assert guess is not None
    return guess


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


COCO = [
    image("a.jpg", "train", ["one", "two"], filepath="train2014"),
    image("b.jpg", "restval", ["three"], filepath="val2014"),
    image("c.jpg", "val", ["four"], filepath="val2014"),
    image("d.jpg", "test", ["five"], filepath="val2014"),
]


@pytest.mark.parametrize("home", [".", "images", "coco"])
def test_coco(tmp_path: Path, home: str) -> None:
    touch(tmp_path / home / "train2014", "a.jpg")
    touch(tmp_path / home / "val2014", "b.jpg", "c.jpg", "d.jpg")
    guess = guessed(write(tmp_path / "dataset_coco.json", COCO))
    items = list(guess.items())
    assert guess.count == 4
    assert guess.lines[0] == "Karpathy split: 4 pictures, 5 captions"
    assert any("1 restval" in line and "so it is train" in line for line in guess.lines)
    assert [(item.key, item.texts, item.split) for item in items] == [
        ("train2014/a.jpg", ("one", "two"), "train"),
        ("val2014/b.jpg", ("three",), "train"),
        ("val2014/c.jpg", ("four",), "val"),
        ("val2014/d.jpg", ("five",), "test"),
    ]
    assert [item.picture for item in items] == [tmp_path / home / item.key for item in items]


def test_flickr30k_has_one_folder(tmp_path: Path) -> None:
    touch(tmp_path / "flickr30k-images", "a.jpg")
    images = [image("a.jpg", "train", ["one"]), image("gone.jpg", "test", ["two"])]
    guess = guessed(write(tmp_path / "dataset_flickr30k.json", images))
    items = list(guess.items())
    assert [item.key for item in items] == ["a.jpg", "gone.jpg"]
    assert items[1].picture == tmp_path / "flickr30k-images" / "gone.jpg"
    assert any("1 of 2 looked for are not there" in line for line in guess.lines)


def test_broken_entries_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    images = [image("a.jpg", "train", ["one"]), 3, None, {"sentences": []}, {"filename": ["x"]}]
    images.append({"filename": "a2.jpg", "sentences": ["text", {"raw": None}], "split": 7})
    guess = guessed(write(tmp_path / "dataset.json", images))
    assert "not read: 4 entries without a file name" in guess.lines
    assert [(item.texts, item.split) for item in guess.items()] == [(("one",), "train"), ((None,), "7")]


def test_files_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no entry of `images`"):
        recognise(write(tmp_path / "a.json", [{"sentences": []}]), OPTIONS)
    path = write(tmp_path / "dataset_coco.json", COCO)
    with pytest.raises(DataError, match="none of the pictures"):
        recognise(path, OPTIONS)
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    with pytest.raises(DataError, match="is no whole JSON"):
        recognise(path, OPTIONS)


def test_other_files_are_another_kind(tmp_path: Path) -> None:
    for images in ({"sentences": 1}, "x", [{"file_name": "a.jpg"}]):
        assert recognise(write(tmp_path / "a.json", images), OPTIONS) is None
    assert recognise(tmp_path, OPTIONS) is None
    assert recognise(tmp_path / "none.json", OPTIONS) is None
