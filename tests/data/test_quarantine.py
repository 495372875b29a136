"""The quarantine: rows of a source are replaced by what its newest import refused."""

from pathlib import Path

from limner.data.quarantine import merge_quarantine, quarantine_path
from limner.data.table import Table


def refused(key: str, source: str) -> dict[str, str]:
    return {"key": key, "origin": key, "reason": "empty", "message": "nothing", "source": source}


def test_rows_of_other_sources_stay(tmp_path: Path) -> None:
    path = quarantine_path(tmp_path / "pairs.lance")
    assert path.name == "pairs.quarantine.lance"
    merge_quarantine(path, [refused("a", "x"), refused("b", "x")], lambda source: source == "x", "one")
    merge_quarantine(path, [refused("c", "y")], lambda source: source == "y", "two")
    merge_quarantine(path, [refused("b", "x")], lambda source: source == "x", "three")
    assert Table.open(path).column("key") == ["c", "b"]


def test_an_empty_quarantine_is_removed_and_an_equal_one_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.lance"
    assert merge_quarantine(path, [], bool, "none") is None
    merge_quarantine(path, [refused("a", "x")], bool, "one")
    before = path.stat().st_ino
    merge_quarantine(path, [refused("a", "x")], bool, "same")
    assert path.stat().st_ino == before
    assert merge_quarantine(path, [], bool, "none") is None
    assert not path.exists()
