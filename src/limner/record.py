"""Everything a run learns is a record: one JSON object a line, appended, never rewritten.

A record has `kind` (what it tells), `time` (seconds since 1970) and its own fields. Reports are made from
records alone.
"""

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limner.errors import DataError


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch become Python's; NaN and infinities become strings JSON can hold."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


class Recorder:
    """Appends records to a file, one flushed line each; a last line that a kill cut short is taken out.

    Args:
        path: `records.jsonl` of the run; its folder is made when missing.
        durable: each line is on the disk before `write` returns.
    Raises: DataError when the folder cannot be made.
    """

    def __init__(self, path: str | Path, durable: bool = False) -> None:
        self.path = Path(path)
        self.durable = durable
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{self.path.parent} cannot be made: {error.strerror}", wanted="a folder for records"
            ) from error
        drop_cut_line(self.path)

    def write(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Append one record and return it as written."""
        record = {"kind": kind, "time": round(time.time(), 3), **_plain(fields)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            if self.durable:
                file.flush()
                os.fsync(file.fileno())
        return record


def read_records(path: str | Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Read the records of a run, in order, optionally of one kind.

    A last line cut short by a kill is skipped; any other broken line is an error.
    Raises: DataError when the file is missing or a line in the middle is no JSON.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"no records at {path}", wanted="a run folder with records.jsonl", hint="limner quickstart"
        )
    return [r for r in _parse(path) if kind is None or r["kind"] == kind]


def _parse(path: Path) -> Iterator[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # texts may hold other line ends
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise DataError(
                f"{path}:{number} is no JSON record: {error}", wanted="one JSON object a line"
            ) from error


def drop_cut_line(path: Path) -> None:
    """Take away a last line that was cut short, so that the next one stands alone."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def truncate_records(path: str | Path, step: int) -> None:
    """Drop training records past `step`, so that a resumed run tells each step once. Atomic."""
    path = Path(path)
    if not path.exists():
        return
    kept = [r for r in _parse(path) if r.get("step", -1) <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in kept), encoding="utf-8")
    temporary.replace(path)
