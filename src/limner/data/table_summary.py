"""What a table holds, on one screen: columns and how full they are, values, versions, sizes, some rows."""

import math
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limner.data.table import Table

COUNTED: Final = ("split", "label", "source", "licence", "format")
_MOST: Final = 8
_LONG: Final = 120


class ColumnSummary(NamedTuple):
    """One column: its type, how many rows say something in it, and its bytes on disk in all rows.

    A text, a list or a struct that is there but empty says nothing.
    """

    name: str
    type: str
    filled: int
    bytes: int


class ValueCount(NamedTuple):
    """How many rows have a value; None stands for rows without one."""

    value: str | None
    rows: int


class VersionSummary(NamedTuple):
    """One version: number, local time (ISO 8601), note and the record kept with it."""

    version: int
    time: str
    note: str
    record: dict[str, Any] | None


class TableSummary(NamedTuple):
    """A table at one version.

    Args:
        path: its folder.
        version: the one looked at.
        rows: in it.
        where: the filter of everything below but sizes and versions; None for all rows.
        matched: rows that fit the filter.
        texts: in the column `texts`, all rows that fit together.
        columns: in order.
        counts: of the columns `COUNTED`, the most frequent values.
        distinct: of the same columns, how many values there are.
        versions: oldest first.
        bytes: of the folder, all versions together.
        samples: up to ten rows, evenly spread; pictures and vectors are told by their size.
    """

    path: str
    version: int
    rows: int
    where: str | None
    matched: int
    texts: int
    columns: list[ColumnSummary]
    counts: dict[str, list[ValueCount]]
    distinct: dict[str, int]
    versions: list[VersionSummary]
    bytes: int
    samples: list[dict[str, Any]]


def summarise(table: Table, where: str | None = None, samples: int = 10) -> TableSummary:
    """Look a table over; pictures are not decoded.

    Args:
        table: at the version to look at.
        where: SQL over the columns; see `Table.positions`.
        samples: rows to show.
    Raises: DataError for a filter that cannot be read.
    """
    matched = table.count(where)
    sizes = table.column_bytes()
    counts = {name: _counts(table, name, where) for name in COUNTED if _is_text(table, name)}
    return TableSummary(
        path=str(table.path),
        version=table.version,
        rows=table.num_rows,
        where=where,
        matched=matched,
        texts=_texts(table, where),
        columns=[
            ColumnSummary(
                field.name, str(field.type), _filled(table, field, where, matched), sizes[field.name]
            )
            for field in table.schema
        ],
        counts={name: found[:_MOST] for name, found in counts.items()},
        distinct={name: sum(value is not None for value, _ in found) for name, found in counts.items()},
        versions=[VersionSummary(*v, table.record(v.version)) for v in table.versions()],
        bytes=table.bytes_on_disk(),
        samples=_samples(table, where, samples),
    )


def summary_values(summary: TableSummary) -> dict[str, Any]:
    """A summary as plain values, for JSON."""
    values = summary._asdict()
    for name in ("columns", "versions"):
        values[name] = [entry._asdict() for entry in values[name]]
    values["counts"] = {name: [entry._asdict() for entry in found] for name, found in summary.counts.items()}
    return values


def _is_text(table: Table, name: str) -> bool:
    return table.has(name) and _is_string(table.schema.field(name).type)


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _filled(table: Table, field: pa.Field, where: str | None, matched: int) -> int:
    """Rows that say something in a column; Lance counts them."""
    if not field.nullable:
        return matched
    says = f"`{field.name}` IS NOT NULL"
    if _is_string(field.type):
        says += f" AND `{field.name}` <> ''"
    if pa.types.is_list(field.type):
        says = f"array_length(`{field.name}`) > 0"
    return table.count(f"({where}) AND ({says})" if where else says)


def _counts(table: Table, name: str, where: str | None) -> list[ValueCount]:
    """Values of a column with their rows, the most frequent first."""
    found = table.arrow([name], where)[name].value_counts()
    counted = [ValueCount(entry["values"].as_py(), entry["counts"].as_py()) for entry in found]
    return sorted(counted, key=lambda entry: (-entry.rows, entry.value or ""))


def _texts(table: Table, where: str | None) -> int:
    if not (table.has("texts") and pa.types.is_list(table.schema.field("texts").type)):
        return 0
    return int(pc.sum(pc.list_value_length(table.arrow(["texts"], where)["texts"])).as_py() or 0)


def _samples(table: Table, where: str | None, count: int) -> list[dict[str, Any]]:
    positions = table.positions(where)
    chosen = np.unique(
        np.linspace(0, len(positions) - 1, min(count, len(positions))).round().astype(np.int64)
    )
    rows = table.rows(positions[chosen].tolist())
    return [_told(row) for row in rows]


def _told(value: Any) -> Any:
    """A value as one reads it and JSON takes it: long ones by their size or their beginning."""
    if isinstance(value, dict):
        return {name: _told(part) for name, part in value.items()}
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, list):
        numbers = len(value) > _MOST and isinstance(value[0], int | float)
        return f"{len(value)} numbers" if numbers else [_told(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int):
        return value
    text = str(value)
    return text if len(text) <= _LONG else text[:_LONG] + "…"
