"""One row on its way out: its number, its picture as it is, its texts, and a record of plain JSON values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pyarrow as pa

from limner.errors import DataError

_MAGIC: Final = (
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG", ".png"),
    (0, b"GIF8", ".gif"),
    (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"),
    (0, b"II*\x00", ".tiff"),
    (0, b"MM\x00*", ".tiff"),
    (8, b"avif", ".avif"),
    (8, b"avis", ".avif"),
    (4, b"ftyp", ".heic"),
)


@dataclass(frozen=True)
class Plan:
    """What a kind of export is told before the first row.

    Args:
        schema: of the rows, `texts` being the texts that are written.
        names: columns that the record of a row holds.
        left_out: columns that are not written.
        rows: number of rows to come.
        splits: distinct splits of the rows, None among them where a row has none; empty where nobody asked.
        shard_size: most rows in one file, at least 1.
    """

    schema: pa.Schema
    names: tuple[str, ...]
    left_out: tuple[str, ...]
    rows: int
    splits: tuple[str | None, ...]
    shard_size: int


class OutRow(NamedTuple):
    """One row as it goes out.

    Args:
        number: position in the export, from 0.
        key: of the table.
        image: encoded bytes, as they are in the table.
        suffix: of a file of these bytes, such as ".jpg"; told from the bytes.
        texts: the chosen texts.
        record: every column this kind can hold as plain JSON values, `key` and `texts` among them.
        values: the row itself, as Arrow gives it.
    """

    number: int
    key: str
    image: bytes
    suffix: str
    texts: list[str]
    record: dict[str, Any]
    values: dict[str, Any]


def out_row(number: int, values: dict[str, Any], plan: Plan) -> OutRow:
    """A row of the table, ready to be written.

    Raises: DataError when its bytes are no picture.
    """
    image = values["image"]
    record = {name: plain(values[name]) for name in plan.names if name != "image"}
    return OutRow(
        number, values["key"], image, _suffix(image, values["key"]), values["texts"], record, values
    )


def typed(record: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """The record with "" for each text that is null: `datasets` takes types from the first values."""
    texts = {field.name for field in schema if pa.types.is_string(field.type)}
    return {name: "" if value is None and name in texts else value for name, value in record.items()}


def written_names(schema: pa.Schema) -> list[str]:
    """Columns that fit into a line of JSON: all but the picture, other binary columns, and vectors."""
    return [field.name for field in schema if not _is_bulky(field.type)]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinity become null, dates and the like text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value)


def _is_bulky(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return bool(binary or pa.types.is_fixed_size_list(kind))


def _suffix(image: bytes, key: str) -> str:
    for place, magic, suffix in _MAGIC:
        if image[place : place + len(magic)] == magic:
            return suffix
    raise DataError(f"row {key!r} holds no picture: {image[:12]!r} …", wanted="an encoded picture")
