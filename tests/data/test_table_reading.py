import os
from pathlib import Path

import pyarrow as pa
import pytest

from limner.data.table import SCHEMA, Table
from limner.data.table_reading import require, require_texts
from limner.errors import DataError


@pytest.fixture
def table(tmp_path):
    rows = [{"key": f"k{i}", "image": os.urandom(20_000), "width": i, "texts": ["a"] * i} for i in range(5)]
    return Table.write(tmp_path / "t.lance", [pa.RecordBatch.from_pylist(rows, schema=SCHEMA)])


def test_an_unknown_name_brings_the_nearest():
    require(Path("t"), ["key", "width"], ["width"])
    with pytest.raises(DataError, match="did you mean 'width'"):
        require(Path("t"), ["key", "width"], ["key", "widht"])
    with pytest.raises(DataError, match="key, width"):
        require(Path("t"), ["key", "width"], ["zzz"])


def test_texts_are_a_list_a_row(table):
    require_texts(table.path, table.schema, "texts")
    with pytest.raises(DataError, match=r"(?s)column 'width' of .*t.lance holds int32.*one of texts"):
        require_texts(table.path, table.schema, "width")
    with pytest.raises(DataError, match="no column 'text'"):
        require_texts(table.path, table.schema, "text")


def test_rows_of_a_filter_are_counted(table):
    assert table.count() == 5
    assert table.count("width >= 3") == 2
    assert table.count("width is null") == 0
    with pytest.raises(DataError, match="SQL over key"):
        table.count("no_such > 1")


def test_each_column_has_its_bytes(table):
    sizes = table.column_bytes()
    assert list(sizes) == SCHEMA.names
    assert sizes["image"] >= 100_000 > sizes["texts"] > 0
    added = table.add_columns(pa.table({"vector": [[0.5] * 64] * 5, "width": [1.5] * 5}), "more")
    assert added.column_bytes()["vector"] > 0
    assert sizes["image"] == added.column_bytes()["image"] <= added.bytes_on_disk()
