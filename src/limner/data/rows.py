"""Rows a loader can read, by index: those of a table, or a mixture of several sources."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int64

from limner.data.decoded_rows import Decoded, DecodedRows
from limner.data.order import Copies, Positions
from limner.data.table import Table
from limner.data.table_reading import require_texts
from limner.errors import DataError
from limner.shapes import ImageSpec

T = TypeVar("T")
CaptionChoice = Literal["random", "all", "first"]


class Sample(NamedTuple):
    """One picture with one text, and perhaps one question; or two pictures with a statement.

    Args:
        key: the row it came from.
        image: u8 pixels, (spec.size, spec.size, 3).
        caption: as a person wrote it; the tokenizer cleans it.
        question: "" when there is none.
        answer: to the question.
        image_id: at least 0; samples of the same picture share it.
        label: class name, when the row has one.
        answers: all that people gave to the question, repeats included, where the rows bring them.
        other: u8 pixels of the right picture, where the question is a statement about two.
        placed: what is where in it, a `limner.data.boxes.Placed`, where the rows bring boxes.
    """

    key: str
    image: np.ndarray
    caption: str
    question: str = ""
    answer: str = ""
    image_id: int = 0
    label: str | None = None
    answers: tuple[str, ...] = ()
    other: np.ndarray | None = None
    placed: Any = None


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

        def read(part: int, rows: list[int], turn: int) -> list[Sample]:
            found = self._rows[part].samples(rows, turn)
            return [s._replace(image_id=s.image_id * len(self._rows) + part) for s in found]

        return self._gathered(indices, epoch, read)

    def lengths(self, indices: Sequence[int], epoch: int) -> Int64[np.ndarray, " n"]:
        """Text lengths of samples, see `TableRows.lengths`.

        Raises: DataError when a part cannot tell.
        """

        def read(part: int, rows: list[int], turn: int) -> list[int]:
            tell = getattr(self._rows[part], "lengths", None)
            if tell is None:
                raise DataError(
                    f"buckets of text lengths over {type(self._rows[part]).__name__}, drawn when read",
                    wanted="tables only",
                    hint="--set data.bucket_batches=0",
                )
            found: list[int] = tell(rows, turn).tolist()
            return found

        return np.array(self._gathered(indices, epoch, read), np.int64)

    def _gathered(
        self, indices: Sequence[int], epoch: int, read: Callable[[int, list[int], int], list[T]]
    ) -> list[T]:
        """What `read(part, rows, turn)` gives, in the order of the indices."""
        places = [self._place(int(index), epoch) for index in indices]
        result: dict[int, T] = {}
        for part, turn in sorted({place[:2] for place in places}):
            slots = [i for i, place in enumerate(places) if place[:2] == (part, turn)]
            result.update(zip(slots, read(part, [places[i][2] for i in slots], turn), strict=True))
        return [result[slot] for slot in range(len(places))]

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


class TableRows(DecodedRows):
    """Rows of a pairs table. Pictures are decoded once per process, as long as there is room to keep them.

    Args:
        path: the table.
        spec: size and crop of the pictures.
        seed: of the choice among a row's texts and questions, and of the augmentation.
        texts_column: list<string> column the captions come from; None reads rows with or without a text.
        cache_pixels: keep decoded pictures in memory: at the model's size when the augmentation starts from
            that ("none", "jitter"), else as they were before it.
        augment: a name of `limner.data.augment.RECIPES`.
        cache_bytes: pixels kept at most, in each process.
        version: of the table; the newest by default.
        where: only rows this SQL filter holds for, such as "split = 'train' AND width >= 200".
        captions: which text of a row: "random", another each epoch; "first"; or "all", when each pair of a
            picture and a text is a sample of its own.
    Raises: DataError when the table lacks a column, the filter is none, or no row is left;
        ConfigError for an unknown augmentation.
    """

    def __init__(
        self,
        path: str | Path,
        spec: ImageSpec,
        seed: int,
        texts_column: str | None = "texts",
        cache_pixels: bool = True,
        augment: str = "none",
        cache_bytes: int = 2**30,
        version: int | None = None,
        *,
        where: str | None = None,
        captions: CaptionChoice = "random",
    ) -> None:
        table = Table.open(path, version)
        optional = [name for name in ("questions", "label") if table.has(name)]
        columns = [*([texts_column] if texts_column else []), *optional]
        super().__init__(table, spec, seed, columns, augment, cache_bytes if cache_pixels else 0)
        self._texts_column = texts_column
        self._positions = chosen(table, texts_column, where)
        self.skipped = table.num_rows - len(self._positions)
        self._captions = captions
        self._copies = None
        if texts_column and captions == "all":
            self._copies = Copies(
                _text_counts(table, texts_column)[self._positions[np.arange(len(self._positions))]]
            )

    def __len__(self) -> int:
        return len(self._positions if self._copies is None else self._copies)

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """One text and at most one question of each row, chosen by (seed, epoch, index).

        Raises: DataError that names the row whose picture cannot be used.
        """
        places = self._places(indices)
        decoded = self.read([place.position for place in places])
        return [self._sample(row, place, epoch) for row, place in zip(decoded, places, strict=True)]

    def lengths(self, indices: Sequence[int], epoch: int) -> Int64[np.ndarray, " n"]:
        """Characters of the text that each sample will have; reads texts only."""
        if self._texts_column is None:
            return np.zeros(len(indices), np.int64)
        places = self._places(indices)
        positions = sorted({place.position for place in places})
        rows = self.opened().rows(positions, [self._texts_column])
        texts = {p: _spoken(row[self._texts_column]) for p, row in zip(positions, rows, strict=True)}
        return np.array(
            [len(self._text(texts[p.position], p, self.rng(p.sample, epoch))) for p in places], np.int64
        )

    def _places(self, indices: Sequence[int]) -> list["_Place"]:
        asked = np.asarray(indices, np.int64)
        if self._copies is None:
            positions = self._positions[asked].tolist()
            return [_Place(int(i), p, 0) for i, p in zip(asked, positions, strict=True)]
        rows, numbers = self._copies[asked].T
        found = zip(asked.tolist(), self._positions[rows].tolist(), numbers.tolist(), strict=True)
        return [_Place(*place) for place in found]

    def _text(self, texts: list[str], place: "_Place", rng: np.random.Generator) -> str:
        if not texts:
            return ""
        return texts[int(rng.integers(len(texts))) if self._captions == "random" else place.text]

    def _sample(self, row: Decoded, place: "_Place", epoch: int) -> Sample:
        rng = self.rng(place.sample, epoch)
        question, answer = "", ""
        caption = self._text(
            _spoken(row.values[self._texts_column]) if self._texts_column else [], place, rng
        )
        if asked := answered(row.values.get("questions")):
            question, answers = asked[rng.integers(len(asked))]
            answer = answers[rng.integers(len(answers))]
        image = self.augmented(row, rng)
        return Sample(row.key, image, caption, question, answer, place.position, row.values.get("label"))


class _Place(NamedTuple):
    sample: int
    position: int
    text: int


def chosen(table: Table, texts_column: str | None, where: str | None) -> Positions:
    """Rows that the filter holds for and that say something; Lance looks at the columns, not Python."""
    filters = [f"({where})"] if where else []
    if texts_column:
        require_texts(table.path, table.schema, texts_column)
        filters.append(f"regexp_like(array_to_string(`{texts_column}`, ''), '\\S')")
    found = table.positions(" AND ".join(filters)) if filters else None
    positions = Positions(found, table.num_rows)
    if not len(positions):
        said = f" has a text in {texts_column!r}" if texts_column else " is left"
        raise DataError(f"no row of {table.path}{said}" + (f" where {where}" if where else ""))
    return positions


def _text_counts(table: Table, texts_column: str) -> Int64[np.ndarray, " n"]:
    """How many texts each row has."""
    counts = (len(_spoken(row[texts_column])) for rows in table.batches([texts_column], 4096) for row in rows)
    return np.fromiter(counts, np.int64, table.num_rows)


def _spoken(texts: Sequence[str | None] | None) -> list[str]:
    """The texts that say something."""
    return [text for text in texts or () if text and text.strip()]


def answered(questions: Sequence[Mapping[str, Any]] | None) -> list[tuple[str, list[str]]]:
    """The questions of a row that have an answer, with all of them."""
    return [(asked["question"], asked["answers"]) for asked in questions or () if asked["answers"]]
