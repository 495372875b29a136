"""What a measure reads of a table: pictures at the model's size, their texts, their classes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from limner.data import intake, transforms
from limner.data.table import Table
from limner.errors import DataError
from limner.shapes import ImageSpec


class Pictured(NamedTuple):
    """Rows to measure on.

    Args:
        keys: of the rows.
        images: u8 pixels at the model's size.
        texts: all texts of each row that say something; empty lists where the table has none.
        labels: class of each row, "" where it has none.
    """

    keys: list[str]
    images: list[np.ndarray]
    texts: list[list[str]]
    labels: list[str]

    def pairs(self) -> tuple[list[str], list[int]]:
        """All texts, and the row that each belongs to."""
        return [text for texts in self.texts for text in texts], [
            row for row, texts in enumerate(self.texts) for _ in texts
        ]


def pictured(
    path: str | Path,
    spec: ImageSpec,
    *,
    where: str = "",
    count: int = 0,
    version: int | None = None,
    texts_column: str = "texts",
    needed: Callable[[list[str], str], bool] = lambda texts, label: True,
) -> Pictured:
    """Read rows of a table, decoded by two threads.

    Args:
        path: the table.
        spec: preprocessing of the model.
        where: only rows this SQL filter holds for.
        count: the first so many rows; 0 is all.
        version: of the table; None is the newest.
        texts_column: where the texts are.
        needed: whether a row with these texts and this label is of use.
    Raises: DataError when no row is left, or one cannot be decoded.
    """
    table = Table.open(path, version)
    wanted = [name for name in (texts_column, "label") if table.has(name)]
    positions = table.positions(where or None)
    found = Pictured([], [], [], [])
    with ThreadPoolExecutor(2) as threads:
        for start in range(0, len(positions), 256):
            rows = table.rows(positions[start : start + 256].tolist(), ["key", "image", *wanted])
            read = [
                (
                    row,
                    [t for t in row.get(texts_column) or () if t and t.strip()],
                    row.get("label") or "",
                )
                for row in rows
            ]
            read = [item for item in read if needed(item[1], item[2])]
            if count:
                read = read[: count - len(found.keys)]
            found.images.extend(threads.map(lambda item: _pixels(item[0]["image"], spec), read))
            for row, texts, label in read:
                found.keys.append(row["key"])
                found.texts.append(texts)
                found.labels.append(label)
            if count and len(found.keys) == count:
                break
    if not found.keys:
        raise DataError(
            f"no row of {path} to measure on" + (f" where {where}" if where else ""),
            wanted="rows with what is measured: labels for classes, texts for retrieval",
        )
    return found


def _pixels(image: bytes, spec: ImageSpec) -> np.ndarray:
    return transforms.to_u8(intake.decode(image, max_side=None), spec)
