"""The table of refused pictures beside a pairs table: which, from where, and why."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from limner.data.table import Table

QUARANTINE_SCHEMA: Final = pa.schema(
    [
        ("key", pa.string()),
        ("origin", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("source", pa.string()),
    ]
)


def quarantine_path(out: Path) -> Path:
    """Where the refused of a table go: `pairs.quarantine.lance` beside `pairs.lance`."""
    return out.with_name(f"{out.stem}.quarantine.lance")


def merge_quarantine(
    path: Path, refused: list[dict[str, Any]], is_old: Callable[[str], bool], note: str
) -> Path | None:
    """Bring a quarantine table up to date; one that would be empty is removed.

    Args:
        path: of the quarantine table.
        refused: of this import, with the columns of `QUARANTINE_SCHEMA`.
        is_old: whether rows of a source, given by its address, are replaced by `refused`.
        note: shown among its versions.
    Returns: its path; None when there is nothing to keep.
    """
    before = _rows(path)
    after = [row for row in before if not is_old(row["source"] or "")] + refused
    if not after:
        shutil.rmtree(path, ignore_errors=True)
        return None
    if after != before:
        rows = pa.Table.from_pylist(after, schema=QUARANTINE_SCHEMA)
        Table.write(path, rows.to_batches(), QUARANTINE_SCHEMA, overwrite=True, note=note)
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    if not (path / "_versions").is_dir():
        return []
    names = QUARANTINE_SCHEMA.names
    return [{name: row.get(name) for name in names} for rows in Table.open(path).batches() for row in rows]
