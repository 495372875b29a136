import pyarrow as pa
import pytest

from limner.data.table_writing import first_line, remembering
from limner.errors import DataError


def test_what_rows_raise_is_remembered():
    schema = pa.schema([("a", pa.int32())])
    failures: list[BaseException] = []
    wrong = [pa.RecordBatch.from_pylist([{"b": 1}])]
    with pytest.raises(DataError, match="a int32"):
        list(remembering(wrong, schema, failures))
    assert len(failures) == 1


def test_an_error_of_lance_in_one_line():
    assert first_line(OSError("no space left, /home/x/rust/lance.rs:1\nmore")) == "no space left"
