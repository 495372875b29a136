"""Rows of a table as statements: each is a sample, with its two pictures and whether it holds."""

from collections.abc import Sequence
from pathlib import Path

from limner.data.decoded_rows import DecodedRows
from limner.data.rows import Sample
from limner.data.statements import TRUTHS, stated
from limner.data.table import Table
from limner.shapes import ImageSpec


class StatementRows(DecodedRows):
    """Statements of a table, one a sample: `question` is the sentence, `answer` is "true" or "false".

    Args:
        path: the table, see `limner.data.statements`.
        spec: size and crop of the pictures.
        seed: of the augmentation, which each of the two pictures draws for itself.
        augment: a name of `limner.data.augment.RECIPES`.
        version: of the table; the newest by default.
        where: only rows this SQL filter holds for; the other picture may be outside.
        cache_bytes: pixels kept at most, in each process.
    Raises: DataError when there is no statement.
    """

    def __init__(
        self,
        path: str | Path,
        spec: ImageSpec,
        seed: int,
        augment: str = "none",
        version: int | None = None,
        where: str | None = None,
        cache_bytes: int = 2**30,
    ) -> None:
        table = Table.open(path, version)
        super().__init__(table, spec, seed, [], augment, cache_bytes)
        self._stated = stated(table, where)

    def __len__(self) -> int:
        return len(self._stated)

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """One statement each, with both pictures; only the augmentation is drawn.

        Raises: DataError that names the row whose picture cannot be used.
        """
        chosen = [self._stated[int(index)] for index in indices]
        rows = self.read([position for one in chosen for position in (one.left, one.right)])
        found = []
        for index, one, left, right in zip(indices, chosen, rows[::2], rows[1::2], strict=True):
            rng = self.rng(int(index), epoch)
            pixels, other = self.augmented(left, rng), self.augmented(right, rng)
            answer = TRUTHS[one.truth]
            found.append(Sample(one.key, pixels, "", one.text, answer, one.left, other=other))
        return found
