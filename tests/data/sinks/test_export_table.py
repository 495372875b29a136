"""What holds for every kind of export: whole or not at all, nothing else destroyed, nothing encoded again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limner.data.sinks import SINKS, ExportOptions, export_table
from limner.data.table import SCHEMA, Table
from limner.errors import DataError

from_kinds = pytest.mark.parametrize("to", SINKS)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@from_kinds
def test_it_counts_what_it_wrote_and_tells_how_far_it_is(awkward: Table, tmp_path: Path, to: str):
    told: list[tuple[int, int | None]] = []
    result = export_table(awkward, tmp_path / "out", to, progress=lambda *now: told.append(now))
    files = [path for path in result.path.rglob("*") if path.is_file() and path.name[0] != "."]
    assert (result.to, result.rows, result.left_out) == (to, len(awkward), ())
    assert result.texts == sum(len(texts) for texts in awkward.column("texts"))
    assert result.files == len(files)
    assert result.bytes == sum(path.stat().st_size for path in files)
    assert told[-1] == (len(awkward), len(awkward))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@from_kinds
def test_the_same_table_gives_the_same_bytes(awkward: Table, tmp_path: Path, to: str):
    first = digests(export_table(awkward, tmp_path / "a", to).path)
    assert digests(export_table(awkward, tmp_path / "b", to).path) == first


@from_kinds
@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_stopped_in_the_middle_it_leaves_what_was_there(
    jpegs: Table, tmp_path: Path, to: str, failure: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    before = digests(export_table(jpegs, tmp_path / "out", to).path)

    def stop(done: int, total: int | None) -> None:
        raise failure

    with pytest.raises(failure):
        export_table(jpegs, tmp_path / "new", to, progress=stop)
    with pytest.raises(failure):
        export_table(jpegs, tmp_path / "out", to, ExportOptions(overwrite=True), progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert digests(tmp_path / "out") == before


def test_no_key_reaches_outside_the_folder(awkward: Table, tmp_path: Path):
    for to in SINKS:
        export_table(awkward, tmp_path / "deep" / "er" / to, to)
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"er"}
    assert {path.name for path in (tmp_path / "deep" / "er").iterdir()} == set(SINKS)


def test_an_export_is_replaced_only_when_asked(jpegs: Table, tmp_path: Path):
    out = export_table(jpegs, tmp_path / "out", "folder").path
    with pytest.raises(DataError, match="exists already") as caught:
        export_table(jpegs, out, "parquet")
    assert "--overwrite" in caught.value.hint
    export_table(jpegs, out, "parquet", ExportOptions(overwrite=True))
    assert [path.name for path in out.glob("[!.]*")] == ["00000.parquet"]


def test_the_wrong_kind_column_filter_or_shard_is_refused_before_anything_is_written(
    jpegs: Table, tmp_path: Path
):
    cases: list[tuple[str, ExportOptions, str]] = [
        ("webdatasets", ExportOptions(), "no export is called 'webdatasets'"),
        ("folder", ExportOptions(texts_column="captions"), "no column 'captions'"),
        ("folder", ExportOptions(texts_column="label"), r"column 'label' of .* holds string"),
        ("folder", ExportOptions(shard_size=5), "shards of 5 rows in an export to folder"),
        ("parquet", ExportOptions(shard_size=0), "shards of 0 rows"),
        ("parquet", ExportOptions(where="width < 0"), "no row of .* fits 'width < 0'"),
        ("parquet", ExportOptions(where="colour = 1"), "colour"),
    ]
    for to, options, message in cases:
        with pytest.raises(DataError, match=message) as caught:
            export_table(jpegs, tmp_path / "out", to, options)
        assert caught.value.wanted
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_kind_is_answered_with_the_right_one(jpegs: Table, tmp_path: Path):
    with pytest.raises(DataError) as caught:
        export_table(jpegs, tmp_path / "out", "webdatset")
    assert caught.value.hint == "--to webdataset"


def test_an_empty_table_has_nothing_to_write(make_table: Callable[..., Table], tmp_path: Path):
    with pytest.raises(DataError, match="to write"):
        export_table(make_table([]), tmp_path / "out", "coco")


@from_kinds
def test_a_filter_takes_some_of_the_rows(awkward: Table, tmp_path: Path, to: str):
    result = export_table(awkward, tmp_path / "out", to, ExportOptions(where="split = 'train'"))
    assert result.rows == awkward.column("split").count("train")


@from_kinds
def test_rows_without_a_picture_name_their_key(make_table: Callable[..., Table], tmp_path: Path, to: str):
    table = make_table([{"key": "poor row", "image": b"no picture", "texts": []}])
    with pytest.raises(DataError, match="poor row"):
        export_table(table, tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


@from_kinds
def test_vectors_go_into_parquet_only_and_the_rest_is_named(
    make_table: Callable[..., Table], awkward_rows: list[dict[str, Any]], tmp_path: Path, to: str
):
    schema = pa.schema(
        [*SCHEMA, ("embedding", pa.list_(pa.float32(), 2)), ("itm_web", pa.list_(pa.float32()))]
    )
    row = awkward_rows[0] | {"embedding": [0.5, 1.0], "itm_web": [0.25, float("nan")]}
    result = export_table(make_table([row], schema), tmp_path / "out", to)
    assert result.left_out == (() if to == "parquet" else ("embedding",))
    if to == "parquet":
        assert pq.read_table(result.path / "00000.parquet")["embedding"].to_pylist() == [[0.5, 1.0]]
    if to == "imagefolder":
        line = json.loads(next(result.path.rglob("metadata.jsonl")).read_text())
        assert line["itm_web"] == [0.25, None]


@from_kinds
def test_other_texts_are_written_as_the_texts(
    make_table: Callable[..., Table], awkward_rows: list[dict[str, Any]], tmp_path: Path, to: str
):
    schema = pa.schema([*SCHEMA, ("texts_bootstrapped", pa.list_(pa.string()))])
    table = make_table([awkward_rows[0] | {"texts_bootstrapped": ["a cleaned text", None]}], schema)
    options = ExportOptions(texts_column="texts_bootstrapped")
    result = export_table(table, tmp_path / "out", to, options)
    assert result.texts == 1
    if to == "parquet":
        read = pq.read_table(result.path / "00000.parquet")
        assert read["texts"].to_pylist() == [["a cleaned text"]]
        assert "texts_bootstrapped" not in read.column_names
    if to == "folder":
        assert (result.path / "plain.txt").read_text() == "a cleaned text\n"
        assert json.loads((result.path / "plain.json").read_text())["texts"] == ["a cleaned text"]
