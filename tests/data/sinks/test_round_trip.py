"""import(export(t)) = t on key, picture bytes, texts, label, split, source, licence, questions and boxes."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.data.importing import import_source
from limner.data.sinks import SINKS, ExportOptions, export_table
from limner.data.sources.item import Item, fields_of
from limner.data.table import SCHEMA, Table

PICTURE = io.BytesIO()
Image.new("RGB", (9, 7), "red").save(PICTURE, "PNG")
COLUMNS = ["key", "image", "texts", "label", "split", "source", "licence", "questions", "boxes"]

Read = Iterator[tuple[dict[str, Any], bytes]]


def from_tars(folder: Path) -> Read:
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name in files:
            stem, _, suffix = name.partition(".")
            if suffix not in ("json", "txt"):
                yield json.loads(files[f"{stem}.json"]), files[name]


def from_parquet(folder: Path) -> Read:
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            yield row, row["image"]["bytes"]


def from_folder(folder: Path) -> Read:
    for path in folder.rglob("[!.]*"):
        if path.is_file() and path.suffix not in (".json", ".txt"):
            yield json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), path.read_bytes()


def from_imagefolder(folder: Path) -> Read:
    for path in folder.rglob("metadata.jsonl"):
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            yield json.loads(line), (path.parent / json.loads(line)["file_name"]).read_bytes()


def from_coco(folder: Path) -> Read:
    for image in json.loads((folder / "captions.json").read_text(encoding="utf-8"))["images"]:
        yield image, (folder / "images" / image["file_name"]).read_bytes()


READERS: dict[str, Callable[[Path], Read]] = {
    "webdataset": from_tars,
    "parquet": from_parquet,
    "folder": from_folder,
    "imagefolder": from_imagefolder,
    "coco": from_coco,
}


def rows_of(table: Table) -> dict[str, dict[str, Any]]:
    rows = table.rows(range(len(table)), COLUMNS)
    for row in rows:
        for name in ("texts", "questions", "boxes"):
            row[name] = row[name] or []
    return {row["key"]: row for row in rows}


def row_of(item: Item, image: bytes) -> dict[str, Any]:
    return {
        **{name: getattr(item, name) for name in ("key", "label", "split", "source", "licence")},
        "image": image,
        "texts": list(item.texts),
        "questions": [{"question": q, "answers": list(answers)} for q, answers in item.questions],
        "boxes": [dict(zip(("x0", "y0", "x1", "y1", "label"), box, strict=True)) for box in item.boxes],
    }


@pytest.mark.parametrize("to", SINKS)
def test_the_records_hold_everything(awkward: Table, tmp_path: Path, to: str):
    """By what `fields_of` reads from each format's records, whatever finds them."""
    out = export_table(awkward, tmp_path / "out", to).path
    read = [row_of(Item(origin="", picture=None, **fields_of(r)), image) for r, image in READERS[to](out)]
    assert len(read) == len(awkward)
    assert {row["key"]: row for row in read} == rows_of(awkward)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(WORDS, st.lists(WORDS, max_size=3), min_size=1, max_size=6))
def test_any_keys_and_texts_survive_every_kind(rows: dict[str, list[str]]):
    data = PICTURE.getvalue()
    filled = [{"key": key, "image": data, "texts": texts, "source": "s"} for key, texts in rows.items()]
    with TemporaryDirectory() as place:
        batch = pa.RecordBatch.from_pylist(filled, schema=SCHEMA)
        table = Table.write(Path(place, "t.lance"), [batch])
        for to, read in READERS.items():
            out = export_table(table, Path(place, to), to).path
            found = [(record["key"], record["texts"], image) for record, image in read(out)]
            assert sorted(found) == sorted((key, texts, data) for key, texts in rows.items())


PLACES = {"webdataset": ".", "parquet": ".", "folder": ".", "imagefolder": ".", "coco": "captions.json"}


@pytest.mark.parametrize("to", SINKS)
def test_import_gives_back_what_export_was_given(awkward: Table, tmp_path: Path, to: str):
    options = ExportOptions(shard_size=10 if to in ("webdataset", "parquet") else None)
    out = export_table(awkward, tmp_path / "out", to, options).path
    back = import_source(out / PLACES[to], tmp_path / "back.lance")
    assert back.refused == {}
    assert rows_of(back.table) == rows_of(awkward)
