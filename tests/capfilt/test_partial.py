"""Parts are there whole or not at all, in any order, and no row twice."""

from pathlib import Path
from typing import Any

from limner.capfilt.decision import MEASURED
from limner.capfilt.partial import PartialRows, PartWriter


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


def test_what_lies_between_parts_or_is_half_written_is_a_gap(tmp_path: Path) -> None:
    partial = PartialRows(tmp_path / "t.lance", "abc")
    assert partial.gaps(9) == [range(9)]
    partial.append(4, _rows(4, 2))
    partial.append(0, _rows(0, 3))
    (partial.folder / "rows-000000003.tmp").write_bytes(b"PAR1")
    assert partial.read().to_pylist() == [*_rows(0, 3), *_rows(4, 2)]
    assert (partial.num_rows, partial.gaps(9)) == (5, [range(3, 4), range(6, 9)])
    partial.append(3, _rows(3, 1))
    assert partial.gaps(6) == []


def test_no_row_is_there_twice(tmp_path: Path) -> None:
    partial = PartialRows(tmp_path / "t.lance", "abc")
    partial.append(0, _rows(0, 4))
    partial.append(2, _rows(2, 4))
    assert partial.read().to_pylist() == _rows(0, 4)
    assert partial.gaps(8) == [range(4, 8)]


def test_rows_wait_until_there_are_enough_for_a_part(tmp_path: Path) -> None:
    partial = PartialRows(tmp_path / "t.lance", "abc")
    writer = PartWriter(partial, 4)
    for start, count in ((0, 3), (3, 3), (6, 1), (20, 2), (8, 5)):
        writer.add(start, _rows(start, count))
    names = sorted(path.stem for path in partial.folder.iterdir())
    assert names == [f"rows-{start:09d}" for start in (0, 6, 8, 20)]
    writer.add(13, _rows(13, 1))
    writer.flush()
    writer.flush()
    assert partial.gaps(22) == [range(7, 8), range(14, 20)]


def test_each_measurement_has_its_own_folder(tmp_path: Path) -> None:
    first, second = (PartialRows(tmp_path / "t.lance", name) for name in ("abc", "def"))
    first.append(0, _rows(0, 1))
    assert second.read().num_rows == 0
    second.remove()
    assert first.read().num_rows == 1
