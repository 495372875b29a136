"""A table is worked on by one job at a time: a lock beside it, which a dead process cannot keep.

The operating system holds the lock and lets go of it when the process ends, however it ends. The file says
who has it, for the message alone: what a killed process left in it locks nobody out.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from limner.errors import DataError


@contextmanager
def claimed(table: Path, work: str, hint: str = "") -> Iterator[None]:
    """Hold the lock of a kind of work on a table.

    Args:
        table: its path; the lock is a file beside it.
        work: names the lock, and the work in the message.
        hint: what else to do.
    Raises: DataError when another process holds it, and says which.
    """
    path = table.with_name(f"{table.name}.{work}.lock")
    with path.open("a+", encoding="utf-8") as file:
        if not _locked(file, path):
            raise DataError(
                f"{table} has a {work} already, by {_holder(path)}",
                wanted="one at a time",
                hint=hint or "wait until it has ended",
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(file: IO[str], path: Path) -> bool:
    """Lock an open file, if it is free and still the one of that name: who ends takes it away."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except FileNotFoundError:  # it has just ended
        return "another process"
