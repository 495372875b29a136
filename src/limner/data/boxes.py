"""Boxes of things in pictures: in the square that a model reads and back, and pictures with them as batches.

A row's `boxes` are pixels of the original picture; a sample's are pixels of the square, after the same
resizing and cutting as the picture itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from limner.data.batches import stacked
from limner.data.decoded_rows import DecodedRows
from limner.data.rows import Sample, chosen
from limner.data.table import Table
from limner.data.transforms import placement
from limner.errors import ConfigError, DataError
from limner.shapes import ImageSpec

COLUMNS = ("boxes", "width", "height")
_LEAST_PX = 1.0  # of a side that the square still shows of a thing


class Placed(NamedTuple):
    """Things in one picture.

    Args:
        boxes: x0, y0, x1, y1 in pixels of the square.
        labels: what each is.
    """

    boxes: Float32[np.ndarray, "n 4"]
    labels: tuple[str, ...]


class Boxed(NamedTuple):
    """Pictures with what is in them.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
        boxes: pixels of the square, filled up with zeros to the most of a picture.
        labels: numbers of the classes; -1 where a row is filled up.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]
    boxes: Float32[Tensor, "b n 4"]
    labels: Int64[Tensor, "b n"]


def in_square(row: Mapping[str, Any], spec: ImageSpec) -> Placed:
    """The boxes of a row, as the model's square shows them; what it cuts away is left out.

    Args:
        row: its `boxes`, `width` and `height`.
        spec: size and crop of the model.
    """
    rows = row["boxes"] or ()
    corners = np.array([[box[side] for side in ("x0", "y0", "x1", "y1")] for box in rows], np.float32)
    corners, labels = corners.reshape(-1, 4), [box["label"] or "" for box in rows]
    at = placement(row["width"], row["height"], spec)
    left, top, right, bottom = at.seen
    moved = corners * _twice(at.scale_x, at.scale_y) + _twice(at.left, at.top)
    moved = np.clip(moved, _twice(left, top), _twice(right, bottom))
    large = ((moved[:, 2:] - moved[:, :2]) >= _LEAST_PX).all(1)
    return Placed(moved[large], tuple(label for label, kept in zip(labels, large, strict=True) if kept))


def in_picture(
    boxes: Float[np.ndarray, "n 4"], width: int, height: int, spec: ImageSpec
) -> Float[np.ndarray, "n 4"]:
    """Boxes of the square as pixels of the original picture, cut at its border.

    Args:
        boxes: x0, y0, x1, y1 in the square.
        width: of the picture.
        height: likewise.
        spec: size and crop of the model.
    """
    at = placement(width, height, spec)
    back = (boxes - _twice(at.left, at.top)) / _twice(at.scale_x, at.scale_y)
    inside: np.ndarray = np.clip(back, 0, _twice(width, height))
    return inside


def _twice(x: float | int, y: float | int) -> Float32[np.ndarray, " 4"]:
    """For both corners of a box."""
    return np.array([x, y, x, y], np.float32)


class BoxRows(DecodedRows):
    """Rows of a table that have boxes, pictures with an empty list among them.

    Args:
        path: the table.
        spec: size and crop of the pictures.
        seed: of the order; nothing here is drawn.
        augment: "none": the step mirrors pictures and boxes together.
        version: of the table; the newest by default.
        where: only rows this SQL filter holds for.
    Raises: DataError when there is no such row; ConfigError for another augmentation.
    """

    def __init__(
        self,
        path: str | Path,
        spec: ImageSpec,
        seed: int,
        augment: str = "none",
        version: int | None = None,
        where: str | None = None,
    ) -> None:
        if augment != "none":
            raise ConfigError(
                f"augment {augment!r} for boxes, which would no longer fit the picture",
                wanted='augment = "none"',
                hint="objective.mirror turns pictures and boxes together",
            )
        table = boxed_table(path, version)
        super().__init__(table, spec, seed, COLUMNS, augment)
        self._positions = chosen(table, None, f"({where}) AND {HAS}" if where else HAS)

    def __len__(self) -> int:
        return len(self._positions)

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """Pictures with their boxes in `placed`.

        Raises: DataError that names the row whose picture cannot be used.
        """
        positions = self._positions[np.asarray(indices, np.int64)].tolist()
        return [
            Sample(
                row.key,
                np.asarray(row.image),
                "",
                image_id=position,
                placed=in_square(row.values, self._spec),
            )
            for row, position in zip(self.read(positions), positions, strict=True)
        ]


HAS = "boxes IS NOT NULL"
"""Filter of the rows that boxes were looked for in."""


def boxed_table(path: str | Path, version: int | None = None) -> Table:
    """Open a table that has boxes.

    Raises: DataError when it lacks a column that boxes need, or no row has any.
    """
    table = Table.open(path, version)
    missing = [name for name in COLUMNS if not table.has(name)]
    if missing or not table.count(HAS):
        raise DataError(
            f"{path} has no {missing[0] if missing else 'row with boxes'}",
            wanted="the column boxes, in pixels of the picture",
            hint="limner import reads COCO's JSON files, and Parquet with a column boxes",
        )
    return table


def classes_of(path: str | Path, version: int | None = None, where: str = "") -> tuple[str, ...]:
    """What the boxes of a table show, sorted."""
    column = boxed_table(path, version).column("boxes", where or None)
    return tuple(sorted({box["label"] for boxes in column for box in boxes or () if box["label"]}))


@dataclass(frozen=True)
class AsBoxed:
    """How samples become `Boxed`.

    Args:
        labels: class names in the order of their numbers.
    """

    labels: tuple[str, ...]

    def __call__(self, samples: Sequence[Sample]) -> Boxed:
        """Stack the pictures, number the classes, fill up the boxes.

        Raises: DataError for a sample without boxes, or a thing that is no class.
        """
        numbers = {label: number for number, label in enumerate(self.labels)}
        most = max((len(sample.placed.labels) for sample in samples if sample.placed), default=0)
        boxes = torch.zeros(len(samples), most, 4)
        labels = torch.full((len(samples), most), -1)
        for row, sample in enumerate(samples):
            boxes[row, : len(_placed(sample).labels)] = torch.from_numpy(_placed(sample).boxes)
            for column, label in enumerate(_placed(sample).labels):
                labels[row, column] = _number(sample.key, label, numbers)
        return Boxed([sample.key for sample in samples], stacked(samples), boxes, labels)


def _placed(sample: Sample) -> Placed:
    if sample.placed is None:
        raise DataError(f"row {sample.key!r} has no boxes", wanted='a source of kind "table" with boxes')
    placed: Placed = sample.placed
    return placed


def _number(key: str, label: str, numbers: Mapping[str, int]) -> int:
    if label not in numbers:
        known = list(numbers)
        raise DataError(
            f"row {key!r} has a box of {label!r}",
            wanted=f"one of {', '.join(known[:8])}{' …' * (len(known) > 8)}",
            hint="name all classes in data.labels, or leave such rows out by where",
        )
    return numbers[label]
