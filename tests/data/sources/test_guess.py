"""What a source is taken for."""

import json
from pathlib import Path

import pytest

from limner.data.sources.guess import KINDS, ImportOptions, guess_source
from limner.errors import DataError


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "table" / "_versions").mkdir(parents=True)
    (tmp_path / "pairs.docx").write_text("x", encoding="utf-8")
    (tmp_path / "pairs.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for name, message in {
        "empty": "no pictures among the 0 files",
        "table": "cannot be opened",
        "none": "does not exist",
        "pairs.docx": "of no kind that can be imported",
        "pairs.csv": "no column of .* seems to hold pictures",
    }.items():
        with pytest.raises(DataError, match=message):
            guess_source(tmp_path / name)
    with pytest.raises(DataError, match="has no column 'c'"):
        guess_source(tmp_path / "pairs.csv", ImportOptions(picture_column="c"))


def test_a_kind_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "pairs.csv").write_text("image,caption\na.jpg,a dog\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not WebDataset tars"):
        guess_source(tmp_path / "pairs.csv", ImportOptions(kind="webdataset"))
    with pytest.raises(DataError, match="no source is of kind 'tar'"):
        guess_source(tmp_path / "pairs.csv", ImportOptions(kind="tar"))
    assert guess_source(tmp_path / "pairs.csv", ImportOptions(kind="rows")).kind == "rows"


def test_other_kinds_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "list.json").write_text('[{"image": "a.jpg", "caption": "a dog"}]', encoding="utf-8")
    (tmp_path / "x.token").write_text("a.jpg#0\ta dog\n", encoding="utf-8")
    images = [{"id": 1, "file_name": "a.jpg", "filename": "a.jpg"}]
    karpathy = [{"filename": "a.jpg", "sentences": [{"raw": "a dog"}]}]
    for name, listed in (("captions.json", images), ("dataset.json", karpathy)):
        (tmp_path / name).write_text(json.dumps({"images": listed, "annotations": []}), encoding="utf-8")
    kinds = {"list.json": "blip", "x.token": "flickr8k", "captions.json": "coco", "dataset.json": "karpathy"}
    assert {name: guess_source(tmp_path / name).kind for name in kinds} == kinds


def test_several_files_together_are_of_one_kind(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,caption\na.jpg,x y\n", encoding="utf-8")
    (tmp_path / "b.tar").touch()
    with pytest.raises(DataError, match="2 files that are neither all tars nor all files of rows"):
        guess_source(f"{tmp_path}/a.csv::{tmp_path}/b.tar")
    with pytest.raises(DataError, match=r"2 of the 3 files .* are not there: .*c-1\.tar"):
        guess_source(f"{tmp_path}/b.tar::{tmp_path}/c-{{1..2}}.tar")


def test_every_kind_has_words() -> None:
    assert all(KINDS.values())
    assert list(KINDS)[-1] == "folder"
