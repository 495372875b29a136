import os

import pytest

from limner.data.appearing import appearing, tidy
from limner.data.table import Table
from limner.errors import DataError

GONE = 2**22 + 1
"""No process has this number."""


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


@pytest.fixture
def left(tmp_path):
    """What two killed processes and one still at work left beside `out`."""
    for name in (f".out.{GONE}.unfinished", f".out.{GONE}.replaced", ".out.mine.unfinished", ".other"):
        (tmp_path / name).mkdir()
    (tmp_path / f".out.{os.getppid()}.unfinished").mkdir()
    (tmp_path / f".out.{GONE}.replaced" / "precious").touch()
    return tmp_path / "out"


def test_what_a_killed_process_left_is_tidied_up_and_what_it_replaced_comes_back(left):
    tidy(left)
    names = {path.name for path in left.parent.iterdir()}
    assert names == {"out", ".out.mine.unfinished", ".other", f".out.{os.getppid()}.unfinished"}
    assert (left / "precious").exists()


def test_a_table_is_not_written_over_what_came_back(left):
    with pytest.raises(DataError, match="exists already"):
        Table.write(left, [])
    assert (left / "precious").exists()


def test_there_is_nothing_to_tidy_where_there_is_no_folder(tmp_path):
    tidy(tmp_path / "no" / "out")
    assert list(tmp_path.iterdir()) == []
