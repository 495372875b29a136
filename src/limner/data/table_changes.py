"""Changes of a table, each one commit: what Lance is told to do, with a note and a record.

A record is a JSON object kept with the version in the same commit, so that a version and what is known of it
can never come apart. Rows are replaced by leaving them out and adding them again, not by Lance's merge: that
holds all new rows in memory (three times their size, measured), this a few batches.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from limner.data.table_reading import field_numbers
from limner.data.table_writing import first_line
from limner.errors import DataError

NOTE: Final = "__lance_commit_message"
_RECORD: Final = "limner_record"
_OWN_NOTES: Final = {"Rewrite": "compacted", "ReserveFragments": "room for compaction"}
_COMPACT_ROWS: Final = 64


def committed(
    dataset: Any,
    path: Path,
    change: Callable[..., Any],
    *arguments: Any,
    failures: Sequence[BaseException] = (),
) -> Any:
    """What `change` makes of a data set.

    Args:
        dataset: at its newest version, or it is refused.
        path: for messages.
        change: one of the functions below; it gets the data set and `arguments`.
        failures: what the rows to write have raised; it comes before what Lance says of it.
    Raises: DataError when the table has changed since it was opened, or Lance refuses.
    """
    from lance.commit import CommitConflictError

    stale = DataError(
        f"{path} changed since version {dataset.version} was opened", hint="open the table again and repeat"
    )
    if dataset.latest_version != dataset.version:
        raise stale
    try:
        return change(dataset, *arguments)
    except CommitConflictError as error:
        raise stale from error
    except (OSError, ValueError) as error:
        if failures:
            raise failures[0] from None
        raise DataError(f"{path} cannot be changed: {first_line(error)}") from error


def upserted(
    dataset: Any,
    batches: Iterable[pa.RecordBatch],
    keys: set[str],
    gone: Sequence[str],
    note: str,
    record: dict[str, Any] | None,
) -> Any:
    """The data set with rows replaced by key or added, and others left out.

    Columns that the batches lack become null in them. `keys` are those of the batches, known at their end.
    """
    from lance.fragment import write_fragments

    schema = dataset.schema
    reader = pa.RecordBatchReader.from_batches(schema, (_widened(batch, schema) for batch in batches))
    added = write_fragments(reader, dataset, schema=schema, mode="append")
    transaction = _removal(dataset, [*keys, *gone])
    transaction.operation.new_fragments = added
    return _commit(dataset, transaction, note, record)


def without(dataset: Any, keys: Sequence[str], note: str, record: dict[str, Any] | None) -> Any:
    """The data set without the rows of these keys."""
    return _commit(dataset, _removal(dataset, keys), note, record)


def each_once(batches: Iterable[pa.RecordBatch], seen: set[str]) -> Iterator[pa.RecordBatch]:
    """Batches whose every key is there and has not been seen; adds them to `seen`.

    Raises: DataError when a key is missing or comes twice.
    """
    for batch in batches:
        for key in batch["key"].to_pylist():
            if key is None or key in seen:
                raise DataError(
                    f"a row without a key, or with one that came before: {key!r}", wanted="each key once"
                )
            seen.add(key)
        yield batch


def with_columns(dataset: Any, columns: pa.Table, note: str, record: dict[str, Any] | None) -> Any:
    """The data set with columns added in row order; those that exist already are replaced."""
    import lance

    replaced = [name for name in columns.column_names if name in dataset.schema.names]
    base = _detached_without(dataset, replaced) if replaced else dataset
    fragments, schema, begin = [], None, 0
    for fragment in base.get_fragments():
        part = columns.slice(begin, fragment.count_rows())
        begin += part.num_rows
        merged, schema = fragment.merge_columns(part.to_reader())
        fragments.append(merged)
    if schema is None:
        raise DataError("columns for a table without rows", wanted="at least one row")
    used = {number for field in schema.fields() for number in field_numbers(field)}
    for fragment in fragments:
        fragment.files = [file for file in fragment.files if used.intersection(file.fields)]
    return _commit_operation(dataset, lance.LanceOperation.Merge(fragments, schema), note, record)


def restored(dataset: Any, version: int, note: str) -> Any:
    """The data set as an older version had it."""
    import lance

    return _commit_operation(dataset, lance.LanceOperation.Restore(version), note, None)


def compacted(dataset: Any, keep_versions: int | None) -> dict[str, int]:
    """Join small files of a data set, which is then at the new version; remove those of old versions."""
    from datetime import timedelta

    done = dataset.optimize.compact_files(batch_size=_COMPACT_ROWS)
    removed = 0
    if keep_versions is not None:
        removed = dataset.cleanup_old_versions(timedelta(0), retain_versions=keep_versions).old_versions
    return {
        "files_removed": int(done.files_removed),
        "files_added": int(done.files_added),
        "versions_removed": int(removed),
    }


def properties(note: str, record: dict[str, Any] | None) -> dict[str, str]:
    """What goes into a commit: its note and its record."""
    kept = {} if record is None else {_RECORD: json.dumps(record, ensure_ascii=False)}
    return {NOTE: note} | kept


def note_in(transaction: Any) -> str:
    """The note of a commit; what Lance does by itself is named too."""
    said = _kept(transaction).get(NOTE)
    return said or _OWN_NOTES.get(type(transaction.operation).__name__ if transaction else "", "")


def record_in(transaction: Any) -> dict[str, Any] | None:
    """The record of a commit, or None."""
    text = _kept(transaction).get(_RECORD)
    record: dict[str, Any] | None = json.loads(text) if text else None
    return record


def _kept(transaction: Any) -> dict[str, str]:
    return dict((transaction and transaction.transaction_properties) or {})


def _removal(dataset: Any, keys: Sequence[str]) -> Any:
    """A transaction that leaves out the rows of these keys."""
    schema = pa.schema([pa.field(field.name, field.type, field.name != "key") for field in dataset.schema])
    gone = _widened(pa.record_batch([pa.array(keys, pa.string())], names=["key"]), schema)
    builder = dataset.merge_insert("key").when_matched_delete()
    return builder.execute_uncommitted(pa.Table.from_batches([gone]))[0]


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with every column of a schema, nulls where it has none."""
    names = batch.schema.names
    columns = [
        batch[field.name].cast(field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _commit_operation(dataset: Any, operation: Any, note: str, record: dict[str, Any] | None) -> Any:
    from lance.dataset import Transaction

    return _commit(dataset, Transaction(dataset.version, operation, str(uuid.uuid4())), note, record)


def _commit(dataset: Any, transaction: Any, note: str, record: dict[str, Any] | None) -> Any:
    import lance

    transaction.transaction_properties = properties(note, record)
    return lance.LanceDataset.commit(dataset, transaction, read_version=dataset.version, max_retries=0)


def _detached_without(dataset: Any, names: Sequence[str]) -> Any:
    """This version without some columns, in a commit nobody sees: Lance adds no name that exists.

    Their files stay until `with_columns` leaves them out: so Lance gives no number of theirs a second time.
    """
    import lance

    rebuild, (metadata, *protos) = dataset.lance_schema.__reduce__()
    kept: list[bytes] = []
    begin = 0
    for field in dataset.lance_schema.fields():
        end = begin + len(field_numbers(field))
        kept += [] if field.name() in names else protos[begin:end]
        begin = end
    return lance.LanceDataset.commit(
        dataset,
        lance.LanceOperation.Merge(_fragments(dataset), rebuild(metadata, *kept)),
        read_version=dataset.version,
        detached=True,
    )


def _fragments(dataset: Any) -> list[Any]:
    return [fragment.metadata for fragment in dataset.get_fragments()]
