"""The pairs table: one row a picture, in Lance. Columns are added beside the pictures, one version per verb.

Every change is one commit: a job killed at any moment leaves the version before it. Lance is not fork-safe;
processes that read a table are spawned and open it themselves. Lance is imported when a table is first
touched (0.5 s).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from limner.data import table_changes, table_reading
from limner.data.appearing import appearing, tidy
from limner.data.table_writing import first_line, remembering
from limner.errors import DataError

QUESTION: Final = pa.struct([("question", pa.string()), ("answers", pa.list_(pa.string()))])
BOX: Final = pa.struct(
    [
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("label", pa.string()),
    ]
)
_PLAIN: Final = {"lance-encoding:compression": "none"}  # pictures are compressed already
SCHEMA: Final = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("image", pa.large_binary(), nullable=False, metadata=_PLAIN),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("sha256", pa.string()),
        ("phash", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("label", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("questions", pa.list_(QUESTION)),
        ("boxes", pa.list_(BOX)),
    ]
)


class Version(NamedTuple):
    """One version of a table: its number, when it was made (local time, ISO 8601) and why."""

    version: int
    time: str
    note: str


class Table:
    """A pairs table, at one version.

    Args:
        dataset: an open Lance dataset; use `Table.open` or `Table.write`.
        path: its folder.
    """

    def __init__(self, dataset: Any, path: Path) -> None:
        self._dataset = dataset
        self.path = path

    @classmethod
    def open(cls, path: str | Path, version: int | None = None) -> "Table":
        """Open a table, by default at its newest version.

        Raises: DataError when there is no table or no such version.
        """
        import lance

        path = Path(path)
        if not (path / "_versions").is_dir():
            what = "is not a limner table" if path.exists() else "does not exist"
            raise DataError(
                f"{path} {what}",
                wanted="the folder of a Lance table",
                hint="limner import SOURCE --out pairs.lance",
            )
        try:
            return cls(lance.dataset(str(path), version=version), path)
        except (ValueError, OSError) as error:
            known = [v["version"] for v in lance.dataset(str(path)).versions()] if version else []
            wanted = f"one of versions {known}" if known else ""
            raise DataError(f"{path} cannot be opened: {first_line(error)}", wanted=wanted) from error

    @classmethod
    def write(
        cls,
        path: str | Path,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema = SCHEMA,
        *,
        overwrite: bool = False,
        note: str = "written",
        record: dict[str, Any] | None = None,
    ) -> "Table":
        """Write a new table; it appears when it is whole, or not at all.

        Args:
            path: folder to make.
            batches: rows, in order; may be a generator that works as it goes.
            schema: of the batches; `SCHEMA` and perhaps more columns.
            overwrite: replace what is at `path`, at the end.
            note: shown by `versions`.
            record: JSON object kept with the version.
        Raises: DataError when `path` exists and `overwrite` is False, or the batches do not fit the schema;
            whatever `batches` raises.
        """
        import lance

        path = Path(path)
        tidy(path)
        if path.exists() and not overwrite:
            raise DataError(f"{path} exists already", hint="choose another --out, or pass --overwrite")
        failures: list[BaseException] = []
        with appearing(path) as unfinished:
            reader = pa.RecordBatchReader.from_batches(schema, remembering(batches, schema, failures))
            try:
                lance.write_dataset(
                    reader,
                    str(unfinished),
                    schema=schema,
                    transaction_properties=table_changes.properties(note, record),
                )
            except (OSError, ValueError) as error:
                if failures:
                    raise failures[0] from None
                raise DataError(f"{path} cannot be written: {first_line(error)}") from error
        return cls.open(path)

    @property
    def version(self) -> int:
        """Number of the version this table is at."""
        return int(self._dataset.version)

    @property
    def schema(self) -> pa.Schema:
        """Columns with their types."""
        return self._dataset.schema

    @property
    def num_rows(self) -> int:
        """Rows in the table."""
        return int(self._dataset.count_rows())

    @property
    def column_names(self) -> list[str]:
        """Columns, in order."""
        return list(self.schema.names)

    def __len__(self) -> int:
        return self.num_rows

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.path.absolute(), self.version)  # another process opens it itself

    def has(self, name: str) -> bool:
        """Whether the table has a column."""
        return name in self.column_names

    def rows(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Rows by position, in the order asked, repeats included.

        Args:
            indices: positions, [0, num_rows).
            columns: only these; all by default.
        Raises: DataError for an unknown column or a position out of range.
        """
        self._require(columns or ())
        if len(indices) and not 0 <= min(indices) <= max(indices) < self.num_rows:
            raise DataError(
                f"row {min(indices)} … {max(indices)} of {self.path}", wanted=f"0 <= row < {self.num_rows}"
            )
        found = self._dataset.take(list(indices), columns=list(columns) if columns else None)
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows

    def positions(self, where: str | None = None) -> Int64[np.ndarray, " n"]:
        """Positions of the rows that fit a filter, in order, as `rows` takes them.

        Args:
            where: SQL over the columns, such as "split = 'train' and width > 200"; every row by default. It
                is pushed down: only the columns it names are read.
        Raises: DataError for a filter that cannot be read or names no column.
        """
        if where is None:
            return np.arange(self.num_rows, dtype=np.int64)
        found = self._scan(["_rowoffset"], where).to_table()["_rowoffset"]
        return np.sort(found.to_numpy().astype(np.int64))

    def arrow(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Columns as an Arrow table, in row order.

        Args:
            columns: only these; all by default.
            where: SQL over the columns, see `positions`.
        Raises: DataError for an unknown column or a filter that cannot be read.
        """
        self._require(columns or ())
        return self._scan(columns, where).to_table()

    def column(self, name: str, where: str | None = None) -> list[Any]:
        """Every value of one column, in row order.

        Args:
            name: of the column.
            where: SQL over the columns, see `positions`.
        Raises: DataError for an unknown column or a filter that cannot be read.
        """
        values: list[Any] = self.arrow([name], where)[name].to_pylist()
        return values

    def batches(
        self, columns: Sequence[str] | None = None, batch_size: int = 256, where: str | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Walk the table in row order.

        Args:
            columns: only these; all by default.
            batch_size: most rows at a time.
            where: SQL over the columns, see `positions`.
        Raises: DataError for an unknown column or a filter that cannot be read.
        """
        self._require(columns or ())
        for batch in self._scan(columns, where, batch_size).to_batches():
            yield batch.to_pylist()

    def count(self, where: str | None = None) -> int:
        """How many rows fit a filter, see `positions`; DataError for one that cannot be read."""
        return self.num_rows if where is None else int(self._scan(["key"], where).count_rows())

    def _scan(self, columns: Sequence[str] | None, where: str | None, batch_size: int | None = None) -> Any:
        return table_reading.scanner(self._dataset, self.path, columns, filter=where, batch_size=batch_size)

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        note: str,
        record: dict[str, Any] | None = None,
        *,
        gone: Sequence[str] = (),
    ) -> "Table":
        """Add rows and replace those whose key is there, as one new version; they come to stand at the end.

        In a replaced row the columns that the batches lack (scores, vectors, decisions) become null: they
        were made from what it held before. Every other row keeps everything.

        Args:
            batches: rows with `key`, `image` and some of the table's columns; each key once.
            note: shown by `versions`.
            record: JSON object kept with the version.
            gone: keys of rows to leave out in the same version.
        Returns: the table at its new version; this one when there is nothing to change.
        Raises: DataError when a column is unknown, a key is missing or repeated, or the table changed
            meanwhile; whatever `batches` raises.
        """
        given = iter(batches)
        head = next(given, None)
        if head is None:
            return self.delete(gone, note, record) if len(gone) else self
        self._require(head.schema.names)
        needed = [field.name for field in self.schema if not field.nullable]
        if not set(needed) <= set(head.schema.names):
            raise DataError(f"rows of {', '.join(head.schema.names)}", wanted=" and ".join(needed))
        failures: list[BaseException] = []
        keys: set[str] = set()
        rows = remembering(table_changes.each_once(chain([head], given), keys), head.schema, failures)
        return self._changed(table_changes.upserted, rows, keys, gone, note, record, failures=failures)

    def delete(self, keys: Sequence[str], note: str, record: dict[str, Any] | None = None) -> "Table":
        """Leave rows out of one new version; older versions keep them. Keys that are not there do nothing.

        Raises: DataError when the table has changed since this one was opened.
        """
        return self._changed(table_changes.without, keys, note, record)

    def add_columns(self, columns: pa.Table, note: str, record: dict[str, Any] | None = None) -> "Table":
        """Add columns as one new version; those that exist already are replaced in the same commit.

        Args:
            columns: one row for each row of the table, in row order.
            note: what made them, shown by `versions`.
            record: JSON object kept with the version.
        Returns: the table at its new version; this one stays at its own.
        Raises: DataError when the row counts differ, or the table has changed since this one was opened.
        """
        if columns.num_rows != self.num_rows:
            raise DataError(f"{columns.num_rows} values for {self.num_rows} rows of {self.path}")
        return self._changed(table_changes.with_columns, columns, note, record)

    def restore(self, version: int, note: str | None = None) -> "Table":
        """Go back: a new version that equals an older one, and may itself be undone.

        Raises: DataError when there is no such version, or the table has changed since this one was opened.
        """
        Table.open(self.path, version)
        said = note or f"back to version {version}"
        return self._changed(table_changes.restored, version, said)

    def compact(self, keep_versions: int | None = None) -> dict[str, int]:
        """Join small files and drop deleted rows from disk; this table is then at the new version.

        Args:
            keep_versions: newest versions to keep, at least 1; all by default. Files of others go.
        Returns: files_removed, files_added, versions_removed, bytes_freed (below 0 where old versions stay).
        Raises: DataError when the table has changed since this one was opened.
        """
        before = self.bytes_on_disk()
        done = table_changes.committed(self._dataset, self.path, table_changes.compacted, keep_versions)
        return {**done, "bytes_freed": before - self.bytes_on_disk()}

    def bytes_on_disk(self) -> int:
        """Size of the table's folder, all versions together."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    def column_bytes(self) -> dict[str, int]:
        """Bytes on disk of each column at this version; deleted rows count until `compact`."""
        return table_reading.column_bytes(self._dataset)

    def versions(self) -> list[Version]:
        """Every version, oldest first, with its note."""

        def note(version: int) -> str:
            return table_changes.note_in(self._dataset.read_transaction(version))

        return [
            Version(v["version"], v["timestamp"].isoformat(timespec="seconds"), note(v["version"]))
            for v in self._dataset.versions()
        ]

    def record(self, version: int | None = None) -> dict[str, Any] | None:
        """The JSON object kept with a version, by default this one; None when it has none.

        Raises: DataError when there is no such version.
        """
        at = Table.open(self.path, version) if version else self
        return table_changes.record_in(self._dataset.read_transaction(at.version))

    def _changed(
        self, change: Callable[..., Any], *arguments: Any, failures: Sequence[BaseException] = ()
    ) -> "Table":
        made = table_changes.committed(self._dataset, self.path, change, *arguments, failures=failures)
        return Table(made, self.path)

    def _require(self, names: Iterable[str]) -> None:
        table_reading.require(self.path, self.column_names, names)


def _opened(path: Path, version: int) -> Table:
    return Table.open(path, version)
