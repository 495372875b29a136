"""The pairs table: one row a picture, in Lance. Columns are added beside the pictures, one version per verb.

Every change is one commit: a job killed at any moment leaves the version before it. Lance is not fork-safe;
processes that read a table are spawned and open it themselves. Lance is imported when a table is first
touched (0.5 s).
"""

import difflib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

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
SCHEMA: Final = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("image", pa.large_binary(), nullable=False),
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
            raise DataError(f"{path} cannot be opened: {_first_line(error)}", wanted=wanted) from error

    @classmethod
    def write(
        cls,
        path: str | Path,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema = SCHEMA,
        *,
        overwrite: bool = False,
        note: str = "written",
    ) -> "Table":
        """Write a new table; it appears when it is whole, or not at all.

        Args:
            path: folder to make.
            batches: rows, in order; may be a generator that works as it goes.
            schema: of the batches; `SCHEMA` and perhaps more columns.
            overwrite: replace what is at `path`, at the end.
            note: shown by `versions`.
        Raises: DataError when `path` exists and `overwrite` is False, or the batches do not fit the schema;
            whatever `batches` raises.
        """
        import lance

        path = Path(path)
        if path.exists() and not overwrite:
            raise DataError(f"{path} exists already", hint="choose another --out, or pass --overwrite")
        failures: list[BaseException] = []
        with _appearing(path) as unfinished:
            reader = pa.RecordBatchReader.from_batches(schema, _remembering(batches, schema, failures))
            try:
                lance.write_dataset(reader, str(unfinished), schema=schema, commit_message=note)
            except (OSError, ValueError) as error:
                if failures:
                    raise failures[0] from None
                raise DataError(f"{path} cannot be written: {_first_line(error)}") from error
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

    def column(self, name: str) -> list[Any]:
        """Every value of one column, in row order.

        Raises: DataError for an unknown column.
        """
        self._require([name])
        values: list[Any] = self._dataset.to_table(columns=[name])[name].to_pylist()
        return values

    def batches(
        self, columns: Sequence[str] | None = None, batch_size: int = 256
    ) -> Iterator[list[dict[str, Any]]]:
        """Walk the table in row order.

        Args:
            columns: only these; all by default.
            batch_size: most rows at a time.
        Raises: DataError for an unknown column.
        """
        self._require(columns or ())
        names = list(columns) if columns else None
        for batch in self._dataset.to_batches(columns=names, batch_size=batch_size, scan_in_order=True):
            yield batch.to_pylist()

    def add_columns(self, columns: pa.Table, note: str) -> "Table":
        """Add columns as one new version; those that exist already are replaced in the same commit.

        Args:
            columns: one row for each row of the table, in row order.
            note: what made them, shown by `versions`.
        Returns: the table at its new version; this one stays at its own.
        Raises: DataError when the row counts differ, or the table has changed since this one was opened.
        """
        import lance

        if columns.num_rows != self.num_rows:
            raise DataError(f"{columns.num_rows} values for {self.num_rows} rows of {self.path}")
        replaced = [name for name in columns.column_names if self.has(name)]
        base = self._detached_without(replaced) if replaced else self._dataset
        fragments, schema, begin = [], None, 0
        for fragment in base.get_fragments():
            part = columns.slice(begin, fragment.count_rows())
            begin += part.num_rows
            merged, schema = fragment.merge_columns(part.to_reader())
            fragments.append(merged)
        try:
            dataset = lance.LanceDataset.commit(
                self._dataset,
                lance.LanceOperation.Merge(fragments, schema),
                read_version=self.version,
                commit_message=note,
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path} changed since version {self.version} was opened: {_first_line(error)}",
                hint="open the table again and repeat",
            ) from error
        return Table(dataset, self.path)

    def versions(self) -> list[Version]:
        """Every version, oldest first, with its note."""
        return [
            Version(v["version"], v["timestamp"].isoformat(timespec="seconds"), self._note(v["version"]))
            for v in self._dataset.versions()
        ]

    def _note(self, version: int) -> str:
        transaction = self._dataset.read_transaction(version)
        properties = transaction.transaction_properties if transaction else {}
        return str((properties or {}).get("__lance_commit_message", ""))

    def _detached_without(self, names: Sequence[str]) -> Any:
        """This version without some columns, in a commit nobody sees: Lance adds no name that exists."""
        import lance

        rebuild, (metadata, *protos) = self._dataset.lance_schema.__reduce__()
        kept: list[bytes] = []
        begin = 0
        for field in self._dataset.lance_schema.fields():
            end = begin + _fields_in(field)
            kept += [] if field.name() in names else protos[begin:end]
            begin = end
        return lance.LanceDataset.commit(
            self._dataset,
            lance.LanceOperation.Project(rebuild(metadata, *kept)),
            read_version=self.version,
            detached=True,
        )

    def _require(self, names: Iterable[str]) -> None:
        for name in names:
            if not self.has(name):
                near = difflib.get_close_matches(name, self.column_names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else ""
                raise DataError(
                    f"{self.path} has no column {name!r}", wanted=", ".join(self.column_names), hint=hint
                )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _fields_in(field: Any) -> int:
    """A field and everything nested in it; Lance stores them one after the other."""
    return 1 + sum(_fields_in(child) for child in field.children())


def _first_line(error: BaseException) -> str:
    return str(error).split(", /")[0].splitlines()[0]


def _remembering(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, failures: list[BaseException]
) -> Iterator[pa.RecordBatch]:
    """Keep what a generator raises, Ctrl-C included; Lance would wrap it in an error of its own."""
    try:
        for batch in batches:
            if not batch.schema.equals(schema):
                raise DataError(f"rows of {_columns(batch.schema)}", wanted=_columns(schema))
            yield batch
    except BaseException as error:
        failures.append(error)
        raise


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A hidden folder that takes the name `path` when the block ends well, and is gone when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.name}.{os.getpid()}.unfinished"
    replaced = unfinished.with_suffix(".replaced")
    shutil.rmtree(unfinished, ignore_errors=True)
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
