import datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from PIL import Image

from limner.data.sinks.row import Plan, out_row, plain, typed, written_names
from limner.data.table import SCHEMA
from limner.errors import DataError

PLAN = Plan(SCHEMA, ("key", "image", "texts"), (), 1, (), 10)
NAMES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tiff"}


@pytest.mark.parametrize("kind", [*NAMES, "AVIF"])
def test_the_suffix_is_told_from_the_bytes(kind, tmp_path):
    path = tmp_path / "x.dat"
    Image.new("RGB", (9, 9)).save(path, kind)
    row = out_row(3, {"key": "k.png", "image": path.read_bytes(), "texts": ["t"]}, PLAN)
    assert row.suffix == NAMES.get(kind, ".avif")
    assert (row.number, row.key, row.texts, row.record) == (
        3,
        "k.png",
        ["t"],
        {"key": "k.png", "texts": ["t"]},
    )


def test_heic_is_known_by_its_box():
    row = {"key": "k", "image": b"\x00\x00\x00\x18ftypheic\x00\x00", "texts": []}
    assert out_row(0, row, PLAN).suffix == ".heic"


def test_bytes_that_are_no_picture_are_refused():
    with pytest.raises(DataError, match="'k' holds no picture"):
        out_row(0, {"key": "k", "image": b"", "texts": []}, PLAN)


def test_values_become_what_json_can_hold():
    day = datetime.date(2024, 5, 17)
    value = {"a": [1, 2.5, True, None, float("inf")], "b": {"c": (day, Decimal("1.5"))}}
    assert plain(value) == {"a": [1, 2.5, True, None, None], "b": {"c": ["2024-05-17", "1.5"]}}


def test_a_null_text_is_typed_and_nothing_else_changes():
    record = {"key": "k", "label": None, "width": None, "texts": [], "boxes": None, "unknown": None}
    assert typed(record, SCHEMA) == record | {"label": ""}


def test_pictures_other_bytes_and_vectors_do_not_fit_into_json():
    extra = [("thumb", pa.binary()), ("vector", pa.list_(pa.float32(), 4)), ("score", pa.float32())]
    names = written_names(pa.schema([*SCHEMA, *extra]))
    assert names == [*(name for name in SCHEMA.names if name != "image"), "score"]
