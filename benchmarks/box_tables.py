"""Tables with boxes made from the Parquet files of `../shared/data`, whose boxes are shares of the picture.

python benchmarks/box_tables.py raccoon OUT.lance    200 pictures, the last 40 as split "test"
python benchmarks/box_tables.py coco OUT.lance       491 pictures of COCO, the last 91 as split "test"
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow.parquet import read_table

from limner.data.intake import open_picture
from limner.data.table import SCHEMA, Table

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = {"raccoon": ("detection/raccoon.parquet", 160), "coco": ("coco_mini/coco491.parquet", 400)}


def rows(file: Path, trained: int) -> Iterator[dict[str, Any]]:
    """One row a picture, in the order of the file."""
    for number, row in enumerate(read_table(file).to_pylist()):
        picture = open_picture(row["image"])
        width, height = picture.image.size
        boxes = [
            {
                "x0": box["x"] * width,
                "y0": box["y"] * height,
                "x1": (box["x"] + box["w"]) * width,
                "y1": (box["y"] + box["h"]) * height,
                "label": box["category"],
            }
            for box in row["boxes"]
        ]
        yield {
            "key": row.get("file_name") or str(row["image_id"]),
            "image": row["image"],
            "width": width,
            "height": height,
            "texts": row.get("captions") or [],
            "split": "train" if number < trained else "test",
            "boxes": boxes,
        }


def main() -> None:
    """Write one table."""
    name, out = sys.argv[1:]
    file, trained = FILES[name]
    batch = pa.RecordBatch.from_pylist(list(rows(SHARED / file, trained)), SCHEMA)
    table = Table.write(out, [batch], SCHEMA, note=f"boxes of {file}")
    print(f"{out}: {table.num_rows} rows")


if __name__ == "__main__":
    main()
