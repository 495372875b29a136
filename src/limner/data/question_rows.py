"""Rows of a table as questions: each question of a picture is a sample, with all that people answered."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from limner.data.decoded_rows import DecodedRows
from limner.data.rows import Sample, answered
from limner.data.table import Table
from limner.errors import DataError
from limner.shapes import ImageSpec


class QuestionRows(DecodedRows):
    """Questions of a table, one a sample.

    Args:
        path: the table.
        spec: size and crop of the pictures.
        seed: of the augmentation.
        augment: a name of `limner.data.augment.RECIPES`.
        version: of the table; the newest by default.
        where: only rows this SQL filter holds for.
        cache_bytes: pixels kept at most, in each process.
    Raises: DataError when no row has a question with an answer.
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
        super().__init__(table, spec, seed, ["questions"], augment, cache_bytes)
        self._where = where
        asked = table.column("questions", where) if table.has("questions") else []
        counts = [len(answered(questions)) for questions in asked]
        if not sum(counts):
            raise DataError(
                f"no row of {path} has a question with an answer" + (f" where {where}" if where else ""),
                wanted="a column `questions`",
                hint="limner import reads question and answer columns, and BLIP's JSON",
            )
        rows = np.repeat(table.positions(where), counts)
        numbers = np.concatenate([np.arange(count) for count in counts])
        self._samples: Int64[np.ndarray, "n 2"] = np.stack([rows, numbers], axis=1)

    def __len__(self) -> int:
        return len(self._samples)

    def answers(self) -> list[tuple[str, int]]:
        """Every answer that people gave and how often, the most frequent first, then by the alphabet."""
        found: Counter[str] = Counter()
        for questions in self.opened().column("questions", self._where):
            for _, answers in answered(questions):
                found.update(answer.strip().lower() for answer in answers if answer.strip())
        return sorted(found.items(), key=lambda item: (-item[1], item[0]))

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """One question each, with all its answers; only the augmentation is drawn.

        Raises: DataError that names the row whose picture cannot be used.
        """
        places = self._samples[np.asarray(indices, np.int64)].tolist()
        rows = self.read([row for row, _ in places])
        found = []
        for index, (position, number), row in zip(indices, places, rows, strict=True):
            question, answers = answered(row.values["questions"])[number]
            image = self.augmented(row, self.rng(int(index), epoch))
            sample = Sample(row.key, image, "", question, answers[0], position, answers=tuple(answers))
            found.append(sample)
        return found
