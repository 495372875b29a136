"""What Lance is asked when a table is read: scans with a filter, and bytes of each column."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from limner.data.table_writing import first_line
from limner.errors import DataError


def require(path: Path, known: Sequence[str], names: Iterable[str]) -> None:
    """Refuse names of columns that a table lacks.

    Raises: DataError that names the nearest one.
    """
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else ""
            raise DataError(f"{path} has no column {name!r}", wanted=", ".join(known), hint=hint)


def require_texts(path: Path, schema: pa.Schema, name: str) -> None:
    """Refuse a column that is not there, or does not hold a list of texts a row.

    Raises: DataError that names the columns that do.
    """
    require(path, schema.names, [name])
    kind = schema.field(name).type
    if not (pa.types.is_list(kind) and pa.types.is_string(kind.value_type)):
        lists = [field.name for field in schema if field.type == pa.list_(pa.string())]
        raise DataError(f"column {name!r} of {path} holds {kind}", wanted=f"texts: one of {', '.join(lists)}")


def scanner(dataset: Any, path: Path, columns: Sequence[str] | None, **options: Any) -> Any:
    """A scan in row order.

    Args:
        dataset: of Lance.
        path: for messages.
        columns: only these; all by default.
        options: filter and batch_size, as Lance takes them.
    Raises: DataError for a filter that cannot be read or names no column.
    """
    where = options.get("filter")
    try:
        made = dataset.scanner(columns=list(columns) if columns else None, scan_in_order=True, **options)
        if where:
            made.explain_plan()  # a wrong name shows when the plan is made
    except (OSError, ValueError) as error:
        raise DataError(
            f"the filter {where!r} does not fit {path}: {first_line(error)}",
            wanted="SQL over " + ", ".join(dataset.schema.names),
            hint="--where \"split = 'train' and width > 200\"",
        ) from error
    return made


def column_bytes(dataset: Any) -> dict[str, int]:
    """Bytes on disk of each column, rows that were deleted but not compacted away included."""
    sizes = {field.id: int(field.bytes_on_disk) for field in dataset.stats.data_stats().fields}
    return {
        field.name(): sum(sizes.get(number, 0) for number in field_numbers(field))
        for field in dataset.lance_schema.fields()
    }


def field_numbers(field: Any) -> list[int]:
    """Of a field and everything nested in it, in the order Lance stores them."""
    return [field.id(), *(number for child in field.children() for number in field_numbers(child))]
