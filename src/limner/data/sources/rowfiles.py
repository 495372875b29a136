"""Files of rows that may describe pictures: CSV and TSV, JSON lines, Parquet. Sniffed, never trusted.

Each is opened into a `RowFile`: its columns, its first rows, what was guessed, and all rows one by one. A
row that cannot be read comes as None with its place, so that it can be counted instead of stopping the
work.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq

from limner.data.sources.beside import Place
from limner.errors import DataError

SUFFIXES: Final = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")
SEPARATORS: Final = ("\t", ",", ";", "|")
PICTURE_SUFFIXES: Final = frozenset(
    (
        *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"),
        *(".heic", ".heif", ".psd", ".ico"),  # the intake opens or refuses them
    )
)
_SAMPLE_BYTES: Final = 65536
_LONGEST_FIELD: Final = 2**24

Row = dict[str, Any]


@runtime_checkable
class RowFile(Protocol):
    """Rows with named columns."""

    path: Place
    columns: list[str]
    num_rows: int | None
    guessed: list[str]
    label_names: dict[str, list[str]]

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[str, Row | None]]:
        """Each row with its place, such as "pairs.csv line 7"; None where the row is broken."""
        ...


def open_rowfile(path: Place, separator: str | None = None, encoding: str | None = None) -> RowFile:
    """Open a file of rows by its suffix.

    Args:
        path: one of `SUFFIXES`.
        separator: of a CSV; sniffed by default.
        encoding: of a text file; UTF-8 by default, and Latin-1 where that fails.
    Raises: DataError when the file is empty, has no columns or is not what its suffix says.
    """
    suffix = path.suffix.lower()
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", wanted="rows with a picture each")
    if suffix == ".parquet":
        return _open_parquet(path)
    if suffix in (".jsonl", ".ndjson"):
        return _open_json_lines(path, encoding)
    return _open_separated(path, separator, encoding)


def is_picture_path(value: str) -> bool:
    """Whether a value ends as the name of a picture file does."""
    return os.path.splitext(value.strip())[1].lower() in PICTURE_SUFFIXES


def head(file: RowFile, count: int) -> list[Row]:
    """The first rows that can be read."""
    return list(islice((row for _, row in file.rows(file.columns) if row is not None), count))


@dataclass
class _Separated:
    path: Place
    columns: list[str]
    separator: str
    encoding: str
    has_header: bool
    guessed: list[str]
    num_rows: int | None = None
    label_names: dict[str, list[str]] = field(default_factory=dict)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[str, Row | None]]:
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.separator)
            if self.has_header:
                next(reader)
            for values in _survivors(reader):
                place = f"{self.path.name} line {reader.line_num}"
                if values is None or len(values) != len(self.columns):
                    if values != []:
                        yield place, None
                    continue
                row = dict(zip(self.columns, values, strict=True))
                yield place, {name: row[name] for name in columns}


def _survivors(reader: Iterator[list[str]]) -> Iterator[list[str] | None]:
    """Rows of a csv reader; None for one it cannot parse."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None


def _open_separated(path: Place, separator: str | None, encoding: str | None) -> RowFile:
    encoding, guessed = _encoding(path, encoding)
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(_SAMPLE_BYTES)
    lines = sample.splitlines()[:50]
    sniffed = separator or _sniff(sample, lines)
    csv.field_size_limit(_LONGEST_FIELD)
    first = next(csv.reader(io.StringIO(sample, newline=""), delimiter=sniffed), [])
    if not first:
        raise DataError(f"{path} begins with an empty line", wanted="a header such as filepath,caption")
    has_header = not any(is_picture_path(value) for value in first)
    columns = [name.strip() for name in first] if has_header else [f"column{i}" for i in range(len(first))]
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(f"{path} names a column twice: {', '.join(map(repr, twice))}")
    how = "as asked" if separator else "guessed"
    guessed += [f"separator: {sniffed!r} ({how})", f"columns: {', '.join(columns)}"]
    if not has_header:
        guessed.append("no header: the first line is data")
    return _Separated(path, columns, sniffed, encoding, has_header, guessed)


def _sniff(sample: str, lines: Sequence[str]) -> str:
    """The csv module's guess, unless another separator cuts more of the lines into equal rows."""
    try:
        candidates = [csv.Sniffer().sniff(sample, "".join(SEPARATORS)).delimiter]
    except csv.Error:
        candidates = []
    return max([*candidates, *SEPARATORS], key=lambda separator: _evenness(lines, separator))


def _evenness(lines: Sequence[str], separator: str) -> float:
    """Share of lines with as many fields as the first; 0 when that is only one field."""
    widths = [len(values or ()) for values in _survivors(csv.reader(lines, delimiter=separator))]
    if not widths or widths[0] < 2:
        return 0.0
    return widths.count(widths[0]) / len(widths)


@dataclass
class _JsonLines:
    path: Place
    columns: list[str]
    encoding: str
    guessed: list[str]
    num_rows: int | None = None
    label_names: dict[str, list[str]] = field(default_factory=dict)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[str, Row | None]]:
        with self.path.open(encoding=self.encoding) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = _parse_object(line)
                    found = None if row is None else {name: row.get(name) for name in columns}
                    yield f"{self.path.name} line {number}", found


def _parse_object(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _open_json_lines(path: Place, encoding: str | None) -> RowFile:
    encoding, guessed = _encoding(path, encoding)
    with path.open(encoding=encoding) as file:
        first = [row for line in islice(file, 100) if (row := _parse_object(line)) is not None]
    columns = list(dict.fromkeys(name for row in first for name in row))
    if not columns:
        raise DataError(f"{path} holds no JSON objects in its first 100 lines", wanted="one object a line")
    return _JsonLines(path, columns, encoding, [*guessed, f"columns: {', '.join(columns)}"])


@dataclass
class _Parquet:
    path: Place
    columns: list[str]
    num_rows: int | None
    guessed: list[str] = field(default_factory=list)
    label_names: dict[str, list[str]] = field(default_factory=dict)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[str, Row | None]]:
        number = 0
        with self.path.open("rb") as opened, pq.ParquetFile(opened) as file:
            for batch in file.iter_batches(batch_size=64, columns=list(columns)):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{self.path.name} row {number}", row


def _open_parquet(path: Place) -> RowFile:
    try:
        with path.open("rb") as opened, pq.ParquetFile(opened) as file:
            schema, count = file.schema_arrow, int(file.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file: {error}") from error
    columns = list(schema.names)
    return _Parquet(path, columns, count, [f"columns: {', '.join(columns)}"], _label_names(schema))


def _label_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes that Hugging Face's `datasets` keeps with a column of numbers."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: feature.get("names") for name, feature in features.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {
        name: names
        for name, names in found.items()
        if isinstance(names, list) and all(isinstance(one, str) for one in names)
    }


def _encoding(path: Place, asked: str | None) -> tuple[str, list[str]]:
    """The encoding of a text file, and what to say aloud about it."""
    if asked:
        _read_through(path, asked)
        return asked, [f"encoding: {asked} (as asked)"]
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", ["encoding: utf-16 (by its mark)"]
    try:
        _read_through(path, "utf-8-sig")
    except DataError:
        return "latin-1", ["encoding: latin-1 (guessed: it is not UTF-8; check the examples)"]
    return "utf-8-sig", []


def _read_through(path: Place, encoding: str) -> None:
    try:
        with path.open(encoding=encoding) as file:
            while file.read(2**20):
                pass
    except (UnicodeError, LookupError) as error:
        raise DataError(
            f"{path} cannot be read as {encoding}: {error}", wanted="its true encoding"
        ) from error
