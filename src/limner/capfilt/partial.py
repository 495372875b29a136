"""Measured rows on their way into the table: a folder beside it that a later run goes on from.

Each part is one Parquet file of rows in table order, written aside and renamed, so that a part is there
whole or not at all. The folder's name holds the identity of the measurement: a run with another model, seed
or decoding has its own.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from limner.capfilt.decision import MEASURED


class PartialRows:
    """Append-only store of measured rows.

    Args:
        table: path of the table that is being cleaned.
        identity: of the measurement.
    """

    def __init__(self, table: Path, identity: str) -> None:
        self.folder = table.with_name(f"{table.name}.capfilt-{identity}")

    def read(self) -> pa.Table:
        """All rows written so far, without a gap from row 0 on."""
        parts: list[pa.Table] = []
        for path in sorted(self.folder.glob("rows-*.parquet")):
            if path.name != self._name(sum(part.num_rows for part in parts)):
                break
            parts.append(pq.read_table(path, schema=MEASURED))
        return pa.concat_tables([MEASURED.empty_table(), *parts])

    def append(self, start: int, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows `start`, `start + 1`, … as one part."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / self._name(start)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=MEASURED), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def remove(self) -> None:
        """Take the folder away, once its rows are in the table."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _name(start: int) -> str:
        return f"rows-{start:09d}.parquet"
