"""What goes wrong while a table is written, as it was raised, and what Lance says of it in one line."""

from collections.abc import Iterable, Iterator

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


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
