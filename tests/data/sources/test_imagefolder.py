"""Hugging Face's imagefolder."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limner.data.sources.guess import guess_source


def folder_of(home: Path, rows: list[dict[str, Any]], suffix: str = "jsonl") -> Path:
    home.mkdir(parents=True, exist_ok=True)
    for row in rows:
        path = home / row["file_name"]
        path.parent.mkdir(exist_ok=True)
        path.touch()
    file = home / f"metadata.{suffix}"
    if suffix == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif suffix == "csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        file.write_text("\n".join(lines), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    return home


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_metadata_tells_texts_and_labels(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"file_name": "a.jpg", "text": "a bee", "label": "bee"},
        {"file_name": "sub/b.jpg", "text": "a cow", "label": "cow"},
    ]
    guess = guess_source(folder_of(tmp_path / "set", rows, suffix))
    assert guess.kind == "imagefolder"
    assert [(item.key, item.texts, item.label) for item in guess.items()] == [
        ("a.jpg", ("a bee",), "bee"),
        ("sub/b.jpg", ("a cow",), "cow"),
    ]
    assert [item.picture for item in guess.items()] == [tmp_path / "set" / row["file_name"] for row in rows]


def test_each_split_has_its_folder(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        folder_of(tmp_path / "data" / split, [{"file_name": "0.jpg", "text": split}])
    guess = guess_source(tmp_path)
    assert [(item.key, item.split, item.texts) for item in guess.items()] == [
        ("data/train/0.jpg", "train", ("train",)),
        ("data/validation/0.jpg", "val", ("validation",)),
    ]
    assert "splits: train, val, by the names of the files or their folders" in guess.lines


def test_the_metadata_file_itself_is_the_folder(tmp_path: Path) -> None:
    folder_of(tmp_path, [{"file_name": "a.jpg", "text": "a bee"}])
    assert guess_source(tmp_path / "metadata.jsonl").kind == "imagefolder"


def test_a_picture_that_is_not_there_is_left_to_the_intake(tmp_path: Path) -> None:
    home = folder_of(tmp_path, [{"file_name": "a.jpg", "text": "a"}, {"file_name": "b.jpg", "text": "b"}])
    (home / "b.jpg").unlink()
    assert [item.picture for item in guess_source(home).items()] == [home / "a.jpg", home / "b.jpg"]


@pytest.mark.peer
def test_what_datasets_reads_is_what_is_read_here(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    rows = [{"file_name": f"{i}.png", "text": f"number {i}"} for i in range(3)]
    for split in ("train", "test"):
        home = folder_of(tmp_path / "set" / split, rows)
        for i in range(3):
            Image.new("RGB", (4 + i, 5)).save(home / f"{i}.png")
    told = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "set"), cache_dir=str(tmp_path / "cache")
    )
    peer = [(split, row["text"], row["image"].size) for split in ("test", "train") for row in told[split]]
    ours = [(item.split, item.texts[0]) for item in guess_source(tmp_path / "set").items()]
    assert ours == [(split, text) for split, text, _ in peer]
