"""The unfinished part of an import: what has been looked at lies in a hidden folder until the one commit.

Beside the table `pairs.lance` it is `.pairs.lance.importing`: `asked.json` says what was asked for, each
`part-000000.arrow` holds some rows and appears whole or not at all. A process killed at any moment leaves
the parts it had finished; the same command takes them up again, as far as the source still says the same.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limner.data.sources import Item
from limner.data.table import SCHEMA
from limner.errors import DataError

STAGED: Final = pa.schema(
    [
        *(pa.field(column.name, column.type) for column in SCHEMA),
        ("name", pa.string()),
        ("state", pa.string()),
        ("fingerprint", pa.binary(16)),
        ("origin", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("kept", pa.list_(pa.string())),
        ("lost", pa.list_(pa.struct([("reason", pa.string()), ("text", pa.string())]))),
    ]
)
"""One row for each item of the sources: a table's columns, `image` only where it is to be written, and what
became of the item."""

_ALL_BUT_IMAGE: Final = [STAGED.names.index(name) for name in STAGED.names if name != "image"]
_RESTART: Final = "repeat that command to finish it, or add --restart to throw its work away"

Numbered = tuple[int, Item]


def fingerprint(item: Item) -> bytes:
    """Sixteen bytes that change when an item of a source does; a file is known by its size and time."""
    told = hashlib.blake2b(repr(item._replace(picture=None)).encode("utf-8", "replace"), digest_size=16)
    told.update(_mark(item.picture).encode("utf-8", "replace"))
    return told.digest()


def _mark(picture: Any) -> str:
    if picture is None:
        return ""
    if isinstance(picture, bytes):
        return f"{len(picture)} {zlib.crc32(picture)}"
    if isinstance(picture, np.ndarray):
        return f"{picture.shape} {zlib.crc32(picture.tobytes())}"
    if "://" in str(picture):
        return str(picture)
    try:
        stat = os.stat(picture)
    except (OSError, ValueError):
        return f"{picture} missing"
    return f"{picture} {stat.st_size} {stat.st_mtime_ns}"


class Staging:
    """The hidden folder of one import; a second process cannot open it meanwhile.

    Args:
        out: the table to be made.
        command: what was asked for; another command does not take up this one's work.
        ground: what it stands on (the table's version, limner's); when that has moved, the work starts again.
        restart: throw away what is there.
    Raises: DataError when it holds the work of another command, another process works there, or the place
        cannot be written.
    """

    def __init__(self, out: Path, command: dict[str, Any], ground: dict[str, Any], restart: bool) -> None:
        self.folder = out.parent / f".{out.name}.importing"
        self.adopted = 0
        self._asked = self.folder / "asked.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.folder / "lock")
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        try:
            self._begin({"command": command, "ground": ground}, restart)
        except BaseException:
            os.close(self._lock)
            raise

    def parts(self) -> list[Path]:
        """Files of finished rows, in order."""
        return sorted(self.folder.glob("part-*.arrow"))

    def take_up(
        self, items: Iterator[Numbered], seen: Callable[[list[dict[str, Any]]], None]
    ) -> Iterator[Numbered]:
        """The items that are still to be looked at, after those that finished parts hold already.

        Args:
            items: all of the sources', from the start.
            seen: told the rows of each part that is taken up.
        """
        parts = self.parts()
        for number, part in enumerate(parts):
            rows = _read(part).to_pylist()
            again = list(islice(items, len(rows)))
            now = [fingerprint(item) for _, item in again]
            if now != [row["fingerprint"] for row in rows]:
                for stale in parts[number:]:
                    stale.unlink()
                return chain(again, items)
            self.adopted += len(rows)
            seen(rows)
        return items

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write finished rows as one more part.

        Raises: DataError when the place is full or cannot be written.
        """
        batch = pa.RecordBatch.from_pylist(rows, schema=STAGED)
        part = self.folder / f"part-{len(self.parts()):06d}.arrow"
        with self._writing(part) as file, pa.ipc.new_file(file, STAGED) as stream:
            stream.write_batch(batch)

    def rows(self) -> pa.Table:
        """Every finished row without its picture, in order."""
        return pa.concat_tables([_read(part) for part in self.parts()] or [_empty()])

    def pictures(
        self, keep: np.ndarray, splits: list[str | None], columns: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """Finished rows as a table holds them, part by part.

        Args:
            keep: which rows, one truth value each.
            splits: the split of each.
            columns: names of what is kept of each, in order.
        """
        begin = 0
        for part in self.parts():
            with pa.memory_map(str(part)) as file:
                staged = pa.ipc.open_file(file).read_all()
                rows = staged.select(SCHEMA.names)
                end = begin + rows.num_rows
                names = pa.array(splits[begin:end], pa.string())
                rows = rows.set_column(SCHEMA.get_field_index("split"), "split", names)
                kept = staged["kept"]
                if not keep[begin:end].all():  # a filter copies what it keeps
                    wanted = pa.array(keep[begin:end])
                    rows, kept = rows.filter(wanted), kept.filter(wanted)
                rows, begin = rows.cast(SCHEMA), end
                for number, name in enumerate(columns):
                    rows = rows.append_column(pa.field(name, pa.string()), pc.list_element(kept, number))
                yield from rows.to_batches()

    def close(self, remove: bool) -> None:
        """Let another process in, and remove everything when the work is done."""
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def _begin(self, asked: dict[str, Any], restart: bool) -> None:
        """Keep what an unfinished import of the same command has left, or start with an empty folder."""
        asked = json.loads(json.dumps(asked))
        try:
            found = json.loads(self._asked.read_bytes())
        except (OSError, ValueError):
            found = {}
        if restart or found.get("ground") != asked["ground"]:
            self._clear()
            with self._writing(self._asked) as file:
                file.write(json.dumps(asked).encode())
        elif found["command"] != asked["command"]:
            before = " ".join(map(str, found["command"]["sources"]))
            raise DataError(
                f"{self.folder} holds an unfinished import of {before}, asked for in another way",
                wanted="the same sources and options",
                hint=_RESTART,
            )

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink()

    @contextmanager
    def _writing(self, path: Path) -> Iterator[IO[bytes]]:
        """A file that takes the name `path` when it is whole."""
        unfinished = path.with_suffix(".unfinished")
        try:
            with open(unfinished, "wb") as file:
                yield file
            os.replace(unfinished, path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise _unwritable(path, error) from error


def _read(part: Path) -> pa.Table:
    """A part without its pictures, in memory."""
    chosen = pa.ipc.IpcReadOptions(included_fields=_ALL_BUT_IMAGE)
    with pa.OSFile(str(part)) as file:
        return pa.ipc.open_file(file, options=chosen).read_all()


def _empty() -> pa.Table:
    return STAGED.empty_table().drop_columns(["image"])


def _locked(path: Path) -> int:
    """An open file that only one process can hold; the system lets go of it when the process ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise DataError(
                f"another process imports here now: {path.parent}",
                hint="wait for it, or choose another --out",
            ) from None
    return handle


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} cannot be written: {error.strerror or error}",
        wanted="a folder with room for the pictures",
        hint="free some space or choose another --out; the same command goes on where it stopped",
    )
