"""Measured rows on their way into the table: a folder beside it that a later run goes on from.

Each part is one Parquet file of rows in table order, written aside and renamed, so that a part is there
whole or not at all. The folder's name holds the identity of the measurement: a run with another model, seed
or decoding has its own. Parts may come in any order; what lies between them is still to be measured.
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
    """Store of measured rows.

    Args:
        table: path of the table that is being cleaned.
        identity: of the measurement.
    """

    def __init__(self, table: Path, identity: str) -> None:
        self.folder = table.with_name(f"{table.name}.capfilt-{identity}")

    @property
    def num_rows(self) -> int:
        """Rows written so far."""
        return sum(map(len, self._parts().values()))

    def gaps(self, total: int) -> list[range]:
        """The positions of a table of `total` rows that are not there yet, in order."""
        starts = [0, *(part.stop for part in self._parts().values())]
        stops = [*(part.start for part in self._parts().values()), total]
        return [range(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]

    def read(self) -> pa.Table:
        """All rows written so far, in table order."""
        parts = [pq.read_table(path, schema=MEASURED) for path in self._parts()]
        return pa.concat_tables([MEASURED.empty_table(), *parts])

    def append(self, start: int, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows `start`, `start + 1`, … as one part."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"rows-{start:09d}.parquet"
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=MEASURED), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def remove(self) -> None:
        """Take the folder away, once its rows are in the table."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _parts(self) -> dict[Path, range]:
        """Each part with its positions, in order; one that overlaps with the part before it is none."""
        parts: dict[Path, range] = {}
        end = 0
        for path in sorted(self.folder.glob("rows-*.parquet")):
            start = int(path.stem.removeprefix("rows-"))
            if start >= end:
                end = start + int(pq.read_metadata(path).num_rows)
                parts[path] = range(start, end)
        return parts


class PartWriter:
    """Gathers measured rows into parts of a store.

    Args:
        partial: the store.
        rows: of a part, at least, where as many follow each other.
    """

    def __init__(self, partial: PartialRows, rows: int) -> None:
        self._partial, self._least = partial, rows
        self._start, self._waiting = 0, list[dict[str, Any]]()

    def add(self, start: int, rows: Sequence[dict[str, Any]]) -> None:
        """Take rows `start`, `start + 1`, …; they are on disk with their part."""
        if start != self._start + len(self._waiting):
            self.flush()
            self._start = start
        self._waiting += rows
        if len(self._waiting) >= self._least:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._partial.append(self._start, self._waiting)
        self._start, self._waiting = self._start + len(self._waiting), []
