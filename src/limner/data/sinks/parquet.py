"""Parquet files with the table's own columns; the picture is a struct {bytes, path}, which Hugging Face's
`datasets` reads as its Image feature.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from limner.data.sinks.row import OutRow, Plan

IMAGE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_GROUP_ROWS: Final = 100
_GROUP_BYTES: Final = 64 * 2**20


def write(rows: Iterable[OutRow], folder: Path, plan: Plan) -> None:
    """Write `00000.parquet` and so on into an empty folder."""
    schema = parquet_schema(plan.schema)
    for shard, members in groupby(rows, lambda row: row.number // plan.shard_size):
        with pq.ParquetWriter(folder / f"{shard:05d}.parquet", schema, compression="zstd") as writer:
            for group in _groups(members):
                writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def parquet_schema(schema: pa.Schema) -> pa.Schema:
    """The columns of a table with the picture as `datasets` wants it, and what tells it so."""
    fields = [pa.field("image", IMAGE) if field.name == "image" else field for field in schema]
    told = {"info": {"features": {"image": {"_type": "Image"}}}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(told)})


def _groups(rows: Iterable[OutRow]) -> Iterator[list[dict[str, Any]]]:
    """Rows by the hundred, fewer where pictures are large: readers hold one group in memory."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        image = {"bytes": row.image, "path": f"{row.number:09d}{row.suffix}"}
        group.append(row.values | {"image": image})
        size += len(row.image)
        if len(group) == _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
