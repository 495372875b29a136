"""Boxes follow their picture into the square and back."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limner.data.boxes import AsBoxed, BoxRows, Placed, boxed_table, classes_of, in_picture, in_square
from limner.data.rows import Sample
from limner.data.table import SCHEMA, Table
from limner.data.transforms import to_u8
from limner.errors import ConfigError, DataError
from limner.shapes import ImageSpec

SIZES = [(60, 40), (40, 60), (50, 50), (33, 97)]
SPECS = [ImageSpec(size=32, crop=crop, resampling="bilinear") for crop in ("squash", "center", "pad")]


def box(x0: float, y0: float, x1: float, y1: float, label: str = "thing") -> dict[str, object]:
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "label": label}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.crop)
@pytest.mark.parametrize("size", SIZES)
def test_a_box_lies_where_its_pixels_lie(spec: ImageSpec, size: tuple[int, int]) -> None:
    width, height = size
    own = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    image = Image.new("RGB", size)
    image.paste("white", own)
    lit = np.argwhere(to_u8(image, spec)[..., 0] > 127)
    (top, left), (bottom, right) = lit.min(0), lit.max(0) + 1
    placed = in_square({"boxes": [box(*own)], "width": width, "height": height}, spec)
    np.testing.assert_allclose(placed.boxes[0], [left, top, right, bottom], atol=1.0)
    assert placed.boxes.dtype == np.float32


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.crop)
def test_back_in_the_picture_a_box_is_what_it_was(spec: ImageSpec) -> None:
    row = {"boxes": [box(20, 15, 35, 30)], "width": 60, "height": 40}
    back = in_picture(in_square(row, spec).boxes, 60, 40, spec)
    np.testing.assert_allclose(back, [[20, 15, 35, 30]], atol=1e-3)
    assert in_picture(np.array([[-9, -9, 99, 99]], np.float32), 60, 40, spec).max() <= 60


def test_what_the_square_cuts_away_is_left_out() -> None:
    row = {"boxes": [box(0, 0, 4, 40, "edge"), box(25, 5, 35, 35, "middle")], "width": 60, "height": 40}
    assert in_square(row, SPECS[1]).labels == ("middle",)
    assert in_square(row, SPECS[2]).labels == ("edge", "middle")
    assert in_square({"boxes": None, "width": 60, "height": 40}, SPECS[2]).boxes.shape == (0, 4)


def table_of(folder: Path, boxes: list[list[dict[str, object]] | None]) -> Table:
    rows = []
    for number, own in enumerate(boxes):
        file = io.BytesIO()
        Image.new("RGB", (60, 40), (number, 0, 0)).save(file, "PNG")
        size = {"width": 60, "height": 40}
        rows.append({"key": str(number), "image": file.getvalue(), "boxes": own, "split": "train"} | size)
    return Table.write(folder / "boxes.lance", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)


def test_rows_bring_their_boxes_and_a_batch_fills_up(tmp_path: Path) -> None:
    two = [box(0, 0, 30, 20, "cat"), box(30, 20, 60, 40, "ant")]
    table = table_of(tmp_path, [two, None, [box(0, 0, 60, 40, "cat")], []])
    rows = BoxRows(table.path, SPECS[0], 0)
    assert len(rows) == 3  # nobody looked for boxes in the second
    batch = AsBoxed(classes_of(table.path))(rows.samples([0, 1, 2], 0))
    assert batch.keys == ["0", "2", "3"]
    assert batch.labels.tolist() == [[1, 0], [1, -1], [-1, -1]]
    assert batch.boxes[0].tolist() == [[0, 0, 16, 16], [16, 16, 32, 32]]
    assert batch.boxes[2].tolist() == [[0, 0, 0, 0]] * 2
    assert batch.images.shape == (3, 3, 32, 32)
    assert len(BoxRows(table.path, SPECS[0], 0, where="key = '0'")) == 1


def test_errors_say_what_is_wanted(tmp_path: Path) -> None:
    table = table_of(tmp_path, [[box(0, 0, 30, 20, "cat")]])
    with pytest.raises(ConfigError, match=r"objective\.mirror"):
        BoxRows(table.path, SPECS[0], 0, "inception")
    with pytest.raises(DataError, match="box of 'cat'"):
        AsBoxed(("dog",))(BoxRows(table.path, SPECS[0], 0).samples([0], 0))
    with pytest.raises(DataError, match="has no boxes"):
        AsBoxed(("dog",))([Sample("a", np.zeros((4, 4, 3), np.uint8), "")])
    with pytest.raises(DataError, match="no row with boxes"):
        boxed_table(table_of(tmp_path / "none", [None]).path)


def test_a_placed_thing_is_plain() -> None:
    assert Placed(np.zeros((0, 4), np.float32), ()).labels == ()
