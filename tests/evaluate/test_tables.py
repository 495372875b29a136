import io
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from limner.data.table import SCHEMA, Table
from limner.errors import DataError
from limner.evaluate.tables import pictured
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=8)


def row(number: int) -> dict[str, object]:
    file = io.BytesIO()
    Image.new("RGB", (12, 10), (number, 0, 0)).save(file, "PNG")
    texts = [f"text {number}", "", None, "more"][: number % 4]
    label = "even" if number % 2 == 0 else None
    return {"key": f"k{number:03d}", "image": file.getvalue(), "texts": texts, "label": label}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "rows.lance"
    rows = [{**row(n % 250), "key": f"k{n:03d}"} for n in range(300)]
    Table.write(path, [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)
    return path


def test_rows_come_in_order_with_their_texts_and_labels(table: Path) -> None:
    found = pictured(table, SPEC)
    assert len(found.keys) == len(found.images) == len(found.texts) == len(found.labels) == 300
    assert found.keys[:2] == ["k000", "k001"]
    assert [image[0, 0, 0] for image in found.images] == [n % 250 for n in range(300)]
    assert found.images[0].shape == (8, 8, 3)
    assert found.texts[:4] == [[], ["text 1"], ["text 2"], ["text 3"]]
    assert found.labels[:3] == ["even", "", "even"]


def test_pairs_name_the_row_of_each_text(table: Path) -> None:
    texts, owners = pictured(table, SPEC, count=4).pairs()
    assert texts == ["text 1", "text 2", "text 3"]
    assert owners == [1, 2, 3]


def test_rows_may_be_filtered_counted_and_needed(table: Path) -> None:
    found = pictured(table, SPEC, where="label = 'even'", count=5, needed=lambda texts, label: bool(texts))
    assert found.keys == ["k002", "k006", "k010", "k014", "k018"]


def test_no_row_is_an_error(table: Path) -> None:
    with pytest.raises(DataError, match=r"no row of .* where split = 'none'"):
        pictured(table, SPEC, where="split = 'none'")
