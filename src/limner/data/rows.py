"""Rows a loader can read, by index: those of a table, or a mixture of several sources."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from limner.data import intake, transforms
from limner.data.table import Table
from limner.errors import DataError
from limner.shapes import ImageSpec


class Sample(NamedTuple):
    """One picture with one text, and perhaps one question.

    Args:
        key: the row it came from.
        image: u8 pixels, (spec.size, spec.size, 3).
        caption: as a person wrote it; the tokenizer cleans it.
        question: "" when there is none.
        answer: to the question.
        image_id: at least 0; samples of the same picture share it.
    """

    key: str
    image: np.ndarray
    caption: str
    question: str = ""
    answer: str = ""
    image_id: int = 0


@runtime_checkable
class Rows(Protocol):
    """Anything a loader can read: a length and samples by index. Picklable, so that workers can hold one."""

    def __len__(self) -> int: ...

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """Samples in the order asked; chance comes from (seed, epoch, index) alone."""
        ...


class Mixture:
    """Rows of several sources, interleaved in proportion to their weights.

    Slot `i` of an epoch belongs to a source by a fixed pattern of 1024 slots, so a weight is met to a
    thousandth at every point. A source is read round and round: across epochs it goes on where it stopped,
    and each round counts as one epoch of that source.

    Args:
        parts: (rows, weight) pairs; weights above 0, in any unit.
        seed: where in each source the first epoch starts.
        length: samples in one epoch of the mixture.
    Raises: DataError when there is no part, an empty part or a weight that is not above 0.
    """

    _PATTERN: Final = 1024

    def __init__(self, parts: Sequence[tuple[Rows, float]], seed: int, length: int) -> None:
        if not parts or any(weight <= 0 or len(rows) == 0 for rows, weight in parts):
            raise DataError("a mixture needs rows and a weight above 0 in every part")
        self._rows = [rows for rows, _ in parts]
        self._length = length
        self._pattern = _interleave([weight for _, weight in parts], self._PATTERN)
        if len(set(self._pattern.tolist())) < len(parts):
            raise DataError(f"a weight is below 1 in {self._PATTERN} of the sum", hint="leave that part out")
        of_part = self._pattern[:, None] == np.arange(len(parts))
        self._before = np.concatenate([np.zeros((1, len(parts)), np.int64), of_part.cumsum(0)])
        rng = np.random.default_rng(seed)
        self._start = [int(rng.integers(len(rows))) for rows in self._rows]

    def __len__(self) -> int:
        return self._length

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """Samples in the order asked; an `image_id` stays unique across parts."""
        places = [self._place(index, epoch) for index in indices]
        result: list[Sample | None] = [None] * len(places)
        for part, turn in sorted({(part, turn) for part, turn, _ in places}):
            slots = [i for i, place in enumerate(places) if place[:2] == (part, turn)]
            for slot, sample in zip(
                slots, self._rows[part].samples([places[i][2] for i in slots], turn), strict=True
            ):
                result[slot] = sample._replace(image_id=sample.image_id * len(self._rows) + part)
        return [sample for sample in result if sample is not None]

    def _place(self, index: int, epoch: int) -> tuple[int, int, int]:
        """Part, round and row of one slot."""
        part = int(self._pattern[index % self._PATTERN])
        position = epoch * self._taken(self._length, part) + self._taken(index, part) + self._start[part]
        turn, row = divmod(position, len(self._rows[part]))
        return part, turn, row

    def _taken(self, slots: int, part: int) -> int:
        """How many of the first `slots` slots of an epoch belong to a part."""
        blocks, rest = divmod(slots, self._PATTERN)
        return int(blocks * self._before[-1, part] + self._before[rest, part])


def _interleave(weights: Sequence[float], length: int) -> Int64[np.ndarray, " n"]:
    """A pattern of part numbers, each spread evenly: slot by slot, the part furthest behind its share."""
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    taken = np.zeros(len(share))
    pattern = np.empty(length, dtype=np.int64)
    for slot in range(length):
        part = int(np.argmax(share * (slot + 1) - taken))
        pattern[slot] = part
        taken[part] += 1
    return pattern


class TableRows:
    """Rows of a pairs table. Each picture is decoded once per process and kept as small u8 pixels.

    Args:
        path: the table.
        spec: size and crop of the pictures.
        seed: of the choice among a row's texts and questions, and of the jitter.
        texts_column: list<string> column the captions come from.
        cache_pixels: keep decoded rows in memory.
        augment: jitter the pixels, see `transforms.augment`.
        cache_bytes: pixels kept at most, in each process.
        version: of the table; the newest by default.
    Raises: DataError when the table lacks the column, or no row has a text.
    """

    def __init__(
        self,
        path: str | Path,
        spec: ImageSpec,
        seed: int,
        texts_column: str = "texts",
        cache_pixels: bool = True,
        augment: bool = False,
        cache_bytes: int = 2**30,
        version: int | None = None,
    ) -> None:
        table = Table.open(path, version)
        self._path, self._version = table.path, table.version
        self._spec, self._seed, self._texts_column, self._augment = spec, seed, texts_column, augment
        self._columns = ["key", "image", texts_column, *(["questions"] if table.has("questions") else [])]
        self._positions = [i for i, texts in enumerate(table.column(texts_column)) if _spoken(texts)]
        self.skipped = table.num_rows - len(self._positions)
        if not self._positions:
            raise DataError(f"no row of {path} has a text in {texts_column!r}")
        self._capacity = cache_bytes // (3 * spec.size**2) if cache_pixels else 0
        self._table: Table | None = None
        self._cache: dict[int, _Decoded] = {}

    def __len__(self) -> int:
        return len(self._positions)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None, "_cache": {}}

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """One text and at most one question of each row, chosen by (seed, epoch, index)."""
        decoded = self._read([self._positions[index] for index in indices])
        return [self._sample(row, index, epoch) for row, index in zip(decoded, indices, strict=True)]

    def _sample(self, row: "_Decoded", index: int, epoch: int) -> Sample:
        rng = np.random.default_rng((self._seed, epoch, index))
        question, answer = "", ""
        caption = row.texts[rng.integers(len(row.texts))]
        if row.questions:
            question, answers = row.questions[rng.integers(len(row.questions))]
            answer = answers[rng.integers(len(answers))]
        image = transforms.augment(row.image, rng) if self._augment else row.image
        return Sample(row.key, image, caption, question, answer, self._positions[index])

    def _read(self, positions: Sequence[int]) -> list["_Decoded"]:
        missing = sorted({p for p in positions if p not in self._cache})
        fresh = {}
        if missing:
            self._table = self._table or Table.open(self._path, self._version)
            found = self._table.rows(missing, self._columns)
            fresh = {p: self._decode(row) for p, row in zip(missing, found, strict=True)}
        room = self._capacity - len(self._cache)
        result = [fresh[p] if p in fresh else self._cache[p] for p in positions]
        self._cache.update(islice(fresh.items(), max(room, 0)))
        return result

    def _decode(self, row: dict[str, Any]) -> "_Decoded":
        image = intake.decode(row["image"], max_side=2 * self._spec.size)
        questions = [(q["question"], q["answers"]) for q in row.get("questions") or () if q["answers"]]
        return _Decoded(
            row["key"], transforms.to_u8(image, self._spec), _spoken(row[self._texts_column]), questions
        )


class _Decoded(NamedTuple):
    key: str
    image: np.ndarray
    texts: list[str]
    questions: list[tuple[str, list[str]]]


def _spoken(texts: Sequence[str | None] | None) -> list[str]:
    """The texts that say something."""
    return [text for text in texts or () if text and text.strip()]
