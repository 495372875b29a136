"""A table as other programs read it, one file a kind. Picture bytes are copied, never encoded again.

What is written appears whole or not at all. The table's own column names stand beside each format's own
fields, so that `limner import` gets back every key, picture, text, label, split, source, licence, question
and box.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from limner.config import Config
from limner.data.sinks import coco, folder, imagefolder, parquet, webdataset
from limner.data.sinks.place import appearing
from limner.data.sinks.row import OutRow, Plan, out_row, written_names
from limner.data.table import Table
from limner.data.table_reading import require, require_texts
from limner.errors import DataError

__all__ = ["SHARDED", "SINKS", "ExportOptions", "ExportResult", "export_table"]

SINKS: Final[dict[str, Callable[[Iterable[OutRow], Path, Plan], None]]] = {
    "webdataset": webdataset.write,
    "parquet": parquet.write,
    "folder": folder.write,
    "imagefolder": imagefolder.write,
    "coco": coco.write,
}
"""Every kind of export, and what writes it into an empty folder."""

SHARDED: Final = frozenset({"webdataset", "parquet"})
SHARD_SIZE: Final = 10_000
_BATCH: Final = 32

Progress = Callable[[int, int | None], None]


class ExportOptions(Config):
    """What is written, and how.

    Args:
        where: SQL filter on the table's columns, such as `split = 'train'`; every row by default.
        texts_column: list<string> column that is written as the texts.
        shard_size: most rows in one tar or Parquet file, at least 1; 10,000 by default.
        overwrite: replace an earlier export that stands there.
    """

    where: str | None = None
    texts_column: str = "texts"
    shard_size: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote.

    Args:
        path: its folder.
        to: kind, one of `SINKS`.
        rows: pictures.
        texts: in all rows together.
        files: number of files.
        bytes: of all files together.
        left_out: columns that this kind cannot hold: vectors and binary columns outside Parquet.
    """

    path: Path
    to: str
    rows: int
    texts: int
    files: int
    bytes: int
    left_out: tuple[str, ...]


def export_table(
    table: Table,
    out: str | Path,
    to: str,
    options: ExportOptions | None = None,
    *,
    progress: Progress | None = None,
) -> ExportResult:
    """Write a table for other programs; the folder appears when it is whole, or not at all.

    Args:
        table: at the version that is to be written.
        out: folder to make.
        to: one of `SINKS`.
        options: filter, column of texts, size of the shards.
        progress: told the rows done and the rows in all.
    Raises: DataError for an unknown kind or column, a wrong filter, no row to write, a place that is taken,
        or a row whose bytes are no picture.
    """
    out, options = Path(out), options or ExportOptions()
    plan = _plan(table, to, options)
    told = progress or (lambda done, total: None)
    counts = _Counts()
    about = {"to": to, "table": table.path.name, "version": table.version, "rows": plan.rows}
    with appearing(out, about, overwrite=options.overwrite, holding=table.path) as unfinished:
        SINKS[to](_rows(table, plan, options, counts, told), unfinished, plan)
        files = [path for path in unfinished.rglob("*") if path.is_file()]
        sizes = [path.stat().st_size for path in files]
    return ExportResult(out, to, counts.rows, counts.texts, len(sizes), sum(sizes), plan.left_out)


class _Counts:
    rows = texts = 0


def _plan(table: Table, to: str, options: ExportOptions) -> Plan:
    """Everything that can be wrong is found here, before anything is written."""
    if to not in SINKS:
        near = difflib.get_close_matches(to, SINKS, n=1)
        raise DataError(
            f"no export is called {to!r}", wanted=", ".join(SINKS), hint=f"--to {near[0]}" if near else ""
        )
    if options.shard_size is not None and (options.shard_size < 1 or to not in SHARDED):
        raise DataError(
            f"shards of {options.shard_size} rows in an export to {to}",
            wanted=f"at least 1, and one of {', '.join(sorted(SHARDED))}",
            hint="leave out --shard-size",
        )
    require(table.path, table.column_names, ("key", "image"))
    require_texts(table.path, table.schema, options.texts_column)
    rows = len(table.positions(options.where))
    if not rows:
        of = f" fits {options.where!r}" if options.where is not None else ""
        raise DataError(f"no row of {table.path}{of or ' to write'}", wanted="at least one row")
    schema = _written(table.schema, options.texts_column)
    kept = schema.names if to == "parquet" else written_names(schema)
    return Plan(
        schema=schema,
        names=tuple(kept),
        left_out=tuple(name for name in schema.names if name not in {*kept, "image"}),
        rows=rows,
        splits=_splits(table, options.where) if to == "imagefolder" else (),
        shard_size=options.shard_size or SHARD_SIZE,
    )


def _written(schema: pa.Schema, texts_column: str) -> pa.Schema:
    """The table's columns, the chosen texts standing in the place of `texts`."""
    fields = [field for field in schema if field.name == "texts" or field.name != texts_column]
    if "texts" not in schema.names:
        fields.append(pa.field("texts", pa.list_(pa.string())))
    return pa.schema(fields)


def _splits(table: Table, where: str | None) -> tuple[str | None, ...]:
    if not table.has("split"):
        return (None,)
    return tuple(dict.fromkeys(value or None for value in table.column("split", where)))


def _rows(
    table: Table, plan: Plan, options: ExportOptions, counts: _Counts, told: Progress
) -> Iterator[OutRow]:
    names = [name for name in table.column_names if name in plan.names or name == "image"]
    names += [options.texts_column] if options.texts_column not in names else []
    for batch in table.batches(names, _BATCH, options.where):
        for row in batch:
            texts = [text for text in row[options.texts_column] or () if text is not None]
            yield out_row(counts.rows, {**row, "texts": texts}, plan)
            counts.rows += 1
            counts.texts += len(texts)
        told(counts.rows, plan.rows)
