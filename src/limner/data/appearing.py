"""A folder that appears whole or not at all: work goes on in a hidden one, renamed at the end."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A hidden folder, not yet made, that becomes `path` when the block ends well, and is gone when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.name}.{os.getpid()}.unfinished"
    replaced = unfinished.with_suffix(".replaced")
    try:
        yield unfinished
        with suppress(FileNotFoundError):
            path.rename(replaced)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if path.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        elif replaced.exists():
            replaced.rename(path)


def tidy(path: Path) -> None:
    """Tidy up after a process killed at work on `path`: what it had replaced comes back, the rest goes."""
    for left in list(path.parent.iterdir()) if path.parent.is_dir() else []:
        if not left.name.startswith(f".{path.name}."):
            continue
        pid, _, state = left.name[len(path.name) + 2 :].partition(".")
        if state not in ("unfinished", "replaced") or not pid.isdigit() or _is_at_work(int(pid)):
            continue
        if state == "replaced" and not path.exists():
            left.rename(path)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _is_at_work(pid: int) -> bool:
    return pid != os.getpid() and bool(psutil.pid_exists(pid))
