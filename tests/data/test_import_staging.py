"""The hidden folder of an unfinished import: parts that are whole, taken up only where nothing changed."""

import os
from pathlib import Path

import numpy as np
import pytest

from limner.data.import_staging import STAGED, Staging, fingerprint
from limner.data.sources import Item
from limner.data.table import SCHEMA
from limner.errors import DataError


def row(item: Item) -> dict[str, object]:
    return {
        "key": item.key,
        "name": item.key,
        "state": "added",
        "image": b"x",
        "fingerprint": fingerprint(item),
    }


def opened(folder: Path, command: str = "a", restart: bool = False) -> Staging:
    return Staging(folder / "t.lance", {"sources": [command]}, {"version": 1}, restart)


ITEMS = [Item(f"{i}", f"{i}", b"abc", (f"text {i}",)) for i in range(6)]


def filled(folder: Path) -> None:
    staging = opened(folder)
    for begin in (0, 2, 4):
        staging.add([row(item) for item in ITEMS[begin : begin + 2]])
    staging.close(remove=False)


def test_finished_parts_are_taken_up(tmp_path: Path) -> None:
    filled(tmp_path)
    staging, seen = opened(tmp_path), []
    rest = staging.take_up(enumerate([*ITEMS, Item("new", "new", None)]), seen.extend)
    assert [item.key for _, item in rest] == ["new"]
    assert [found["key"] for found in seen] == list("012345")
    assert staging.adopted == 6
    assert "image" not in staging.rows().column_names


def test_from_the_first_change_of_the_source_on_everything_is_done_again(tmp_path: Path) -> None:
    filled(tmp_path)
    staging, seen = opened(tmp_path), []
    changed = [*ITEMS[:3], ITEMS[3]._replace(texts=("changed",)), *ITEMS[4:]]
    assert [item.key for _, item in staging.take_up(enumerate(changed), seen.extend)] == list("2345")
    assert [found["key"] for found in seen] == ["0", "1"]
    assert len(staging.parts()) == 1


def test_rows_come_out_as_a_table_holds_them(tmp_path: Path) -> None:
    filled(tmp_path)
    keep = np.array([True, False, False, False, True, True])
    batches = list(opened(tmp_path).pictures(keep, list("uvwxyz")))
    assert [key for batch in batches for key in batch["key"].to_pylist()] == ["0", "4", "5"]
    assert [split for batch in batches for split in batch["split"].to_pylist()] == ["u", "y", "z"]
    assert all(batch.schema.equals(SCHEMA) for batch in batches)


def test_another_command_does_not_take_up_the_work(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(DataError, match="unfinished import of a") as caught:
        opened(tmp_path, "b")
    assert "--restart" in str(caught.value)
    assert opened(tmp_path, "b", restart=True).parts() == []


def test_work_on_an_older_version_is_done_again(tmp_path: Path) -> None:
    filled(tmp_path)
    assert Staging(tmp_path / "t.lance", {"sources": ["a"]}, {"version": 2}, False).parts() == []


def test_one_process_at_a_time(tmp_path: Path) -> None:
    staging = opened(tmp_path)
    with pytest.raises(DataError, match="another process imports here"):
        opened(tmp_path)
    staging.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_part_is_no_part(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / ".t.lance.importing" / "part-000003.unfinished").write_bytes(b"half")
    assert len(opened(tmp_path).parts()) == 3


def test_a_fingerprint_changes_with_the_item(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    os.utime(path, ns=(0, 0))
    item = Item("a", "a", path)
    seen = {
        fingerprint(item),
        fingerprint(item._replace(texts=("x",))),
        fingerprint(item._replace(label="x")),
    }
    os.utime(path, ns=(1, 1))
    seen.add(fingerprint(item))
    path.unlink()
    seen.add(fingerprint(item))
    seen |= {fingerprint(item._replace(picture=data)) for data in (b"a", b"b", None, np.zeros((2, 2)))}
    assert len(seen) == 9
    assert fingerprint(item) == fingerprint(Item("a", "a", path))
    assert STAGED.field("fingerprint").type.byte_width == 16
