"""Labels from a review, a column, a CSV."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from limner.capfilt.labels import REVIEW, good_texts, judgements, read_labels
from limner.data.table import Table
from limner.errors import DataError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def table(make_table: Callable[..., Table]) -> Table:
    return make_table([["a cat", "a dog"], ["an owl"], None])


def reviewed(table: Table, rows: list[list[tuple[str, str, str, int]]]) -> Table:
    """A table with judgements of (text, decision, by, hours past noon) in each row."""
    columns: list[dict[str, Any]] = [
        {
            "review_text": [text for text, *_ in row],
            "review_decision": [decision for _, decision, *_ in row],
            "review_by": [by for *_, by, _ in row],
            "review_time": [NOON + timedelta(hours=hours) for *_, hours in row],
        }
        for row in rows
    ]
    return table.add_columns(pa.Table.from_pylist(columns, schema=REVIEW), "reviewed")


def test_the_later_judgement_of_a_person_holds_and_people_vote(table: Table) -> None:
    first = [("a cat", "reject", "ann", 1), ("a cat", "accept", "ann", 2), ("a cat", "accept", "bob", 0)]
    second = [
        ("an owl", "reject", "ann", 0),
        ("a barn owl", "edit", "ann", 0),
        ("an owl", "accept", "bob", 0),
    ]
    done = reviewed(table, [first, second, []])
    assert len(list(judgements(done))) == 5
    labels = read_labels(done, "review_decision")
    assert labels == {("row0", "a cat"): True, ("row1", "a barn owl"): True}  # of the owl, one and one
    assert good_texts(done, labels) == [["a cat"], ["a barn owl"], []]


@pytest.mark.parametrize("words", [[["clean", "junk"], ["swapped"], []], [[True, False], [False], None]])
def test_labels_beside_the_texts(table: Table, words: list[Any]) -> None:
    marked = table.add_columns(pa.table({"truth": words}), "marked")
    assert read_labels(marked, "truth") == {
        ("row0", "a cat"): True,
        ("row0", "a dog"): False,
        ("row1", "an owl"): False,
    }


def test_one_word_a_row_is_of_all_its_texts(table: Table) -> None:
    marked = table.add_columns(pa.table({"ok": ["yes", "", None]}), "marked")
    assert read_labels(marked, "ok") == {("row0", "a cat"): True, ("row0", "a dog"): True}


def test_a_csv_may_be_half_filled_in(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('key,text,itm,good\nrow0,a cat,0.5,1\nrow0,a dog,0.2,\nrow1,"an owl",0.1,No\n')
    assert read_labels(table, str(path)) == {("row0", "a cat"): True, ("row1", "an owl"): False}


def test_wrong_labels_are_named(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    with pytest.raises(DataError, match="no labels in 'nowhere'"):
        read_labels(table, "nowhere")
    path.write_text("key,good\nrow0,1\n")
    with pytest.raises(DataError, match="has no text"):
        read_labels(table, str(path))
    path.write_text("key,text,good\nrow0,a cat,perhaps\n")
    with pytest.raises(DataError, match="'perhaps'"):
        read_labels(table, str(path))
    with pytest.raises(DataError, match="not been reviewed"):
        read_labels(table, "review")
    marked = table.add_columns(pa.table({"truth": [["clean"], ["clean"], []]}), "marked")
    with pytest.raises(DataError, match="1 labels in 'truth' for 2 texts"):
        read_labels(marked, "truth")
