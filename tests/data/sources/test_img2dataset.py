"""What img2dataset writes: the status of every row is kept, what is lost is counted."""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from limner.data.sources.img2dataset import recognise
from limner.data.sources.item import Guess, ImportOptions, Item
from limner.errors import DataError

OPTIONS = ImportOptions()


def jpeg(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), grey).save(file, "JPEG")
    return file.getvalue()


def row(number: int, status: str = "success", **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(jpeg(number)).hexdigest() if status == "success" else None
    found = {
        "key": f"{number:09d}",
        "url": f"https://example.org/{number}.jpg",
        "caption": f"caption {number}",
    }
    error = None if status == "success" else "HTTP Error 404"
    return found | {"status": status, "error_message": error, "sha256": digest} | more


def write_tar(folder: Path, shard: str, rows: list[dict[str, Any]]) -> None:
    with tarfile.open(folder / f"{shard}.tar", "w") as tar:
        for one in rows:
            if one["status"] == "success":
                members = [("jpg", jpeg(int(one["key"]))), ("txt", one["caption"].encode())]
                for ending, data in members:
                    member = tarfile.TarInfo(f"{one['key']}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard}.parquet")
    (folder / f"{shard}_stats.json").write_text("{}", encoding="utf-8")


def write_files(folder: Path, shard: str, rows: list[dict[str, Any]]) -> None:
    (folder / shard).mkdir()
    for one in rows:
        if one["status"] == "success":
            (folder / shard / f"{one['key']}.jpg").write_bytes(jpeg(int(one["key"])))
            (folder / shard / f"{one['key']}.txt").write_text(one["caption"], encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard}.parquet")


ROWS = [row(0), row(1, "failed_to_download"), row(2), row(3, "failed_to_resize"), row(4)]


def guessed(path: Path) -> Guess:
    guess = recognise(path, OPTIONS)
    assert guess is not None
    return guess


def picture(item: Item) -> bytes:
    assert isinstance(item.picture, (bytes, Path))
    return item.picture if isinstance(item.picture, bytes) else item.picture.read_bytes()


@pytest.mark.parametrize("write", [write_tar, write_files])
def test_every_row_is_told(tmp_path: Path, write: Any) -> None:
    write(tmp_path, "00000", ROWS)
    write(tmp_path, "00001", [row(10_000), row(10_001, "failed_to_download")])
    guess = guessed(tmp_path)
    items = list(guess.items())
    good = [item for item in items if item.refused is None]
    bad = {item.key: item.refused for item in items if item.refused is not None}
    assert guess.kind == "img2dataset"
    assert guess.count == len(items) == 7
    assert "rows: 4 success, 2 failed_to_download, 1 failed_to_resize" in guess.lines
    assert [(item.key, item.texts, item.source) for item in good] == [
        (f"{n:09d}", (f"caption {n}",), f"https://example.org/{n}.jpg") for n in (0, 2, 4, 10_000)
    ]
    assert [picture(item) for item in good] == [jpeg(n) for n in (0, 2, 4, 10_000)]
    assert sorted(bad) == ["000000001", "000000003", "000010001"]
    assert {error.reason for error in bad.values()} == {"not_downloaded"}
    assert "HTTP Error 404" in str(bad["000000001"])


def test_one_tar_with_its_status(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000", ROWS)
    write_tar(tmp_path, "00001", [row(9)])
    guess = guessed(tmp_path / "00001.tar")
    assert [item.key for item in guess.items()] == ["000000009"]


@pytest.mark.parametrize("write", [write_tar, write_files])
def test_bytes_that_are_not_those_of_the_status(tmp_path: Path, write: Any) -> None:
    write(tmp_path, "00000", [row(0), row(1, sha256="0" * 64)])
    guess = guessed(tmp_path)
    items = list(guess.items())
    assert "sha256: checked" in guess.lines
    assert [item.refused and item.refused.reason for item in items] == [None, "truncated"]
    assert "SHA-256 is not 0000000000000000" in str(items[1].refused)


def test_digests_of_the_originals_are_not_compared(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000", [row(0, sha256="0" * 64, original_width=99)])
    guess = guessed(tmp_path)
    assert any("not checked" in line for line in guess.lines)
    assert [item.refused for item in guess.items()] == [None]


def test_pictures_that_the_shard_has_lost(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000", [row(n) for n in range(6)])
    tar = tmp_path / "00000.tar"
    tar.write_bytes(tar.read_bytes()[: 2560 * 3 + 700])
    reasons = [item.refused and item.refused.reason for item in guessed(tmp_path).items()]
    assert reasons == [None, None, None, "truncated", "missing", "missing"]


def test_a_shard_without_a_status_is_still_read(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000", [row(0)])
    write_tar(tmp_path, "00001", [row(1)])
    (tmp_path / "00001.parquet").write_bytes(b"PAR1 cut")
    guess = guessed(tmp_path)
    assert "without a status Parquet: 1 shards, such as 00001.tar" in guess.lines
    assert guess.count is None
    assert [item.key for item in guess.items()] == ["000000000", "000000001"]


def test_a_status_without_its_shard(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000", [row(0)])
    write_tar(tmp_path, "00001", [row(1), row(2, "failed_to_download")])
    (tmp_path / "00001.tar").unlink()
    reasons = [item.refused and item.refused.reason for item in guessed(tmp_path).items()]
    assert reasons == [None, "missing", "not_downloaded"]


def test_own_columns_come_along(tmp_path: Path) -> None:
    more = {"texts": ["one", "two"], "label": "dog", "split": "val", "source": "mine", "licence": "CC0"}
    write_tar(tmp_path, "00000", [row(0, **more)])
    (item,) = guessed(tmp_path).items()
    assert (item.texts, item.label, item.split) == (("one", "two"), "dog", "val")
    assert (item.source, item.licence) == ("mine", "CC0")


def test_other_folders_are_another_kind(tmp_path: Path) -> None:
    assert recognise(tmp_path, OPTIONS) is None
    assert recognise(tmp_path / "none.tar", OPTIONS) is None
    pq.write_table(pa.table({"a": [1]}), tmp_path / "00000.parquet")
    (tmp_path / "00000").mkdir()
    assert recognise(tmp_path, OPTIONS) is None


def test_a_shard_that_is_no_tar(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000", [row(0)])
    (tmp_path / "00000.tar").write_bytes(b"<html>")
    with pytest.raises(DataError, match="are no tars"):
        recognise(tmp_path, OPTIONS)
