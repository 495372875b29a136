"""Index arithmetic: in which order an epoch reads its samples, and which row each of them is.

Nothing here grows with the number of samples, but where a filter or several texts a row make it. An order is
computed where it is asked for, from (seed, epoch) alone.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from jaxtyping import Int64, Integer

from limner.errors import DataError

MOST_SAMPLES: Final = 2**40
_ROUNDS: Final = 8
_LEAST_BITS: Final = 6
_AT_ONCE: Final = 2**14  # indices computed at a time
_BLOCK: Final = 256

Lengths = Callable[[Int64[np.ndarray, " n"], int], Integer[np.ndarray, " n"]]
"""Text lengths of samples: (indices, epoch) → one number each, in any unit."""


class Permutation:
    """A shuffled [0, count) that is computed where it is looked at: by an int, a slice or an array of ints.

    A keyed Feistel network permutes the numbers of the next power of two; one that lands at `count` or above
    is sent through again until it lands below ("cycle walking"), which keeps the whole a bijection.

    Args:
        count: how many, [1, 2**40].
        seed: of the run.
        epoch: other epochs have unrelated orders.
    Raises: DataError when `count` is out of range; IndexError for a place that is.
    Source: Luby and Rackoff 1988; Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 3.
    """

    def __init__(self, count: int, seed: int, epoch: int) -> None:
        if not 1 <= count <= MOST_SAMPLES:
            raise DataError(f"an order of {count} samples", wanted=f"1 to {MOST_SAMPLES} samples")
        self.count = count
        bits = max(_LEAST_BITS, (count - 1).bit_length())
        self._bits = (bits // 2, bits - bits // 2)
        state = np.random.SeedSequence([seed % 2**64, epoch])
        self._keys = state.generate_state(_ROUNDS, np.uint64)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int | slice | np.ndarray) -> Int64[np.ndarray, "..."]:
        if isinstance(place, slice):
            place = np.arange(*place.indices(self.count), dtype=np.int64)
        places = np.asarray(place, dtype=np.int64).reshape(-1)
        if places.size and not -self.count <= places.min() <= places.max() < self.count:
            raise IndexError(f"place {places.min()} … {places.max()} of {self.count}")
        values = self._walk(np.where(places < 0, places + self.count, places).astype(np.uint64))
        return values.astype(np.int64).reshape(np.shape(place))

    # the two below run often and are left without shape checks
    def _walk(self, values: np.ndarray) -> np.ndarray:
        """Through the network once, and again for those that left the range."""
        values = self._network(values)
        outside = np.flatnonzero(values >= self.count)
        while outside.size:
            values[outside] = self._network(values[outside])
            outside = outside[values[outside] >= self.count]
        return values

    def _network(self, values: np.ndarray) -> np.ndarray:
        """Eight rounds; the halves may differ by a bit, so their widths change places with them."""
        high_bits, low_bits = self._bits
        high, low = values >> np.uint64(low_bits), values & np.uint64(2**low_bits - 1)
        for key in self._keys:
            high, low = low, high ^ (_mixed(low, key) >> np.uint64(64 - high_bits))
            high_bits, low_bits = low_bits, high_bits
        return (high << np.uint64(low_bits)) | low


def _mixed(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """A keyed hash of 64 bits: the finaliser of SplitMix64."""
    mixed = values + key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class Order:
    """Global batches of every epoch: a pure function of (seed, epoch, step).

    With buckets, the samples of a window of batches are sorted by text length and cut into batches of like
    lengths, which are then shuffled; each sample is still read once an epoch.

    Args:
        count: samples in an epoch; those that do not fill a last batch are left out, others each time.
        global_batch: samples of one step on all ranks together.
        seed: of the order.
        bucket_batches: batches in a window; 0 or 1 sorts nothing.
        lengths: of the samples' texts; needed for buckets.
    """

    def __init__(
        self,
        count: int,
        global_batch: int,
        seed: int,
        bucket_batches: int = 0,
        lengths: Lengths | None = None,
    ) -> None:
        if bucket_batches > 1 and lengths is None:
            raise DataError(
                "buckets of text lengths, and rows that cannot tell how long their texts are",
                wanted="rows with a method `lengths(indices, epoch)`, as those of a table",
                hint="--set data.bucket_batches=0",
            )
        self.count, self.global_batch, self.seed = count, global_batch, seed
        self.steps = count // global_batch
        self._lengths = lengths if bucket_batches > 1 else None
        self._window = bucket_batches if bucket_batches > 1 else max(1, _AT_ONCE // global_batch)

    def batches(self, epoch: int, step: int = 0) -> Iterator[Int64[np.ndarray, " b"]]:
        """Sample indices of the global batches of one epoch, from `step` on."""
        order = Permutation(self.count, self.seed, epoch)
        for window in range(step // self._window, -(-self.steps // self._window)):
            first = window * self._window
            last = min(first + self._window, self.steps)
            batches = order[first * self.global_batch : last * self.global_batch]
            batches = batches.reshape(last - first, self.global_batch)
            if self._lengths:
                batches = self._bucketed(batches, epoch, window)
            yield from batches[max(step - first, 0) :]

    def _bucketed(self, batches: Int64[np.ndarray, "k b"], epoch: int, window: int) -> np.ndarray:
        assert self._lengths is not None
        flat = batches.reshape(-1)
        by_length = flat[np.argsort(self._lengths(flat, epoch), kind="stable")].reshape(batches.shape)
        rng = np.random.default_rng((self.seed % 2**64, epoch, window))
        shuffled: np.ndarray = by_length[rng.permutation(len(by_length))]
        return shuffled


class Positions:
    """Which rows of a table are meant, in little memory, by index.

    Args:
        rows: their numbers, ascending; None when all are meant.
        count: rows of the table.
    """

    def __init__(self, rows: Int64[np.ndarray, " n"] | None, count: int) -> None:
        self._count = count if rows is None else len(rows)
        self._starts = self._before = self._rows = None
        if rows is None or len(rows) == count:
            return
        heads = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        if 16 * len(heads) < _small(count).itemsize * len(rows):
            self._starts, self._before = rows[heads], heads
        else:
            self._rows = rows.astype(_small(count))

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return sum(kept.nbytes for kept in (self._starts, self._before, self._rows) if kept is not None)

    def __getitem__(self, indices: Integer[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Row numbers of these indices, each in [0, len)."""
        if self._rows is not None:
            return np.asarray(self._rows[indices], dtype=np.int64)
        if self._starts is None or self._before is None:
            return np.asarray(indices, dtype=np.int64)
        run = np.searchsorted(self._before, indices, side="right") - 1
        found: np.ndarray = self._starts[run] + indices - self._before[run]
        return found


class Copies:
    """Samples when a row counts several times, once a text: which row is sample i, and which of its texts?

    Args:
        counts: texts of each row, 0 or more.
    """

    def __init__(self, counts: Integer[np.ndarray, " n"]) -> None:
        self._counts = counts.astype(_small(int(counts.max(initial=0)) + 1))
        blocks = np.add.reduceat(counts, np.arange(0, len(counts), _BLOCK), dtype=np.int64)
        self._before = np.concatenate([[0], np.cumsum(blocks)])

    def __len__(self) -> int:
        return int(self._before[-1])

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return self._counts.nbytes + self._before.nbytes

    def __getitem__(self, indices: Integer[np.ndarray, " n"]) -> Int64[np.ndarray, "n 2"]:
        """(row, number of the text) of samples, each in [0, len)."""
        blocks = np.searchsorted(self._before, indices, side="right") - 1
        return np.array(
            [self._within(int(b), int(i)) for b, i in zip(blocks, indices, strict=True)], np.int64
        ).reshape(-1, 2)

    def _within(self, block: int, index: int) -> tuple[int, int]:
        counts = self._counts[block * _BLOCK : (block + 1) * _BLOCK]
        after = np.cumsum(counts, dtype=np.int64)
        rest = index - int(self._before[block])
        row = int(np.searchsorted(after, rest, side="right"))
        return block * _BLOCK + row, rest - int(after[row]) + int(counts[row])


def _small(count: int) -> np.dtype:
    """The smallest unsigned type that holds [0, count)."""
    return np.min_scalar_type(max(count - 1, 0))
