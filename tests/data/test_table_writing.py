import pyarrow as pa
import pytest

from limner.data.table_writing import appearing, first_line, remembering
from limner.errors import DataError


def test_a_place_appears_when_the_block_ends_well(tmp_path):
    with appearing(tmp_path / "new") as unfinished:
        unfinished.mkdir()
        (unfinished / "file").write_text("x")
        assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_what_was_there_stays_when_the_block_fails(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("kept")

    def fail():
        with appearing(tmp_path / "old") as unfinished:
            unfinished.mkdir()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "file").read_text() == "kept"


def test_what_rows_raise_is_remembered():
    schema = pa.schema([("a", pa.int32())])
    failures: list[BaseException] = []
    wrong = [pa.RecordBatch.from_pylist([{"b": 1}])]
    with pytest.raises(DataError, match="a int32"):
        list(remembering(wrong, schema, failures))
    assert len(failures) == 1


def test_an_error_of_lance_in_one_line():
    assert first_line(OSError("no space left, /home/x/rust/lance.rs:1\nmore")) == "no space left"
