"""Decoded rows: pictures kept while there is room, errors that name the row. `test_rows.py` has the rest."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limner.data.decoded_rows import DecodedRows
from limner.data.table import SCHEMA, Table
from limner.errors import ConfigError, DataError
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=8)


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (12, 6), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def table(tmp_path):
    rows = [{"key": c, "image": png(c), "texts": [c]} for c in ("red", "green")]
    rows.append({"key": "it's broken", "image": b"no picture", "texts": ["x"]})
    return Table.write(tmp_path / "t.lance", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)


def test_rows_come_in_the_order_asked_and_are_kept(table):
    rows = DecodedRows(table, SPEC, 0, ["texts"], cache_bytes=8 * 8 * 3)
    found = rows.read([1, 0, 1])
    assert [row.key for row in found] == ["green", "red", "green"]
    assert found[0].values == {"texts": ["green"]}
    assert found[0].image is found[2].image
    assert rows.read([0])[0].image is found[1].image  # there was room for one
    again = pickle.loads(pickle.dumps(rows))
    assert np.array_equal(again.read([1])[0].image, found[0].image)


def test_chance_depends_on_seed_epoch_and_sample_alone(table):
    rows = DecodedRows(table, SPEC, 7, [], augment="jitter")
    row = rows.read([0])[0]
    one, same = (rows.augmented(row, rows.rng(3, 1)) for _ in range(2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, rows.augmented(row, rows.rng(3, 2)))


def test_a_picture_that_is_kept_and_one_that_is_not_give_the_same_pixels(table):
    kept, passing = (DecodedRows(table, SPEC, 7, [], "clip", cache_bytes=size) for size in (2**20, 0))
    for epoch in range(2):  # the second time the kept one comes from memory
        one, other = (rows.augmented(rows.read([0])[0], rows.rng(0, epoch)) for rows in (kept, passing))
        assert np.array_equal(one, other)
    assert isinstance(kept._cache[0].image, np.ndarray)
    assert not passing._cache


def test_a_broken_row_is_named(table):
    with pytest.raises(DataError, match='row "it\'s broken"') as caught:
        DecodedRows(table, SPEC, 0, []).read([2])
    assert "key <> 'it''s broken'" in str(caught.value)


def test_an_unknown_augmentation_is_refused(table):
    with pytest.raises(ConfigError, match="wobble"):
        DecodedRows(table, SPEC, 0, [], augment="wobble")
