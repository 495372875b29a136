"""The table: random access, columns as versions, nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from limner.data.table import SCHEMA, Table
from limner.errors import DataError


def batch(keys: list[str]) -> pa.RecordBatch:
    rows = [{"key": key, "image": key.encode(), "texts": [f"a {key}"]} for key in keys]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table.write(tmp_path / "pairs.lance", [batch(["cat", "dog"]), batch(["owl"])], note="made")


def test_rows_come_in_the_order_asked_with_repeats(table: Table) -> None:
    assert [r["key"] for r in table.rows([2, 0, 2], ["key"])] == ["owl", "cat", "owl"]
    assert table.rows([1])[0]["image"] == b"dog"
    assert table.rows([]) == []


def test_column_and_batches_keep_row_order(table: Table) -> None:
    assert table.column("texts") == [["a cat"], ["a dog"], ["a owl"]]
    walked = [row["key"] for rows in table.batches(["key"], batch_size=2) for row in rows]
    assert walked == ["cat", "dog", "owl"]
    assert len(table) == table.num_rows == 3
    assert table.has("texts")
    assert not table.has("decision")


def test_schema_is_the_one_of_the_design(table: Table) -> None:
    assert table.column_names == SCHEMA.names
    assert table.schema.field("questions").type == SCHEMA.field("questions").type


def test_added_columns_are_one_version_and_the_old_one_stays(table: Table) -> None:
    added = table.add_columns(pa.table({"score": [0.1, 0.2, 0.3], "note": ["x", "y", "z"]}), "capfilt")
    assert added.version == table.version + 1
    assert added.column("score") == [0.1, 0.2, 0.3]
    assert not table.has("score")
    assert not Table.open(table.path, version=table.version).has("note")
    assert [(v.version, v.note) for v in added.versions()] == [(1, "made"), (2, "capfilt")]


def test_it_is_sent_as_its_path_and_version(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.add_columns(pa.table({"score": [0.1, 0.2, 0.3]}), "scored")
    monkeypatch.chdir(table.path.parent)
    opener, (path, version) = Table.open(table.path.name, 1).__reduce__()
    assert (path.is_absolute(), version) == (True, 1)
    monkeypatch.chdir("/")
    assert opener(path, version).column_names == table.column_names


def test_existing_columns_are_replaced_in_the_same_single_version(table: Table) -> None:
    new = pa.table({"texts": ["now", "plain", "text"], "score": [1, 2, 3], "questions": [[1], [], [3]]})
    replaced = table.add_columns(new, "replaced")
    assert replaced.version == 2
    assert len(replaced.versions()) == 2
    assert replaced.rows([2, 0], ["key", "texts", "score", "questions"]) == [
        {"key": "owl", "texts": "text", "score": 3, "questions": [3]},
        {"key": "cat", "texts": "now", "score": 1, "questions": [1]},
    ]
    assert Table.open(table.path, version=1).column("texts") == [["a cat"], ["a dog"], ["a owl"]]


def test_columns_added_again_and_again_stay_in_step_with_their_rows(table: Table) -> None:
    for number in range(4):
        table = table.add_columns(pa.table({"n": [number, number + 10, number + 20]}), f"pass {number}")
    assert table.column("n") == [3, 13, 23]
    assert table.column("key") == ["cat", "dog", "owl"]
    assert [v.note for v in table.versions()] == ["made", "pass 0", "pass 1", "pass 2", "pass 3"]


def test_a_stale_table_cannot_overwrite_what_another_has_written(table: Table) -> None:
    Table.open(table.path).add_columns(pa.table({"n": [1, 2, 3]}), "first")
    with pytest.raises(DataError, match="changed since version 1"):
        table.add_columns(pa.table({"texts": ["a", "b", "c"]}), "second")
    assert Table.open(table.path).column("texts")[0] == ["a cat"]


def test_wrong_number_of_values_is_refused(table: Table) -> None:
    with pytest.raises(DataError, match="2 values for 3 rows"):
        table.add_columns(pa.table({"n": [1, 2]}), "short")
    assert len(table.versions()) == 1


def test_an_unknown_column_names_the_nearest(table: Table) -> None:
    with pytest.raises(DataError, match="did you mean 'texts'"):
        table.column("text")


@pytest.mark.parametrize("index", [-1, 3])
def test_a_row_out_of_range_is_refused(table: Table, index: int) -> None:
    with pytest.raises(DataError, match="0 <= row < 3"):
        table.rows([0, index])


def test_open_says_what_is_wrong(tmp_path: Path, table: Table) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="does not exist"):
        Table.open(tmp_path / "none.lance")
    with pytest.raises(DataError, match="is not a limner table"):
        Table.open(tmp_path / "folder")
    with pytest.raises(DataError, match=r"one of versions \[1\]"):
        Table.open(table.path, version=7)


def test_write_does_not_overwrite_unless_asked(table: Table) -> None:
    with pytest.raises(DataError, match="exists already"):
        Table.write(table.path, [batch(["new"])])
    assert Table.write(table.path, [batch(["new"])], overwrite=True).column("key") == ["new"]


@pytest.mark.parametrize("failure", [DataError("no good"), KeyboardInterrupt(), ZeroDivisionError()])
def test_a_failed_write_leaves_what_was_there(table: Table, failure: BaseException) -> None:
    def batches():
        yield batch(["half"])
        raise failure

    with pytest.raises(type(failure)):
        Table.write(table.path, batches(), overwrite=True)
    with pytest.raises(type(failure)):
        Table.write(table.path.with_name("other.lance"), batches())
    assert [path.name for path in table.path.parent.iterdir()] == ["pairs.lance"]
    assert Table.open(table.path).num_rows == 3


def test_batches_that_do_not_fit_the_schema_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rows of key string"):
        Table.write(tmp_path / "bad.lance", [pa.record_batch({"key": ["a"]})])
    assert list(tmp_path.iterdir()) == []


def test_lance_is_not_imported_before_a_table_is_touched() -> None:
    code = "import sys, limner.data.table; sys.exit('lance' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
