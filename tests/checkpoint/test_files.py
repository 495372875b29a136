import pytest

from limner.checkpoint import atomic_folder
from limner.checkpoint.files import check_sums, read_json, read_tensors, sha256, write_json
from limner.errors import CheckpointError


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def write(content, fail=False):
        with atomic_folder(tmp_path / "out") as partial:
            (partial / "file").write_text(content)
            if fail:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write("first", fail=True)
    assert list(tmp_path.iterdir()) == []
    write("second")
    with pytest.raises(KeyboardInterrupt):
        write("third", fail=True)
    assert (tmp_path / "out" / "file").read_text() == "second"
    write("fourth")
    assert (tmp_path / "out" / "file").read_text() == "fourth"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "file").write_text("kept")
    (tmp_path / ".out.partial").mkdir()
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "out"):
        raise KeyboardInterrupt
    assert (tmp_path / "out" / "file").read_text() == "kept"


def test_json_comes_back_and_anything_else_is_refused(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"é": [1, None]})
    assert read_json(path) == {"é": [1, None]}
    for text in ("{cut", "[1]", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"x\.json"):
            read_json(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_json(tmp_path / "nowhere.json")


def test_sums_find_a_changed_a_missing_and_a_foreign_file(tmp_path):
    (tmp_path / "a").write_text("owl")
    good = sha256(tmp_path / "a")
    check_sums(tmp_path, {"a": good})
    with pytest.raises(CheckpointError, match="not the file that was saved"):
        check_sums(tmp_path, {"a": "0" * 64})
    with pytest.raises(CheckpointError, match="is missing"):
        check_sums(tmp_path, {"b": good})
    with pytest.raises(CheckpointError, match="outside"):
        check_sums(tmp_path / "deeper", {"../a": good})


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors(tmp_path / "x.safetensors")
