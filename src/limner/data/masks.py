"""What each pixel shows: of generated scenes, exactly; of rows, from a column of PNG class numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from limner.data import intake
from limner.data.concepts import BY_NAME, CONCEPTS
from limner.data.scene_drawing import Plan, silhouettes
from limner.data.scenes import SceneSettings, plan_scene, scene
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.errors import DataError
from limner.shapes import ImageSpec

KINDS = ("ground", *dict.fromkeys(concept.category for concept in CONCEPTS))
"""Classes of the pixels of scenes: the ground, then the categories of things."""


class Masked(NamedTuple):
    """Pictures with the class of each pixel.

    Args:
        keys: unique names.
        images: u8 pixels at the model's size.
        masks: class numbers, of the same size.
    """

    keys: list[str]
    images: list[np.ndarray]
    masks: list[np.ndarray]


def scene_mask(plan: Plan) -> UInt8[np.ndarray, "y x"]:
    """Class numbers of the pixels of a scene, by `KINDS`; what lies above counts."""
    mask = np.zeros((plan.canvas_px, plan.canvas_px), np.uint8)
    for thing, seen in zip(plan.truth.things, silhouettes(plan), strict=True):
        mask[seen] = KINDS.index(BY_NAME[thing.concept].category)
    return mask


def masked_scenes(settings: SceneSettings, start: int, count: int, spec: ImageSpec) -> Masked:
    """Generated scenes with their masks.

    Args:
        settings: which family of scenes.
        start: number of the first.
        count: how many.
        spec: preprocessing of the model.
    """
    found = Masked([], [], [])
    for index in range(start, start + count):
        made = scene(settings, index)
        found.keys.append(made.key)
        found.images.append(to_u8(Image.fromarray(made.image), spec))
        found.masks.append(mask_at(scene_mask(plan_scene(settings, index)), spec))
    return found


def mask_at(mask: UInt8[np.ndarray, "y x"], spec: ImageSpec) -> UInt8[np.ndarray, "size size"]:
    """A mask as the model's square shows its picture: no class is mixed with another."""
    nearest = spec.model_copy(update={"resampling": "nearest", "pad_colour": (0, 0, 0)})
    square: np.ndarray = to_u8(Image.fromarray(mask).convert("RGB"), nearest)[..., 0]
    return square


def masked_rows(
    path: str | Path, spec: ImageSpec, column: str = "mask", where: str = "", count: int = 0
) -> Masked:
    """Rows of a table that have a mask: a PNG whose grey levels are class numbers.

    Args:
        path: the table.
        spec: preprocessing of the model.
        column: binary, one mask a row, of the picture's size.
        where: only rows this SQL filter holds for.
        count: the first so many; 0 is all.
    Raises: DataError when there is no such column or row.
    """
    table = Table.open(path)
    if not table.has(column):
        raise DataError(
            f"no column {column!r} in {path}",
            wanted="a binary column, PNG of class numbers as grey levels",
            hint="without --set table=… the task makes scenes",
        )
    positions = table.positions(f"({where}) AND {column} IS NOT NULL" if where else f"{column} IS NOT NULL")
    found = Masked([], [], [])
    for row in table.rows(positions[: count or None].tolist(), ["key", "image", column]):
        found.keys.append(row["key"])
        found.images.append(to_u8(intake.decode(row["image"], max_side=None), spec))
        grey = np.asarray(intake.decode(row[column], max_side=None))[..., 0]
        found.masks.append(mask_at(grey, spec))
    if not found.keys:
        raise DataError(f"no row of {path} with a {column}" + (f" where {where}" if where else ""))
    return found


def classes_in(masks: Sequence[UInt8[np.ndarray, "y x"]]) -> int:
    """One more than the largest class number."""
    return 1 + max(int(mask.max()) for mask in masks)
