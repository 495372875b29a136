"""WebDataset tars as img2dataset lays them out.

`00000.tar` holds `000000000.jpg`, `.txt` (the first text) and `.json` (the whole record) of each row;
`00000.parquet` the records of the shard with their status, `00000_stats.json` its counts. Members are named
by number, whatever the key is: a key never becomes a path. The same table gives the same bytes. A null text
of the record is "", since `datasets` takes a field's type from the first records.
"""

import io
import json
import tarfile
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from limner.data.sinks.row import OutRow, Plan, typed

_PEER_FIELDS: Final = ("url", "caption", "status", "error_message")


def write(rows: Iterable[OutRow], folder: Path, plan: Plan) -> None:
    """Write the shards into an empty folder."""
    own = [plan.schema.field(name) for name in plan.names if name not in _PEER_FIELDS]
    schema = pa.schema([*((name, pa.string()) for name in _PEER_FIELDS), *own])
    for shard, members in groupby(rows, lambda row: row.number // plan.shard_size):
        _write_shard(members, folder / f"{shard:05d}", schema)


def _write_shard(rows: Iterable[OutRow], stem: Path, schema: pa.Schema) -> None:
    records = []
    with tarfile.open(f"{stem}.tar", "w") as tar:
        for row in rows:
            peer = _peer_fields(row)
            name = f"{row.number:09d}"
            _add(tar, name + row.suffix, row.image)
            _add(tar, f"{name}.txt", peer["caption"].encode())
            text = json.dumps(typed(row.record, schema) | peer, ensure_ascii=False)
            _add(tar, f"{name}.json", text.encode())
            records.append({name: row.values.get(name) for name in schema.names} | peer)
    pq.write_table(pa.Table.from_pylist(records, schema=schema), f"{stem}.parquet")
    counts = {
        "count": len(records),
        "successes": len(records),
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "status_dict": {"success": len(records)},
    }
    Path(f"{stem}_stats.json").write_text(json.dumps(counts, indent=4), encoding="utf-8")


def _peer_fields(row: OutRow) -> dict[str, Any]:
    return {
        "url": row.key if "://" in row.key else "",
        "caption": row.texts[0] if row.texts else "",
        "status": "success",
        "error_message": None,
    }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
