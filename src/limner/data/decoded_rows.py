"""Rows of a table with their pictures decoded, once per process as long as there is room, and augmented.

What a sample is, a picture with a text or a question or a statement about two, is for those who read them:
`rows.TableRows`, `question_rows.QuestionRows`, `statement_rows.StatementRows`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image

from limner.data import intake, transforms
from limner.data.augment import recipe
from limner.data.table import Table
from limner.data.watchdog import working_on
from limner.errors import DataError, LimnerError
from limner.shapes import ImageSpec

_SETTLED: Final = ("none", "jitter")  # augmentations that start from the pixels evaluation sees


class Decoded(NamedTuple):
    """A row whose picture is pixels.

    Args:
        key: of the row.
        image: u8 pixels, at the model's size where the augmentation starts from that; a whole picture that is
            not kept stays as the decoder left it.
        values: the other columns that were asked for.
    """

    key: str
    image: np.ndarray | Image.Image
    values: dict[str, Any]


class DecodedRows:
    """Reads rows by position; picklable, so that workers can hold one.

    Args:
        table: an open table; each process opens it again at this version.
        spec: size and crop of the pictures.
        seed: of every choice.
        columns: to read beside key and image.
        augment: a name of `limner.data.augment.RECIPES`.
        cache_bytes: pixels kept at most, in each process; 0 keeps none.
    Raises: ConfigError for an unknown augmentation.
    """

    def __init__(
        self,
        table: Table,
        spec: ImageSpec,
        seed: int,
        columns: Sequence[str],
        augment: str = "none",
        cache_bytes: int = 2**30,
    ) -> None:
        self._path, self._version = table.path, table.version
        self._spec, self._seed, self._augment = spec, seed, augment
        self._settled, self._decode_px = augment in _SETTLED, recipe(augment).decode_px(spec)
        self._columns = ["key", "image", *columns]
        self._capacity = cache_bytes
        self._table: Table | None = None
        self._cache: dict[int, Decoded] = {}
        self._cached_bytes = 0

    @property
    def path(self) -> Path:
        """Of the table."""
        return self._path

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None, "_cache": {}, "_cached_bytes": 0}

    def rng(self, sample: int, epoch: int) -> np.random.Generator:
        """The source of all chance of a sample: (seed, epoch, sample) alone."""
        return np.random.default_rng((self._seed % 2**64, epoch, sample))

    def read(self, positions: Sequence[int]) -> list[Decoded]:
        """Rows in the order asked.

        Raises: DataError that names the row whose picture cannot be used.
        """
        missing = sorted({p for p in positions if p not in self._cache})
        fresh = {}
        if missing:
            working_on(f"reading {len(missing)} rows of {self._path}")
            found = self.opened().rows(missing, self._columns)
            fresh = {p: self._decode(row) for p, row in zip(missing, found, strict=True)}
        result = [fresh[p] if p in fresh else self._cache[p] for p in positions]
        for position, row in fresh.items():
            self._keep(position, row)
        return result

    def augmented(self, row: Decoded, rng: np.random.Generator) -> np.ndarray:
        """The picture of a row as a training step sees it."""
        with self._at(row.key):
            if self._settled:
                pixels = np.asarray(row.image)
                return pixels if self._augment == "none" else transforms.augment(pixels, rng)
            whole = row.image if isinstance(row.image, Image.Image) else Image.fromarray(row.image)
            return recipe(self._augment)(whole, self._spec, rng)

    def opened(self) -> Table:
        """The table, opened by this process."""
        self._table = self._table or Table.open(self._path, self._version)
        return self._table

    def _keep(self, position: int, row: Decoded) -> None:
        """Keep a row as pixels while there is room."""
        if self._cached_bytes >= self._capacity:
            return
        pixels = np.asarray(row.image)
        if self._cached_bytes + pixels.nbytes <= self._capacity:
            self._cache[position] = row._replace(image=pixels)
            self._cached_bytes += pixels.nbytes

    def _decode(self, row: dict[str, Any]) -> Decoded:
        with self._at(row["key"]):
            image = intake.decode(row.pop("image"), max_side=self._decode_px)
            pixels = transforms.to_u8(image, self._spec) if self._settled else image
        return Decoded(row.pop("key"), pixels, row)

    @contextmanager
    def _at(self, key: str) -> Iterator[None]:
        """Notes the row for the watchdog, and names it in any error."""
        working_on(f"row {key!r} of {self._path}")
        try:
            yield
        except Exception as error:
            given = error.given if isinstance(error, LimnerError) else f"{type(error).__name__}: {error}"
            quoted = "'" + key.replace("'", "''") + "'"
            raise DataError(
                f"row {key!r} of {self._path} cannot be used: {given}",
                wanted="a picture that the intake takes",
                hint=f'where = "key <> {quoted}" leaves it out; `limner scrub` looks at every row',
            ) from error
