"""A sheet of augmented samples to look at: one row a picture, as it is evaluated and as training draws it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

from limner.data import intake
from limner.data.augment import as_evaluated, recipe
from limner.data.table import Table
from limner.errors import DataError
from limner.shapes import ImageSpec

_GAP: Final = 4


def augment_sheet(
    table: Table, name: str, spec: ImageSpec, seed: int = 0, rows: Sequence[int] | int = 6, draws: int = 6
) -> Image.Image:
    """Draw pictures of a table as a recipe changes them.

    Args:
        table: where the pictures are.
        name: of a recipe, see `limner.data.augment`.
        spec: size and filter of the input.
        seed: of the draws, and of the choice of rows when only their number is given.
        rows: positions in the table, or how many to choose.
        draws: augmented samples a picture.
    Returns: RGB; the first column is what evaluation sees.
    Raises: ConfigError for an unknown recipe; DataError when the table is empty; PictureError when a picture
        cannot be decoded.
    """
    augmentation = recipe(name)
    if table.num_rows == 0:
        raise DataError(f"{table.path} has no rows to draw")
    if isinstance(rows, int):
        choice = np.random.default_rng(seed).permutation(table.num_rows)[:rows]
        rows = sorted(choice.tolist())
    step = spec.size + _GAP
    sheet = Image.new("RGB", ((draws + 1) * step + _GAP, len(rows) * step + _GAP), (255, 255, 255))
    for line, row in enumerate(table.rows(rows, ["image"])):
        image = intake.decode(row["image"])
        shown = [np.asarray(as_evaluated(image, spec, np.random.default_rng()))]
        shown += [
            augmentation(image, spec, np.random.default_rng([seed, line, draw])) for draw in range(draws)
        ]
        for column, pixels in enumerate(shown):
            sheet.paste(Image.fromarray(pixels), (_GAP + column * step, _GAP + line * step))
    return sheet
