"""Items to rows: keys that stay, pictures that are not decoded twice, and what counts as a change."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limner.data.import_rows import Existing, Identities, Keys, Known, RowMaker, existing_rows, open_item
from limner.data.intake import Limits
from limner.data.sources import ImportOptions, Item
from limner.data.table import Table
from limner.errors import DataError, PictureError


def picture(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def keys(**owners: str) -> Keys:
    known = {key.replace("_", "/"): Known(source, None, "", b"") for key, source in owners.items()}
    return Keys(Existing(known), Identities())


def test_a_key_belongs_to_the_source_that_came_first() -> None:
    made = keys(a="web")
    assert made.claim("web", "a") == "a"
    assert made.claim("s3://shop/photos/", "a") == "photos/a"
    assert made.claim("other/photos", "a") == "photos-2/a"
    assert made.claim("third/photos", "a") == "photos-3/a"
    assert made.claim("web", "a") is None


def test_a_key_stays_when_the_first_owner_is_gone() -> None:
    assert keys(photos_a="x/photos").claim("x/photos", "a") == "photos/a"


def test_a_source_is_known_however_its_address_is_spelt(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    identities = Identities()
    assert len({identities[name] for name in ("photos", "./photos/", str(tmp_path / "photos"))}) == 1
    assert identities["s3://shop/photos/"] == "s3://shop/photos"
    assert identities["a name"] == "a name"


def row_of(item: Item, existing: Existing | None = None, **options: str) -> dict[str, object]:
    existing = existing or Existing()
    maker = RowMaker(existing, Keys(existing, Identities()), ImportOptions(**options), redraw=False)
    return maker.row(item, "web", open_item(item, Limits(), existing.seen))


FULL = Item(
    *("a", "here", picture(), ("a cat",)),
    label="cat",
    split="train",
    licence="CC0",
    questions=(("what?", ("a cat", "cat")),),
    boxes=((0.1, 1, 2, 3, "cat"),),
)


def table_of(row: dict[str, object], path) -> Table:
    from limner.data.table import SCHEMA

    return Table.write(path, [pa.RecordBatch.from_pylist([row], schema=SCHEMA)])


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "unchanged"),
        ({"split": None}, "unchanged"),
        ({"texts": ("a cat", "nan")}, "unchanged"),
        ({"texts": ("a dog",)}, "updated"),
        ({"label": "dog"}, "updated"),
        ({"split": "test"}, "updated"),
        ({"licence": None}, "updated"),
        ({"questions": ()}, "updated"),
        ({"boxes": ((0.2, 1, 2, 3, "cat"),)}, "updated"),
        ({"picture": picture(1)}, "updated"),
        ({"key": "b"}, "added"),
    ],
)
def test_what_counts_as_a_change(tmp_path, change, state) -> None:
    existing = existing_rows(table_of(row_of(FULL), tmp_path / "t.lance"))
    row = row_of(FULL._replace(**change), existing)
    assert row["state"] == state
    assert ("image" in row) == (state != "unchanged")


def test_bytes_that_are_known_are_not_decoded(monkeypatch) -> None:
    first = open_item(FULL, Limits(), {})
    monkeypatch.setattr("limner.data.import_rows.identify", None)
    again = open_item(FULL, Limits(), {first.seen["sha256"]: first.seen})
    assert again == first


def test_limits_hold_for_known_bytes_too() -> None:
    first = open_item(FULL, Limits(), {})
    refused = open_item(FULL, Limits(max_pixels=40), {first.seen["sha256"]: first.seen})
    assert isinstance(refused, PictureError)
    assert refused.reason == "too_many_pixels"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Item("a", "x", None), "broken_row"),
        (Item("a", "x", None, refused=PictureError("404", reason="not_downloaded")), "not_downloaded"),
        (Item("a", "x", b""), "empty"),
    ],
)
def test_refused_items_say_why(item, reason) -> None:
    row = row_of(item)
    assert (row["state"], row["reason"], row["key"]) == ("refused", reason, "a")


def test_a_name_that_stands_twice_is_refused() -> None:
    maker = RowMaker(Existing(), Keys(Existing(), Identities()), ImportOptions(), redraw=False)
    rows = [maker.row(FULL, "web", open_item(FULL, Limits(), {})) for _ in range(2)]
    assert [row.get("reason") for row in rows] == [None, "repeated_key"]


def test_pixels_become_a_png() -> None:
    assert row_of(Item("a", "x", np.zeros((4, 5), np.uint8)))["format"] == "PNG"


def test_odd_text_never_breaks_a_row() -> None:
    row = row_of(FULL._replace(key="\udc80", label="\ud800x", questions=(("\ud800?", ()),)))
    pa.array([row["key"], row["label"], row["questions"][0]["question"]])


def test_a_table_of_other_columns_is_refused(tmp_path) -> None:
    plain = pa.table({"key": ["a"]})
    table = Table.write(tmp_path / "t.lance", plain.to_batches(), plain.schema)
    with pytest.raises(DataError, match="no pairs table: it has no image"):
        existing_rows(table)
