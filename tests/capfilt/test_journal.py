"""Judgements on disk at once, and in the table once."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pyarrow as pa
import pytest

from limner.capfilt.journal import Journal
from limner.capfilt.labels import REVIEW, judgements
from limner.data.table import Table
from limner.errors import DataError
from limner.record import read_records


@pytest.fixture
def table(make_table: Callable[..., Table]) -> Table:
    return make_table([["a cat", "a dog"], ["an owl"], None])


def in_table(table: Table) -> list[tuple[str, str, str, str]]:
    return [tuple(one) for one in judgements(table)]


def test_judgements_become_one_version_and_an_edit_two_entries(table: Table) -> None:
    journal = Journal(table.path)
    journal.add("row0", "a cat", "accept", "ann")
    edit = journal.add("row1", "an owl", "edit", "bob", "a barn owl")
    written = journal.write_back()
    assert written.version == table.version + 1
    assert "3 judgements of 2 people" in written.versions()[-1].note
    assert in_table(written) == [
        ("row0", "a cat", "accept", "ann"),
        ("row1", "an owl", "reject", "bob"),
        ("row1", "a barn owl", "edit", "bob"),
    ]
    assert [row[0] for row in written.column("review_time")[1:2]] == [edit.entries[0][3]]
    assert written.schema.field("review_time").type == REVIEW.field("review_time").type
    assert not journal.path.exists()
    assert journal.write_back().version == written.version  # nothing to write, no version


def test_later_reviews_add_to_earlier_ones(table: Table) -> None:
    journal = Journal(table.path)
    journal.add("row0", "a cat", "accept", "ann")
    journal.write_back()
    journal.add("row0", "a cat", "reject", "bob")
    assert in_table(journal.write_back()) == [
        ("row0", "a cat", "accept", "ann"),
        ("row0", "a cat", "reject", "bob"),
    ]


def test_undo_takes_back_the_last_of_that_person(table: Table) -> None:
    journal = Journal(table.path)
    journal.add("row0", "a cat", "accept", "ann")
    journal.add("row0", "a dog", "reject", "ann")
    journal.add("row1", "an owl", "accept", "bob")
    journal.undo("ann")
    assert [(one.text, one.by) for one in journal.read()] == [("a cat", "ann"), ("an owl", "bob")]
    journal.undo("ann")
    journal.undo("ann")  # one too many does nothing
    journal.undo("bob")
    assert journal.write_back().version == table.version
    assert not journal.path.exists()


def test_a_kill_loses_nothing_that_was_said(table: Table) -> None:
    script = (
        "import sys, time, pathlib; from limner.capfilt.journal import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "journal.add('row0', 'a cat', 'accept', 'ann'); print('said', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(table.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "said\n"
        os.kill(process.pid, signal.SIGKILL)
    journal = Journal(table.path)
    with journal.path.open("a") as file:
        file.write('{"kind": "judgement", "ti')  # and a line cut short
    assert [one.text for one in journal.read()] == ["a cat"]
    journal.add("row0", "a\u2028dog\x85", "reject", "ann")
    assert [one.text for one in journal.read()] == ["a cat", "a\u2028dog\x85"]
    assert len(in_table(journal.write_back())) == 2


def test_each_judgement_reaches_the_disk_before_the_next(table: Table, monkeypatch) -> None:
    synced = []
    monkeypatch.setattr("limner.record.os.fsync", synced.append)
    Journal(table.path).add("row0", "a cat", "accept", "ann")
    assert len(synced) == 1


def test_a_write_cut_off_before_the_file_went_is_not_repeated(table: Table) -> None:
    journal = Journal(table.path)
    journal.add("row1", "an owl", "edit", "ann", "a barn owl")
    left = journal.path.read_bytes()
    written = journal.write_back()
    journal.path.write_bytes(left)
    assert journal.write_back().version == written.version
    assert written.column("review_text") == [[], ["an owl", "a barn owl"], []]


def test_rows_that_are_gone_leave_their_judgements_in_a_file(table: Table) -> None:
    journal = Journal(table.path)
    said = journal.add("row1", "an owl", "accept", "ann")
    journal.add("row0", "a cat", "accept", "ann")
    table.delete(["row1"], "without the owl")
    assert in_table(journal.write_back()) == [("row0", "a cat", "accept", "ann")]
    (stray,) = read_records(journal.strays, "judgement")
    assert (stray["key"], stray["time"]) == ("row1", said.time)


def test_half_a_review_is_refused(table: Table) -> None:
    journal = Journal(table.path)
    journal.add("row0", "a cat", "accept", "ann")
    table.add_columns(pa.table({"review_by": [["x"], [], []]}), "odd")
    with pytest.raises(DataError, match="all columns of a review"):
        journal.write_back()
    assert len(journal.read()) == 1
