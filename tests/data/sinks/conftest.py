"""A table with every field filled somewhere, and keys and texts that other programs stumble over."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from limner.data import intake
from limner.data.table import SCHEMA, Table

KEYS = [
    "plain.jpg",
    "with space/and more.jpg",
    "dots.in.name/v1.2/picture",
    "Straße/ほし ⭐.jpg",
    "Case.jpg",
    "case.jpg",
    "../../outside.jpg",
    "/etc/absolute.jpg",
    "https://example.org/a.jpg?x=1&y=2",
    "con/aux.jpg",
    "C:\\drive\\x.jpg",
    "plain",
    "plain.txt",
    "folder.jpg/inside.jpg",
    "folder.jpg",
    ".hidden/x.jpg",
    "by_number/000000000.jpg",
    "e\u0301.jpg",
    "\u00e9.jpg",
]
TEXTS = [
    ["a red ball", "two, with a comma"],
    ["\"quoted\" and 'single'", "emoji 🦉🎏"],
    ["first line\nsecond line", "another one"],
    [],
    ["tab\there and a\rreturn"],
    ["{json: [1]}", "ends with a backslash \\"],
    ["ein schöner Tag, 一只黑猫"],
]


def encoded(number: int, kind: str = "JPEG") -> bytes:
    """A picture unlike the others, as a file of this kind holds it."""
    data = io.BytesIO()
    image = Image.new("RGB", (24 + number % 7, 16 + number % 5), (11 * number % 256, 90, 200))
    image.putpixel((number % 20, number % 15), (255, 255, 255))
    image.save(data, kind)
    return data.getvalue()


def row_of(number: int, key: str, kind: str = "JPEG") -> dict[str, Any]:
    """A row with everything in it, now and then."""
    picture = intake.identify(encoded(number, kind))
    boxes = [
        {"x0": 0.1 + i, "y0": 1.0, "x1": 7.7, "y1": 9.5, "label": f"thing {i}"} for i in range(number % 3)
    ]
    questions = [{"question": "is it, red?", "answers": ["yes", "no", "no"]}] * (number % 2)
    return {
        **{"key": key, "image": picture.data, "width": picture.width, "height": picture.height},
        **{"format": picture.format, "sha256": picture.sha256, "phash": picture.phash},
        "texts": TEXTS[number % len(TEXTS)],
        "label": [None, "cat", "dog & co"][number % 3],
        "split": ["train", "val", "test", "restval", None][number % 5],
        "source": ["web", "own pictures"][number % 2],
        "licence": [None, "CC BY 4.0"][number % 2],
        "questions": questions,
        "boxes": boxes,
    }


@pytest.fixture(scope="session")
def awkward_rows() -> list[dict[str, Any]]:
    kinds = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
    return [row_of(number, key, kinds[number % len(kinds)]) for number, key in enumerate(KEYS)]


@pytest.fixture(scope="session")
def awkward(tmp_path_factory: pytest.TempPathFactory, awkward_rows: list[dict[str, Any]]) -> Table:
    """A table whose keys and texts are hard to write."""
    path = tmp_path_factory.mktemp("table") / "awkward.lance"
    return Table.write(path, [pa.RecordBatch.from_pylist(awkward_rows, schema=SCHEMA)])


@pytest.fixture(scope="session")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Twelve rows with plain keys and JPEG pictures."""
    path = tmp_path_factory.mktemp("table") / "jpegs.lance"
    rows = [row_of(number, f"set/{number}") for number in range(12)]
    return Table.write(path, [pa.RecordBatch.from_pylist(rows, schema=SCHEMA)])


@pytest.fixture
def make_table(tmp_path: Path) -> Callable[..., Table]:
    """Makes a table of rows; more columns than the usual ones come with their schema."""

    def make(rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> Table:
        return Table.write(tmp_path / "made.lance", [pa.RecordBatch.from_pylist(rows, schema=schema)], schema)

    return make


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The `datasets` package, offline, with a cache of its own."""
    found = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    found.disable_progress_bars()
    return found
