"""Where an export goes: a folder that appears whole or not at all, and never instead of something else."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from limner.data import appearing as whole
from limner.errors import DataError

MARK: Final = ".limner-export.json"
"""Hidden file that says what an export is; only a folder that holds one is ever replaced."""


@contextmanager
def appearing(out: Path, about: dict[str, Any], *, overwrite: bool, holding: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `out` when the block ends well, and is gone when it does not.

    Args:
        out: folder to make.
        about: kept in it, in the file `MARK`.
        overwrite: replace an earlier export, at the end.
        holding: what `out` must not hold, since replacing it would destroy it.
    Raises: DataError when `out` exists and `overwrite` is False, or it is no export, or it holds `holding`,
            or the disk does not take it.
    """
    try:
        whole.tidy(out)
        _refuse_taken(out, overwrite, holding)
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out} cannot be made: {error}", hint="choose another --out") from error
    try:
        with whole.appearing(out) as unfinished:
            unfinished.mkdir()
            yield unfinished
            (unfinished / MARK).write_text(json.dumps(about) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}", hint="is there room on the disk?") from error


def _refuse_taken(out: Path, overwrite: bool, holding: Path) -> None:
    if holding.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{out} holds the table {holding} itself", hint="choose another --out")
    if not out.exists():
        return
    if not overwrite:
        raise DataError(f"{out} exists already", hint="choose another --out, or pass --overwrite")
    if not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file()):
        raise DataError(
            f"{out} was not written by limner export, and is not replaced",
            wanted=f"an empty folder, or one with a {MARK}",
            hint="choose another --out, or remove it yourself",
        )
