import json
import math

import pyarrow as pa
import pytest

from limner.data.table import SCHEMA, Table
from limner.data.table_summary import summarise, summary_values
from limner.errors import DataError


@pytest.fixture
def table(tmp_path):
    rows = [
        {
            "key": f"k{i:02}",
            "image": bytes(i),
            "width": 10 * i,
            "texts": ["", None, "x" * 200][: i % 4],
            "label": ["cat", "dog", "", None][i % 4],
            "split": "train" if i < 15 else None,
            "boxes": [{"x0": 1.0, "label": "cat"}] if i == 3 else None,
        }
        for i in range(20)
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    return Table.write(tmp_path / "t.lance", [batch], note="made", record={"rows": 20})


def columns(summary) -> dict[str, int]:
    return {column.name: column.filled for column in summary.columns}


def test_rows_columns_and_values_are_counted(table):
    summary = summarise(table)
    assert (summary.rows, summary.matched, summary.texts) == (20, 20, 30)
    filled = columns(summary)
    assert filled == {
        **dict.fromkeys(SCHEMA.names, 0),
        **{"key": 20, "image": 20, "width": 20, "texts": 15, "label": 10, "split": 15, "boxes": 1},
    }
    assert summary.counts["split"] == [("train", 15), (None, 5)]
    assert summary.distinct["label"] == 3
    assert summary.counts["format"] == [(None, 20)]
    assert summary.bytes >= sum(column.bytes for column in summary.columns) > 0


def test_a_filter_counts_only_its_rows(table):
    summary = summarise(table, "split is null or width < 20")
    assert (summary.rows, summary.matched) == (20, 7)
    assert columns(summary)["split"] == 2
    assert [row["key"] for row in summary.samples] == ["k00", "k01", *(f"k{i}" for i in range(15, 20))]
    none = summarise(table, "key = 'nowhere'")
    assert (none.matched, none.texts, none.samples) == (0, 0, [])
    with pytest.raises(DataError, match="SQL over"):
        summarise(table, "size > 1")


def test_ten_rows_from_first_to_last_are_told_in_short(table):
    samples = summarise(table).samples
    assert len(samples) == 10
    assert (samples[0]["key"], samples[-1]["key"]) == ("k00", "k19")
    assert samples[-1]["image"] == "19 bytes"
    assert samples[-1]["texts"] == ["", None, "x" * 120 + "…"]


def test_added_columns_versions_and_records_are_there(table):
    vectors = pa.array([[0.5] * 16] * 20, pa.list_(pa.float32(), 16))
    scores = [math.nan, None, *([0.25] * 18)]
    added = table.add_columns(pa.table({"vector": vectors, "score of it": scores}), "scored")
    summary = summarise(added)
    assert [version[0::2] for version in summary.versions] == [(1, "made"), (2, "scored")]
    assert summary.versions[0].record == {"rows": 20}
    assert columns(summary)["vector"] == 20
    assert columns(summary)["score of it"] == 19
    assert summary.samples[0]["vector"] == "16 numbers"
    told = json.loads(json.dumps(summary_values(summary), allow_nan=False))
    assert told["samples"][0]["score of it"] == "nan"
    assert told["columns"][0] == {
        "name": "key",
        "type": "string",
        "filled": 20,
        "bytes": told["columns"][0]["bytes"],
    }
    assert told["counts"]["split"][0] == {"value": "train", "rows": 15}


def test_a_table_without_rows_or_texts_is_told_too(tmp_path, table):
    empty = table.delete([f"k{i:02}" for i in range(20)], "all")
    assert summarise(empty).samples == []
    schema = pa.schema([pa.field("key", pa.string(), False)])
    bare = Table.write(tmp_path / "bare.lance", [pa.record_batch({"key": ["a"]}, schema=schema)], schema)
    assert summarise(bare).texts == 0
    assert summarise(bare).samples == [{"key": "a"}]
