"""What is found in a table equals what was put there; the clip art's truth is found again."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from limner.data.importing import ImportOptions, import_source
from limner.data.table import Table
from limner.errors import DataError
from limner.report.scrub_findings import ScrubSettings, counted, drawn, embedding_of, look_at

CLIPART = Path(__file__).parents[3] / "shared/data/clipart/clipart.parquet"


def test_every_fault_is_found_where_it_was_put(odd_table):
    found = look_at(odd_table, ScrubSettings())
    values = found.values()
    assert (found.rows, found.total, found.without_text, found.not_english) == (14, 14, 2, 1)
    assert (values["duplicates"]["exact"], values["duplicates"]["near"]) == (1, 2)
    assert values["duplicates"]["exact_groups"] == [{"size": 2, "keys": ["plain", "copy"]}]
    flat = {"size": 2, "keys": ["blank", "dark"]}  # a hash knows no colour
    assert values["duplicates"]["near_groups"] == [{"size": 2, "keys": ["plain", "near"]}, flat]
    leak = {"keys": ["plain", "copy", "near"], "splits": ["train", "test", "val"]}
    assert values["leaks"] == {"count": 1, "examples": [leak]}
    assert values["counts"]["split"] == {"train": 10, "(none)": 2, "test": 1, "val": 1}
    assert values["counts"]["licence"] == {"CC0": 14}
    assert values["refused"]["reasons"] == {"truncated": 1}
    faults = {fault["name"]: fault["count"] for fault in values["texts"]["faults"]}
    assert faults["no_text"] == 2
    assert faults["shared"] == 5
    assert faults["file_like"] == faults["markup"] == 1
    assert values["texts"]["repeats"][0]["keys"] == ["icon0", "icon1", "icon2"]


def test_a_filter_and_a_distance_are_heeded(odd_table):
    found = look_at(odd_table, ScrubSettings(where="split = 'train'", near=0))
    assert found.rows == 10
    assert found.leaks == []
    assert [found.columns["key"][row] for row in (0, 1)] == ["plain", "blank"]
    assert odd_table.rows(found.positions[1:2].tolist(), ["key"]) == [{"key": "blank"}]


def test_embeddings_join_what_hashes_do_not(odd_table):
    vectors = np.eye(14, dtype=np.float32)
    vectors[10] = vectors[9] + 0.1
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 14)
    table = odd_table.add_columns(pa.table({"embedding_abc": column}), "vectors")
    found = look_at(table, ScrubSettings()).values()["duplicates"]
    assert (found["near"], found["by_embedding"], found["compared"]) == (3, "embedding_abc", 14)
    assert {"size": 2, "keys": ["icon1", "icon2"]} in found["near_groups"]
    name, some = embedding_of(table, [3, 1])
    assert name == "embedding_abc"
    assert np.array_equal(some, vectors[[3, 1]])


def test_a_table_without_most_columns_is_looked_at_without_them(tmp_path):
    batch = pa.RecordBatch.from_pylist([{"key": "a", "image": b"x"}, {"key": "b", "image": b"x"}])
    found = look_at(Table.write(tmp_path / "bare.lance", [batch], batch.schema), ScrubSettings())
    assert found.values()["duplicates"]["exact"] == 0
    assert found.refused is None
    assert found.without_text == 2


def test_what_cannot_be_looked_at_is_told(odd_table, tmp_path):
    with pytest.raises(DataError, match="no rows"):
        look_at(odd_table, ScrubSettings(where="width > 100000"))
    with pytest.raises(DataError, match="does not fit"):
        look_at(odd_table, ScrubSettings(where="wdith > 1"))
    other = pa.RecordBatch.from_pylist([{"name": "a"}])
    with pytest.raises(DataError, match="no pairs table"):
        look_at(Table.write(tmp_path / "other.lance", [other], other.schema), ScrubSettings())
    with pytest.raises(ValidationError):
        ScrubSettings(near=17)


def test_a_sample_is_drawn_by_its_seed():
    assert drawn(5, 9, 0).tolist() == [0, 1, 2, 3, 4]
    assert (
        drawn(1000, 10, 3).tolist() == drawn(1000, 10, 3).tolist() == sorted(set(drawn(1000, 10, 3).tolist()))
    )
    assert drawn(1000, 10, 3).tolist() != drawn(1000, 10, 4).tolist()
    assert counted(["b", None, "b"]) == {"b": 2, "(none)": 1}


@pytest.mark.slow
@pytest.mark.skipif(not CLIPART.exists(), reason="needs the clip art of ../shared/data")
def test_the_faults_of_the_clip_art_are_found(tmp_path):
    options = ImportOptions(
        picture_column="image", caption_column="title", key_column="id", split_column="split"
    )
    table = import_source(CLIPART, tmp_path / "clip.lance", options).table
    found = look_at(table, ScrubSettings())
    columns = ["id", "dup_of", "title", "description", "flags"]
    truth = pq.read_table(CLIPART, columns=columns).to_pylist()
    assert found.rows == len(truth) == 7335
    assert found.duplicates.exact == sum(bool(row["dup_of"]) for row in truth) == 520
    assert round(found.duplicates.exact / found.rows, 2) == 0.07
    assert 300 <= found.duplicates.near <= 400
    shared = next(fault.count for fault in found.texts.faults if fault.name == "shared")
    assert abs(shared / found.rows - 0.576) < 0.005
    assert found.without_text == sum(not row["title"].strip() for row in truth) == 62
    assert round(sum(not row["description"] for row in truth) / found.rows, 2) == 0.81
    usable = {text for own in found.columns["texts"] for text in own} - {r.text for r in found.texts.repeats}
    assert 2701 <= len(usable) <= 2800
    assert 0.05 < found.not_english / len(usable) < 0.15
