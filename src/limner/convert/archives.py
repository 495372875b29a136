"""Opens a zip archive of weights and reads its members, trusting nothing the archive says of itself.

Before a byte is inflated: the directory is short enough to be read, names are relative, plain and unique,
nothing is encrypted or a link, members lie inside the file without overlapping, and all of them together are
no more than 20 times the file (and 64 MiB). A member is read straight into the memory it will stay in.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from io import BufferedReader
from pathlib import PurePosixPath
from typing import NamedTuple

from limner.convert.refusals import damaged, oversized

_MAX_DIRECTORY = 16 << 20
_MAX_MEMBERS = 200_000
_MAX_RATIO = 20
_FREE_BYTES = 64 << 20
_CHUNK = 1 << 20
_TAIL = 56 + 20 + 22
_END64, _LOCATOR, _END, _LOCAL = b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06", b"PK\x03\x04"
_BROKEN = (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError, OverflowError)


class Member(NamedTuple):
    """One file in the archive.

    Args:
        start: where its bytes begin.
        packed: bytes it takes there.
        size: bytes it holds.
        deflated: whether it must be inflated.
        crc: CRC-32 of what it holds; 0 when the writer did not compute it.
    """

    start: int
    packed: int
    size: int
    deflated: bool
    crc: int


class Archive(NamedTuple):
    """A zip archive whose directory was checked.

    Args:
        file: open for reading.
        origin: its name, for messages.
        members: by name.
    """

    file: BufferedReader
    origin: str
    members: dict[str, Member]

    def read(self, name: str, limit: int) -> bytes:
        """All of a small member.

        Raises: CheckpointError when it is longer than `limit` bytes, or damaged.
        """
        member = self.members[name]
        if member.size > limit:
            raise oversized(self.origin, f"{name} in it is longer than {limit:,} bytes")
        whole = bytearray(member.size)
        self.read_into(name, memoryview(whole))
        return bytes(whole)

    def read_into(self, name: str, place: memoryview) -> None:
        """Fill memory with a member.

        Args:
            name: a key of `members`.
            place: exactly its size, in bytes.
        Raises: CheckpointError when it holds more or less than it says, or its check sum is wrong.
        """
        member = self.members[name]
        self.file.seek(member.start)
        crc = _inflate(self, member, place) if member.deflated else _copy(self.file, place)
        if crc is None or (member.crc and crc != member.crc):
            raise damaged(self.origin, f"{name} in it has another length or check sum than it says")


def open_archive(file: BufferedReader, size: int, origin: str) -> Archive:
    """Read and check an archive's directory.

    Args:
        file: open for reading; stays open.
        size: of the file, bytes.
        origin: its name, for messages.
    Raises: CheckpointError when the archive is damaged, or made to mislead or to overwhelm.
    """
    _check_directory(file, size, origin)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        if len(entries) > _MAX_MEMBERS:
            raise oversized(origin, f"it has more than {_MAX_MEMBERS:,} members")
        for entry in entries:
            _check_entry(entry, origin)
        members = {entry.filename: _locate(file, entry, origin) for entry in entries if not entry.is_dir()}
    except _BROKEN as error:
        raise damaged(origin, f"its zip directory cannot be read ({error})") from error
    if len({entry.filename for entry in entries}) != len(entries):
        raise damaged(origin, "two of its members have one name")
    _check_places(members.values(), size, origin)
    return Archive(file, origin, members)


def _check_directory(file: BufferedReader, size: int, origin: str) -> None:
    """Find out how long the directory says it is, before anything reads it whole."""
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL).rjust(_TAIL, b"\0")
    end64, locator, end = tail[:56], tail[56:76], tail[76:]
    if end[:4] != _END or end[-2:] != b"\0\0":
        raise damaged(origin, "it is a zip archive without its end: it was cut short, or something was added")
    length = struct.unpack("<I", end[12:16])[0]
    if locator[:4] == _LOCATOR:
        if struct.unpack("<Q", locator[8:16])[0] != size - _TAIL or end64[:4] != _END64:
            raise damaged(origin, "the end of its zip directory is not where it says")
        length = struct.unpack("<Q", end64[40:48])[0]
    if length > min(size, _MAX_DIRECTORY):
        raise oversized(origin, f"its zip directory says it is {length:,} bytes long")


def _check_entry(entry: zipfile.ZipInfo, origin: str) -> None:
    name, path = entry.filename, PurePosixPath(entry.filename)
    plain = name == entry.orig_filename and name.isprintable() and "\\" not in name and ":" not in name
    if not plain or path.is_absolute() or ".." in path.parts:
        raise damaged(origin, f"a member is called {entry.orig_filename[:80]!r}, which leads out of it")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise damaged(origin, f"its member {name} is a link")
    if entry.flag_bits & 0x41:
        raise damaged(origin, f"its member {name} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged(origin, f"its member {name} is packed by method {entry.compress_type}")


def _locate(file: BufferedReader, entry: zipfile.ZipInfo, origin: str) -> Member:
    file.seek(max(0, entry.header_offset))
    header = file.read(30)
    if entry.header_offset < 0 or len(header) < 30 or header[:4] != _LOCAL:
        raise damaged(origin, f"its member {entry.filename} is not where the directory says")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    if file.read(name_length) != entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437"):
        raise damaged(origin, f"its member {entry.filename} has two names")
    start = entry.header_offset + 30 + name_length + extra_length
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    if not deflated and entry.compress_size != entry.file_size:
        raise damaged(origin, f"its member {entry.filename} has two sizes")
    return Member(start, entry.compress_size, entry.file_size, deflated, entry.CRC)


def _check_places(members: Iterable[Member], size: int, origin: str) -> None:
    """Members follow each other inside the file, and unpack to no more than a weight file would."""
    members = sorted(members)
    ends = [0, *(member.start + member.packed for member in members)]
    if any(member.start < end for member, end in zip(members, ends, strict=False)) or max(ends) > size:
        raise damaged(origin, "its members overlap or lie outside it")
    total = sum(member.size for member in members)
    if total > max(_FREE_BYTES, _MAX_RATIO * size):
        raise oversized(origin, f"its {size:,} bytes would unpack to {total:,}")


def _copy(file: BufferedReader, place: memoryview) -> int | None:
    crc, done = 0, 0
    while done < len(place):
        piece = place[done : done + _CHUNK]
        if file.readinto(piece) != len(piece):
            return None
        crc, done = zlib.crc32(piece, crc), done + len(piece)
    return crc


def _inflate(archive: Archive, member: Member, place: memoryview) -> int | None:
    """Fill `place`, and no more: what a member says it unpacks to is not believed."""
    inflater, left, done, crc = zlib.decompressobj(-zlib.MAX_WBITS), member.packed, 0, 0
    pending = b""
    while not inflater.eof:
        if not pending:
            pending = archive.file.read(min(_CHUNK, left))
            left -= len(pending)
        try:
            piece = inflater.decompress(pending, min(_CHUNK, len(place) - done + 1))
        except zlib.error:
            return None
        if done + len(piece) > len(place) or not (piece or pending):
            return None
        place[done : done + len(piece)] = piece
        crc, done, pending = zlib.crc32(piece, crc), done + len(piece), inflater.unconsumed_tail
    return crc if done == len(place) else None
