"""Rows come in the table's order, filtered, with their pictures."""

from pathlib import Path

import numpy as np
import pytest

from limner.data.table import Table
from limner.errors import DataError
from limner.suite.rows import rows_digest, rows_of
from limner.suite.selection import Selection


def test_rows_are_those_of_the_filter_and_their_pictures_belong_to_them(table: Path) -> None:
    rows = rows_of(Selection(path=str(table), where="label = 'red'", count=5))
    assert rows.labels == ["red"] * 5
    assert all("red" in texts[0] for texts in rows.texts)
    read = [picture for _, batch in rows.batches(np.asarray, 2) for picture in batch]
    assert len(read) == 5
    assert all(picture[..., 0].mean() > picture[..., 1:].mean() + 60 for picture in read)
    assert [places.start for places, _ in rows.batches(np.asarray, 2)] == [0, 2, 4]


def test_only_keeps_columns_together(table: Path) -> None:
    rows = rows_of(Selection(path=str(table)))
    some = rows.only([5, 1])
    assert some.keys == [rows.keys[5], rows.keys[1]]
    assert some.labels == [rows.labels[5], rows.labels[1]]
    assert some.positions.tolist() == [rows.positions[5], rows.positions[1]]


def test_nothing_left_and_nothing_said_are_refused(table: Path) -> None:
    with pytest.raises(DataError, match="no row of"):
        rows_of(Selection(path=str(table), where="label = 'pink'"))
    bare = rows_of(Selection(path=str(table)))._replace(texts=[[]] * 36)
    with pytest.raises(DataError, match="has a text"):
        bare.captioned()
    with pytest.raises(DataError, match="has a label"):
        bare._replace(labels=[""] * len(bare.keys)).labelled()


def test_a_column_of_texts_that_is_not_there_is_refused(table: Path) -> None:
    with pytest.raises(DataError, match="no column 'capshun'"):
        rows_of(Selection(path=str(table), texts_column="capshun"))


def test_the_digest_changes_with_what_rows_say(table: Path, tmp_path: Path) -> None:
    all_rows = rows_digest(Selection(path=str(table)))
    assert rows_digest(Selection(path=str(table))) == all_rows
    assert rows_digest(Selection(path=str(table), count=35)) != all_rows
    held = Table.open(table).arrow()
    labels = held["label"].to_pylist()
    again = held.set_column(held.schema.get_field_index("label"), "label", [["pink", *labels[1:]]])
    Table.write(tmp_path / "pink.lance", again.to_batches(), again.schema)
    assert rows_digest(Selection(path=str(tmp_path / "pink.lance"))) != all_rows
