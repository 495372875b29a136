import json

import pyarrow.parquet as pq
import pytest

from limner.data.sinks import ExportOptions, export_table, parquet
from limner.data.sinks.parquet import IMAGE, parquet_schema
from limner.data.table import SCHEMA


def test_columns_and_types_are_the_tables_but_for_the_picture(awkward, tmp_path):
    out = export_table(awkward, tmp_path / "out", "parquet").path
    read = pq.read_table(out / "00000.parquet")
    assert read.column_names == SCHEMA.names
    assert read.schema.field("image").type == IMAGE
    images = [image["bytes"] for image in read["image"].to_pylist()]
    assert images == awkward.column("image")
    rest = [name for name in SCHEMA.names if name != "image"]
    assert read.select(rest).to_pylist() == awkward.rows(range(len(awkward)), rest)


def test_the_schema_tells_datasets_which_column_is_a_picture():
    metadata = parquet_schema(SCHEMA).metadata
    assert json.loads(metadata[b"huggingface"]) == {"info": {"features": {"image": {"_type": "Image"}}}}


def test_rows_go_into_files_of_the_size_asked(jpegs, tmp_path):
    out = export_table(jpegs, tmp_path / "out", "parquet", ExportOptions(shard_size=5)).path
    files = sorted(out.glob("*.parquet"))
    assert [path.name for path in files] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert [pq.ParquetFile(path).metadata.num_rows for path in files] == [5, 5, 2]


def test_groups_stay_small_where_pictures_are_large(jpegs, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1)
    out = export_table(jpegs, tmp_path / "out", "parquet").path
    assert pq.ParquetFile(out / "00000.parquet").num_row_groups == len(jpegs)


@pytest.mark.peer
def test_datasets_knows_the_picture_by_the_schema(datasets):
    features = datasets.Features.from_arrow_schema(parquet_schema(SCHEMA))
    assert features["image"] == datasets.Image()
    assert features["texts"] == datasets.List(datasets.Value("string"))


@pytest.mark.peer
def test_datasets_reads_pictures_and_texts(awkward, tmp_path, datasets):
    out = export_table(awkward, tmp_path / "out", "parquet", ExportOptions(shard_size=10)).path
    files = [str(path) for path in sorted(out.glob("*.parquet"))]
    read = datasets.load_dataset("parquet", data_files=files, split="train")
    assert read[0]["image"].size == (awkward.column("width")[0], awkward.column("height")[0])
    read = read.cast_column("image", datasets.Image(decode=False))
    assert [image["bytes"] for image in read["image"]] == awkward.column("image")
    assert list(read["texts"]) == awkward.column("texts")
    assert list(read["key"]) == awkward.column("key")
