"""The rows a task measures on: names, classes and texts at once, pictures batch by batch."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int
from PIL import Image

from limner.data import intake
from limner.data.table import Table
from limner.errors import DataError
from limner.suite.selection import Selection

T = TypeVar("T")

_KNOWN: Final = ("key", "sha256", "label", "questions", "boxes")


class Rows(NamedTuple):
    """Rows of a table, without their pictures.

    Args:
        table: at one version.
        positions: of the rows in it.
        keys: of the rows.
        pictures: SHA-256 of each picture; the key where the table has none.
        labels: class of each, "" where it has none.
        texts: those that say something; empty lists where the table has none.
    """

    table: Table
    positions: Int[np.ndarray, " n"]
    keys: list[str]
    pictures: list[str]
    labels: list[str]
    texts: list[list[str]]

    def only(self, wanted: Sequence[int]) -> "Rows":
        """Some of the rows, by their places here."""

        def taken(column: list[T]) -> list[T]:
            return [column[place] for place in wanted]

        return Rows(
            self.table,
            self.positions[np.asarray(wanted, int)],
            taken(self.keys),
            taken(self.pictures),
            taken(self.labels),
            taken(self.texts),
        )

    def labelled(self) -> "Rows":
        """Those that have a class.

        Raises: DataError when none has.
        """
        found = self.only([place for place, label in enumerate(self.labels) if label])
        if not found.keys:
            raise DataError(
                f"none of {len(self.keys)} rows of {self.table.path} has a label",
                wanted="a class name in the column label",
                hint="limner import FOLDER takes it from a folder a class",
            )
        return found

    def captioned(self) -> "Rows":
        """Those that have a text.

        Raises: DataError when none has.
        """
        found = self.only([place for place, texts in enumerate(self.texts) if texts])
        if not found.keys:
            raise DataError(
                f"none of {len(self.keys)} rows of {self.table.path} has a text",
                wanted="captions in the column texts",
                hint="--texts-column NAME for another column",
            )
        return found

    def batches(self, prepare: Callable[[Image.Image], Any], size: int) -> Iterator[tuple[range, list[Any]]]:
        """Pictures, opened and prepared by two threads, one batch at a time, with their places.

        Args:
            prepare: from an upright RGB picture to what the model reads.
            size: pictures at a time.
        """

        def read(row: dict[str, Any]) -> Any:
            return prepare(intake.decode(row["image"], max_side=None))

        with ThreadPoolExecutor(2) as threads:
            for start in range(0, len(self.keys), size):
                places = range(start, min(start + size, len(self.keys)))
                rows = self.table.rows(self.positions[start : places.stop].tolist(), ["image"])
                yield places, list(threads.map(read, rows))


def rows_of(selection: Selection) -> Rows:
    """Read what is asked for.

    Raises: DataError when there is no table or no such column, or no row is left.
    """
    table = Table.open(selection.path, selection.version)
    texts_column = selection.texts_column
    if texts_column != "texts" and not table.has(texts_column):
        raise DataError(
            f"no column {texts_column!r} in {selection.path}",
            wanted=f"one of {', '.join(table.column_names)}",
            hint="--texts-column texts",
        )
    columns = [name for name in ("key", "sha256", "label", texts_column) if table.has(name)]
    where = selection.where or None
    positions, found = table.positions(where), table.arrow(columns, where)
    if not len(positions):
        raise DataError(
            f"no row of {selection.path}" + (f" where {selection.where}" if where else ""),
            wanted="one or more rows",
            hint=f"limner table {selection.path} shows what its columns hold",
        )
    count = selection.count or len(positions)
    read = {name: found[name].to_pylist()[:count] for name in columns}
    keys = read["key"]
    texts = read.get(selection.texts_column) or [None] * len(keys)
    return Rows(
        table,
        positions[:count],
        keys,
        [sha or key for sha, key in zip(read.get("sha256") or keys, keys, strict=True)],
        [label or "" for label in read.get("label") or [None] * len(keys)],
        [[text for text in some or () if text and text.strip()] for some in texts],
    )


def rows_digest(selection: Selection) -> str:
    """First 12 hex digits of the SHA-256 of all that the rows say, pictures by their own digest."""
    table = Table.open(selection.path, selection.version)
    columns = [name for name in (*_KNOWN, selection.texts_column) if table.has(name)]
    rows = table.arrow(columns, selection.where or None).to_pylist()
    hasher = hashlib.sha256()
    for row in rows[: selection.count or None]:
        hasher.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return hasher.hexdigest()[:12]
