"""How a table's files come to be: whole or not at all, and what Lance says of a failure in one line."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from limner.errors import DataError


def first_line(error: BaseException) -> str:
    """What went wrong, without the place in Lance's own source."""
    return str(error).split(", /")[0].splitlines()[0]


def remembering(
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
def appearing(path: Path) -> Iterator[Path]:
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


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
