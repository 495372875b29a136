from pathlib import Path

import pytest

from limner.data.sinks.place import MARK, appearing
from limner.errors import DataError

GONE = 2**22 + 1
"""No process has this number."""


def place(out: Path, overwrite: bool = False, holding: str = "t.lance"):
    return appearing(out, {"to": "folder"}, overwrite=overwrite, holding=out.parent / holding)


def test_a_folder_appears_at_the_end_and_says_what_it_is(tmp_path):
    with place(tmp_path / "out") as folder:
        (folder / "x").touch()
        assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MARK, "x"]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_only_an_export_or_an_empty_folder_is_replaced(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    with place(photos, overwrite=True) as folder:
        (folder / "first").touch()
    with place(photos, overwrite=True) as folder:
        (folder / "second").touch()
    assert [path.name for path in photos.glob("[!.]*")] == ["second"]
    (photos / MARK).unlink()
    with pytest.raises(DataError, match="was not written by limner export"), place(photos, overwrite=True):
        pass
    assert (photos / "second").exists()


def test_a_file_is_never_replaced(tmp_path):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(DataError, match="is not replaced"), place(tmp_path / "out", overwrite=True):
        pass


def test_the_table_itself_is_never_replaced(tmp_path):
    table = tmp_path / "out" / "t.lance"
    table.mkdir(parents=True)
    (tmp_path / "out" / MARK).write_text("{}")
    for out in (tmp_path / "out", table):
        with (
            pytest.raises(DataError, match="holds the table"),
            appearing(out, {}, overwrite=True, holding=table),
        ):
            pass
    assert table.is_dir()


def test_what_a_killed_export_had_replaced_comes_back(tmp_path):
    for name in (f".out.{GONE}.unfinished", f".out.{GONE}.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MARK).touch()
    with pytest.raises(DataError, match="exists already"), place(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_disk_that_takes_nothing_is_an_error_one_can_read(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be made"), place(tmp_path / "file" / "out"):
        pass
    with pytest.raises(DataError, match="cannot be written"), place(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert not (tmp_path / "out").exists()
