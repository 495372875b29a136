"""A table that is imported into another."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from limner.data.sources.item import ImportOptions
from limner.data.sources.tables import recognise
from limner.data.table import SCHEMA, Table
from limner.errors import DataError

OPTIONS = ImportOptions()
ROW: dict[str, Any] = {
    "key": "a",
    "image": b"picture",
    "width": 1,
    "height": 2,
    "format": "PNG",
    "sha256": "00",
    "phash": "11",
    "texts": ["one", "two"],
    "label": "dog",
    "split": "train",
    "source": "photos",
    "licence": "CC0",
    "questions": [{"question": "what?", "answers": ["a dog"]}],
    "boxes": [{"x0": 0.0, "y0": 1.0, "x1": 2.0, "y1": 3.5, "label": "dog"}],
}


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> Table:
    return Table.write(path, [pa.RecordBatch.from_pylist(rows, schema=schema)], schema)


def test_all_columns_come_along(tmp_path: Path) -> None:
    bare = {name: None for name in SCHEMA.names} | {"key": "b", "image": b"other"}
    schema = SCHEMA.append(pa.field("itm", pa.float32()))
    write(tmp_path / "t.lance", [ROW | {"itm": 0.5}, bare], schema)
    guess = recognise(tmp_path / "t.lance", OPTIONS)
    assert guess is not None
    first, second = guess.items()
    assert guess.count == 2
    assert guess.kind == "table"
    assert "left behind: itm" in guess.lines
    assert (first.key, first.picture, first.texts) == ("a", b"picture", ("one", "two"))
    assert (first.label, first.split, first.source, first.licence) == ("dog", "train", "photos", "CC0")
    assert first.questions == (("what?", ("a dog",)),)
    assert first.boxes == ((0.0, 1.0, 2.0, 3.5, "dog"),)
    assert (second.key, second.picture, second.texts, second.source) == ("b", b"other", (), None)


def test_a_table_of_something_else(tmp_path: Path) -> None:
    write(
        tmp_path / "q.lance",
        [{"key": "a", "reason": "empty"}],
        pa.schema([("key", pa.string()), ("reason", pa.string())]),
    )
    with pytest.raises(DataError, match="is no pairs table: it has no image"):
        recognise(tmp_path / "q.lance", OPTIONS)


def test_a_folder_that_is_no_table(tmp_path: Path) -> None:
    assert recognise(tmp_path, OPTIONS) is None
    (tmp_path / "_versions").mkdir()
    with pytest.raises(DataError, match="cannot be opened"):
        recognise(tmp_path, OPTIONS)
