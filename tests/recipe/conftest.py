"""A small table of two-coloured squares, and a recipe that trains a very small BLIP on it."""

import io
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from limner.data.table import SCHEMA, Table
from limner.recipe import Recipe, read

COLOURS = ("red", "green", "blue", "black", "white")

TOML = """
[[data.sources]]
kind = "table"
path = "{path}"

[model.settings]
embed_dim = 8
vision = {{ width = 16, depth = 1, num_heads = 2, mlp_dim = 32, stem = [8], patch_size = 16 }}
text = {{ width = 16, depth = 1, num_heads = 2, mlp_dim = 32, memory_width = 16 }}

[tokenizer]
vocab_size = 160

[objective]
queue_size = 8

[optim]
warmup_steps = 2

[train]
steps = 3
batch_size = 4
log_every = 1

[evaluate]
count = 0
"""


def _row(number: int, left: str, right: str) -> dict[str, object]:
    image, file = Image.new("RGB", (16, 16), left), io.BytesIO()
    image.paste(right, (8, 0, 16, 16))
    image.save(file, "PNG")
    questions = [{"question": "what is left?", "answers": [left]}] if number % 2 else []
    texts = [f"{left} beside {right}", ""]
    return {
        "key": str(number),
        "image": file.getvalue(),
        "texts": texts,
        "questions": questions,
        "label": left,
    }


@pytest.fixture
def table(tmp_path: Path) -> Table:
    rows = [_row(number, *pair) for number, pair in enumerate(permutations(COLOURS, 2))]
    return Table.write(tmp_path / "squares.lance", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)


@pytest.fixture
def make_recipe(table: Table, tmp_path: Path) -> Callable[..., Recipe]:
    """Read the recipe above with overrides."""
    path = tmp_path / "recipe.toml"
    path.write_text(TOML.format(path=table.path))
    return lambda *overrides: read(path, overrides)
