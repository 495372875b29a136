"""Changes of rows: one version each, nothing else touched, checked against a plain dictionary."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.data.table import SCHEMA, Table
from limner.errors import DataError


def batch(rows: dict[str, str]) -> pa.RecordBatch:
    """Rows of key to text."""
    values = [
        {"key": key, "image": text.encode(), "texts": [text], "width": len(text)}
        for key, text in rows.items()
    ]
    return pa.RecordBatch.from_pylist(values, schema=SCHEMA)


def scores(table: Table) -> pa.Table:
    return pa.table({"score": pa.array([float(len(key)) for key in table.column("key")], pa.float32())})


@pytest.fixture
def table(tmp_path):
    made = Table.write(tmp_path / "t.lance", [batch({"a": "one", "b": "two"}), batch({"c": "three"})])
    return made.add_columns(scores(made), "score")


def shown(table: Table) -> dict[str, tuple[bytes, float | None]]:
    rows = table.rows(range(len(table)), ["key", "image", *(["score"] if table.has("score") else [])])
    assert [row["key"] for row in rows] == table.column("key")
    assert [row["key"] for part in table.batches(["key"], 2) for row in part] == table.column("key")
    return {row["key"]: (row["image"], row.get("score")) for row in rows}


def test_upsert_replaces_and_adds_in_one_version(table):
    after = table.upsert([batch({"b": "zwei"}), batch({"dd": "four"})], "again", {"rows": 2})
    assert after.version == table.version + 1
    assert after.record() == {"rows": 2}
    assert after.versions()[-1].note == "again"
    assert shown(after) == {"a": (b"one", 1), "b": (b"zwei", None), "c": (b"three", 1), "dd": (b"four", None)}
    assert shown(Table.open(table.path, table.version))["b"] == (b"two", 1)


def test_rows_that_are_gone_go_in_the_same_version(table):
    after = table.upsert([batch({"b": "zwei", "e": "new"})], "again", gone=["a", "nowhere"])
    assert after.version == table.version + 1
    assert shown(after) == {"b": (b"zwei", None), "c": (b"three", 1), "e": (b"new", None)}
    assert shown(after.upsert([], "no rows", gone=["b"])).keys() == {"c", "e"}


@pytest.mark.parametrize(
    "batches", [[{"x": "1"}, {"x": "2"}], [{"a": "1"}, {"b": "1"}, {"a": "2"}]], ids=["new", "known"]
)
def test_a_key_that_comes_twice_is_refused(table, batches):
    with pytest.raises(DataError, match="each key once"):
        table.upsert([batch(rows) for rows in batches], "twice")
    assert shown(Table.open(table.path)) == shown(table)


def test_rows_to_upsert_have_a_key_and_a_picture(table):
    nameless = pa.record_batch([pa.array([None], pa.string()), pa.array([b"1"])], ["key", "image"])
    with pytest.raises(DataError, match="without a key"):
        table.upsert([nameless], "no key")
    with pytest.raises(DataError, match="key and image"):
        table.upsert([pa.RecordBatch.from_pylist([{"key": "a", "label": "x"}])], "no image")


def test_nested_columns_that_were_replaced_take_new_rows(table):
    nested = pa.table({"questions": pa.array([[1], [2], []]), "score": [1, 2, 3]})
    replaced = table.add_columns(nested, "replaced", {"by": "hand"})
    assert replaced.record() == {"by": "hand"}
    rows = pa.RecordBatch.from_pylist([{"key": "d", "image": b"4", "questions": [7, 8]}])
    after = replaced.upsert([rows], "more").delete(["a"], "less")
    assert after.column("questions") == [[2], [], [7, 8]]
    assert after.column("score") == [2, 3, None]


def test_nothing_to_upsert_makes_no_version(table):
    assert table.upsert([], "nothing").version == table.version


def test_delete_and_restore(table):
    after = table.delete(["a", "nowhere"], "out", {"gone": 1})
    assert shown(after).keys() == {"b", "c"}
    assert after.positions("key = 'c'").tolist() == [1]
    back = after.restore(table.version)
    assert shown(back) == shown(table)
    assert back.version == after.version + 1
    assert back.versions()[-1].note == f"back to version {table.version}"
    with pytest.raises(DataError, match="99"):
        back.restore(99)


def test_positions_of_a_filter_are_those_rows_takes(table):
    after = table.upsert([batch({"a": "changed"}), batch({"e": "five"})], "x")
    found = after.positions("width >= 5")
    assert [row["key"] for row in after.rows(found.tolist(), ["key"])] == after.column("key", "width >= 5")
    assert set(after.column("key", "width >= 5")) == {"a", "c"}
    assert after.positions().tolist() == [0, 1, 2, 3]
    assert [row["key"] for part in after.batches(["key"], 1, "key < 'c'") for row in part] == after.column(
        "key", "key < 'c'"
    )
    assert after.arrow(["key", "width"], "key = 'e'").to_pylist() == [{"key": "e", "width": 4}]


@pytest.mark.parametrize("where", ["no_column = 1", "width >", "texts + 1 = 2", "drop table"])
def test_a_filter_that_does_not_fit_names_the_columns(table, where):
    with pytest.raises(DataError, match="width") as caught:
        table.positions(where)
    assert where in str(caught.value)


def test_columns_are_added_in_row_order_after_changes(table):
    changed = table.upsert([batch({"a": "x", "q": "y"})], "u").delete(["b"], "d")
    again = changed.add_columns(scores(changed), "again")
    assert {key: value[1] for key, value in shown(again).items()} == {"c": 1, "a": 1, "q": 1}
    compacted = Table.open(table.path)
    compacted.compact()
    assert shown(compacted) == shown(again)
    longer = compacted.add_columns(
        pa.table({"place": pa.array(range(3), pa.int32())}), "places after compaction"
    )
    assert longer.column("place") == [0, 1, 2]


def test_compact_joins_files_and_frees_what_old_versions_held(tmp_path):
    table = Table.write(tmp_path / "t.lance", [batch({"a": "0" * 50_000})])
    for number in range(6):
        table = table.upsert([batch({f"k{number}": "1" * 50_000, "a": "2" * 50_000})], "more")
    before = shown(table)
    done = table.compact(keep_versions=1)
    assert done["files_removed"] > done["files_added"] >= 1
    assert done["bytes_freed"] > 100_000
    assert done["versions_removed"] >= 6
    assert shown(table) == shown(Table.open(table.path)) == before
    assert table.versions()[-1].note == "compacted"


def test_an_empty_table_takes_rows_and_tells_why_it_takes_no_columns(table):
    empty = table.delete(["a", "b", "c"], "all")
    assert shown(empty) == {}
    assert empty.positions("width > 1").tolist() == []
    with pytest.raises(DataError, match="at least one row"):
        empty.add_columns(pa.table({"n": pa.array([], pa.int32())}), "none")
    assert shown(empty.upsert([batch({"z": "zed"})], "one")) == {"z": (b"zed", None)}


def test_a_change_in_between_is_told(table):
    other = Table.open(table.path)
    other.upsert([batch({"z": "zebra"})], "first")
    for late in (
        lambda: table.upsert([batch({"a": "late"})], "second"),
        lambda: table.delete(["a"], "second"),
        lambda: table.restore(1),
        table.compact,
    ):
        with pytest.raises(DataError, match="open the table again"):
            late()
    assert "z" in shown(Table.open(table.path))


def test_a_change_while_the_rows_are_made_is_told(table):
    def rows():
        yield batch({"a": "slow"})
        Table.open(table.path).upsert([batch({"a": "quick"})], "first")

    with pytest.raises(DataError, match="open the table again"):
        table.upsert(rows(), "second")
    assert shown(Table.open(table.path))["a"] == (b"quick", None)


def test_an_unknown_column_is_told(table):
    with pytest.raises(DataError, match="texts"):
        table.upsert([pa.RecordBatch.from_pylist([{"key": "a", "txts": "x"}])], "typo")


def test_what_the_rows_raise_comes_through_and_changes_nothing(table):
    def rows():
        yield batch({"a": "new"})
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        table.upsert(rows(), "fails")
    assert Table.open(table.path).version == table.version


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {here!r})
    from test_table_changes import batch
    from limner.data.table import Table

    def rows():
        yield batch({{"a": "half"}})
        os.kill(os.getpid(), signal.SIGKILL)

    Table.open({path!r}).upsert(rows(), "killed")
"""


def test_a_kill_in_the_middle_leaves_the_version_before(table):
    code = textwrap.dedent(KILLED).format(here=str(Path(__file__).parent), path=str(table.path))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    now = Table.open(table.path)
    assert now.version == table.version
    assert shown(now) == shown(table)
    assert shown(now.upsert([batch({"a": "whole"})], "again"))["a"] == (b"whole", None)


KEYS = st.sampled_from("abcdef")
CHANGES = st.one_of(
    st.tuples(
        st.just("upsert"),
        st.dictionaries(KEYS, st.text("xyz", min_size=1, max_size=3), min_size=1, max_size=4),
    ),
    st.tuples(st.just("delete"), st.sets(KEYS, max_size=3)),
    st.tuples(st.just("score"), st.none()),
    st.tuples(st.just("compact"), st.none()),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(CHANGES, max_size=6))
def test_any_sequence_of_changes_equals_a_dictionary(tmp_path_factory, changes):
    start = {"a": "one", "b": "two", "c": "three"}
    table = Table.write(tmp_path_factory.mktemp("model") / "t.lance", [batch(start)])
    model: dict[str, tuple[bytes, float | None]] = {k: (v.encode(), None) for k, v in start.items()}
    for kind, what in changes:
        if kind == "upsert":
            table = table.upsert([batch(what)], kind)
            model |= {key: (text.encode(), None) for key, text in what.items()}
        elif kind == "delete":
            table = table.delete(sorted(what), kind)
            model = {key: value for key, value in model.items() if key not in what}
        elif kind == "score" and model:
            table = table.add_columns(scores(table), kind)
            model = {key: (image, 1.0) for key, (image, _) in model.items()}
        elif kind == "compact":
            table.compact()
        assert shown(table) == model
        assert len(table) == len(model)
