"""Zip archives: every member as zipfile reads it, and nothing that the directory lies about."""

import io
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest

from limner.convert import archives
from limner.convert.archives import Archive, open_archive
from limner.errors import CheckpointError

TEXT = b"some text, again and again. " * 200


def made(packed: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packed) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def opened(folder: Path, data: bytes) -> Archive:
    path = folder / "x.zip"
    path.write_bytes(data)
    return open_archive(path.open("rb"), len(data), "x.zip")


def read_all(folder: Path, data: bytes) -> None:
    path = folder / "x.zip"
    path.write_bytes(data)
    with path.open("rb") as file:
        archive = open_archive(file, len(data), "x.zip")
        for name in archive.members:
            archive.read(name, 1 << 20)


def refused(folder: Path, data: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_all(folder, data)
    assert caught.value.hint
    return caught.value.given


def patched(data: bytes, sign: bytes, place: int, value: bytes, which: int = 0) -> bytes:
    at = -1
    for _ in range(which + 1):
        at = data.index(sign, at + 1)
    return data[: at + place] + value + data[at + place + len(value) :]


CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read(tmp_path, packed):
    archive = opened(tmp_path, made(packed, a=TEXT, b=b"", c=bytes(range(256)) * 9000))
    with archive.file:
        assert archive.read("a", 1 << 20) == TEXT
        assert archive.read("b", 0) == b""
        assert archive.read("c", 1 << 22) == bytes(range(256)) * 9000
        with pytest.raises(CheckpointError, match="longer than 10 bytes"):
            archive.read("a", 10)


def test_zip64_and_folders(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.mkdir("folder")
        with archive.open("folder/a", "w", force_zip64=True) as file:
            file.write(TEXT)
    with opened(tmp_path, out.getvalue()).file as file:
        found = open_archive(file, len(out.getvalue()), "x")
        assert list(found.members) == ["folder/a"]
        assert found.read("folder/a", 1 << 20) == TEXT


def test_a_sum_that_was_not_computed_is_not_checked(tmp_path):
    data = patched(patched(made(a=TEXT), LOCAL, 14, bytes(4)), CENTRAL, 16, bytes(4))
    with opened(tmp_path, data).file as file:
        assert open_archive(file, len(data), "x").read("a", 1 << 20) == TEXT


@pytest.mark.parametrize(
    ("sign", "place", "value", "what"),
    [
        (CENTRAL, 8, b"\x01", "encrypted"),
        (CENTRAL, 8, b"\x40", "encrypted|cannot be read"),
        (CENTRAL, 10, b"\x0c", "method 12"),
        (CENTRAL, 16, b"abcd", "check sum"),
        (CENTRAL, 20, struct.pack("<I", 99), "two sizes"),
        (CENTRAL, 24, struct.pack("<I", 99), "two sizes"),
        (CENTRAL, 42, struct.pack("<I", 1), "not where"),
        (CENTRAL, 42, struct.pack("<I", 10**6), "not where|cannot be read"),
        (CENTRAL, 46, b"b", "two names"),
        (CENTRAL, 46, b"\0", "leads out"),
        (LOCAL, 30, b"b", "two names"),
        (LOCAL, 0, b"XXXX", "not where"),
        (LOCAL, 26, b"\xff", "two names"),
        (LOCAL, 28, b"\xff\xff", "outside"),
        (b"PK\x05\x06", 0, b"XXXX", "without its end"),
        (b"PK\x05\x06", 20, b"\x01", "without its end"),
        (b"PK\x05\x06", 12, struct.pack("<I", 1 << 30), "directory says"),
        (b"PK\x05\x06", 16, struct.pack("<I", 1 << 30), "cannot be read|not where"),
        (b"PK\x05\x06", 8, b"\xff\xff\xff\xff", "cannot be read|check"),
    ],
)
def test_a_lying_directory_is_refused(tmp_path, sign, place, value, what):
    data = patched(made(a=TEXT), sign, place, value)
    if sign == b"PK\x05\x06" and place == 8:  # the count of members is not believed, nor is it needed
        with opened(tmp_path, data).file as file:
            assert open_archive(file, len(data), "x").read("a", 1 << 20) == TEXT
        return
    assert re.search(what, refused(tmp_path, data))


def test_deflated_members_hold_what_they_say(tmp_path):
    data = made(zipfile.ZIP_DEFLATED, a=TEXT)
    for size in (0, 10, len(TEXT) - 1, len(TEXT) + 1, 1 << 20):
        lying = patched(
            patched(data, CENTRAL, 24, struct.pack("<I", size)), LOCAL, 22, struct.pack("<I", size)
        )
        assert "another length" in refused(tmp_path, lying)
    cut = patched(patched(data, CENTRAL, 20, struct.pack("<I", 9)), LOCAL, 18, struct.pack("<I", 9))
    assert "another length" in refused(tmp_path, cut)
    assert "another length" in refused(tmp_path, patched(data, LOCAL, 31, b"\xff" * 8))


def test_names_links_and_twins_are_refused(tmp_path):
    for name in ("../a", "a/../../b", "/a", "C:a", "a\\b", "a\nb", "a\x7fb"):
        assert "leads out" in refused(tmp_path, made(**{name: b"x"}))
    out = io.BytesIO()
    link = zipfile.ZipInfo("a")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "b")
    assert "is a link" in refused(tmp_path, out.getvalue())
    twins = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(twins, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    assert "one name" in refused(tmp_path, twins.getvalue())


def test_members_that_share_bytes_are_refused(tmp_path):
    """The bomb without recursion: many members, one stretch of packed bytes."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = packed.compress(bytes(1 << 20)) + packed.flush()
    data = made(a=kernel, b=b"x")
    start = data.index(LOCAL, 4)
    shared = patched(data, CENTRAL, 42, struct.pack("<I", 0), which=1)
    assert "two names" in refused(tmp_path, shared)
    inner = data[:start].replace(kernel[:40], made(b=b"12345678")[:39] + kernel[39:40]) + data[start:]
    nested = patched(inner, CENTRAL, 42, struct.pack("<I", inner.index(LOCAL, 4)), which=1)
    assert "overlap" in refused(tmp_path, nested)


def test_bounds(tmp_path, monkeypatch):
    data = made(zipfile.ZIP_DEFLATED, a=TEXT, b=TEXT)
    monkeypatch.setattr(archives, "_FREE_BYTES", 1000)
    assert "unpack to" in refused(tmp_path, data)
    monkeypatch.setattr(archives, "_MAX_MEMBERS", 1)
    assert "more than 1 members" in refused(tmp_path, data)
    monkeypatch.setattr(archives, "_MAX_DIRECTORY", 50)
    assert "zip directory says" in refused(tmp_path, data)


def test_zip64_ends_are_followed_only_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    data = made(a=TEXT)
    assert b"PK\x06\x06" in data
    with opened(tmp_path, data).file as file:
        assert open_archive(file, len(data), "x").read("a", 1 << 20) == TEXT
    assert "not where it says" in refused(tmp_path, patched(data, b"PK\x06\x07", 8, struct.pack("<Q", 7)))
    assert "not where it says" in refused(tmp_path, patched(data, b"PK\x06\x06", 0, b"XXXX"))
    assert "zip directory says" in refused(
        tmp_path, patched(data, b"PK\x06\x06", 40, struct.pack("<Q", 1 << 40))
    )
