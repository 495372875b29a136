"""Masks lie on their pictures."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limner.data.masks import KINDS, classes_in, mask_at, masked_rows, masked_scenes, scene_mask
from limner.data.scenes import SceneSettings, plan_scene, scene
from limner.data.table import SCHEMA, Table
from limner.errors import DataError
from limner.shapes import ImageSpec

PLAIN = SceneSettings(seed=5, jitter=False, canvas_px=96, styles=("openmoji",))


def test_a_scenes_mask_is_where_it_differs_from_its_ground() -> None:
    plan, image = plan_scene(PLAIN, 2), scene(PLAIN, 2).image.astype(int)
    mask = scene_mask(plan)
    drawn = (np.abs(image - np.array(plan.ground)) > 0).any(-1)
    assert mask.any()
    assert not (mask[~drawn] > 0).any()
    assert set(np.unique(mask).tolist()) <= set(range(len(KINDS)))
    for thing in plan.truth.things:
        x0, y0, x1, y1 = thing.box
        assert mask[y0:y1, x0:x1].any()


def test_scenes_come_at_the_models_size() -> None:
    found = masked_scenes(PLAIN, 0, 3, ImageSpec(size=32))
    assert [mask.shape for mask in found.masks] == [(32, 32)] * 3
    assert [image.shape for image in found.images] == [(32, 32, 3)] * 3
    assert classes_in(found.masks) <= len(KINDS)


def test_resizing_mixes_no_classes() -> None:
    mask = np.zeros((50, 40), np.uint8)
    mask[:, 20:] = 7
    assert set(np.unique(mask_at(mask, ImageSpec(size=16, resampling="bicubic"))).tolist()) == {0, 7}


def _png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_rows_bring_theirs(tmp_path: Path) -> None:
    schema = SCHEMA.append(pa.field("mask", pa.large_binary()))
    mask = np.zeros((8, 8), np.uint8)
    mask[:4] = 3
    rows = [
        {"key": "a", "image": _png(np.zeros((8, 8, 3), np.uint8)), "mask": _png(mask)},
        {"key": "b", "image": _png(np.zeros((8, 8, 3), np.uint8)), "mask": None},
    ]
    table = Table.write(tmp_path / "m.lance", [pa.RecordBatch.from_pylist(rows, schema)], schema)
    found = masked_rows(table.path, ImageSpec(size=8))
    assert found.keys == ["a"]
    np.testing.assert_array_equal(found.masks[0], mask)
    with pytest.raises(DataError, match="no row"):
        masked_rows(table.path, ImageSpec(size=8), where="key = 'b'")
    with pytest.raises(DataError, match="no column 'other'"):
        masked_rows(table.path, ImageSpec(size=8), "other")
