"""Parts are there whole or not at all, and a gap ends what is read."""

from pathlib import Path
from typing import Any

from limner.capfilt.decision import MEASURED
from limner.capfilt.partial import PartialRows


def _rows(start: int, count: int) -> list[dict[str, Any]]:
    empty: dict[str, Any] = {name: [] for name in MEASURED.names if name not in ("key", "picture")}
    return [{"key": f"r{i}", "picture": None} | empty for i in range(start, start + count)]


def test_parts_come_back_in_order(tmp_path: Path) -> None:
    partial = PartialRows(tmp_path / "t.lance", "abc")
    assert partial.read().num_rows == 0
    partial.append(0, _rows(0, 3))
    partial.append(3, _rows(3, 2))
    assert partial.read().to_pylist() == _rows(0, 5)
    partial.remove()
    assert not partial.folder.exists()


def test_rows_after_a_gap_or_half_written_do_not_count(tmp_path: Path) -> None:
    partial = PartialRows(tmp_path / "t.lance", "abc")
    partial.append(0, _rows(0, 3))
    partial.append(4, _rows(4, 2))
    (partial.folder / "rows-000000003.tmp").write_bytes(b"PAR1")
    assert partial.read().num_rows == 3


def test_each_measurement_has_its_own_folder(tmp_path: Path) -> None:
    first, second = (PartialRows(tmp_path / "t.lance", name) for name in ("abc", "def"))
    first.append(0, _rows(0, 1))
    assert second.read().num_rows == 0
    second.remove()
    assert first.read().num_rows == 1
