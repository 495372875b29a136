"""Which rows show the same picture: by their bytes, by perceptual hash, by embedding; and what follows.

A group is named by the first position in it, so an array of groups is as long as the table and a row alone
is its own group. Pictures of one group belong in one split: a test picture that was trained on measures
memory.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from limner.errors import DataError

HASH_BITS: Final = 64
LEAST_SIDE: Final = 32
"""Pixels below which a perceptual hash, made of 32 × 32 greys, tells less than it compares."""
_HASH: Final = re.compile("[0-9a-fA-F]{16}")
_BLOCK: Final = 1024
_PAIRS: Final = 2**22  # compared at a time


class Leak(NamedTuple):
    """A picture that stands in several splits.

    Args:
        keys: of the rows that show it.
        splits: of these rows, in the same order.
    """

    keys: tuple[str, ...]
    splits: tuple[str, ...]


def exact_groups(sha256: Sequence[str | None]) -> Int64[np.ndarray, " n"]:
    """Rows of the same bytes.

    Args:
        sha256: n digests; a row without one is nobody's duplicate.
    """
    first: dict[str, int] = {}
    found = [first.setdefault(value, i) if value else i for i, value in enumerate(sha256)]
    return np.array(found, dtype=np.int64)


def near_groups(phashes: Sequence[str | None], max_distance: int = 2) -> Int64[np.ndarray, " n"]:
    """Rows whose perceptual hashes differ in few bits, directly or by way of others.

    Exact: hashes within `max_distance` agree in one of `max_distance + 1` bands of bits, and all pairs that
    share a band are compared. Equal hashes (blank pictures) are compared once.

    Args:
        phashes: n hashes of 16 hex digits; a row without one is nobody's duplicate.
        max_distance: most bits that differ, [0, 16]. Hashes know no colour, and drawings of one outline chain
            together from 4 on (playing cards); of 8,000 photographs one pair is within 6.
    Raises: DataError for another distance, or a hash that is none.
    """
    if not 0 <= max_distance <= 16:
        raise DataError(f"a distance of {max_distance} bits", wanted="0 to 16 of 64")
    known = np.array([i for i, value in enumerate(phashes) if value], dtype=np.int64)
    hashes, place = np.unique(_numbers([phashes[i] or "" for i in known]), return_inverse=True)
    edges = [np.zeros((0, 2), np.int64)]
    for band in _bands(max_distance + 1):
        edges += _close_pairs(hashes, hashes & band, max_distance)
    groups = np.arange(len(phashes), dtype=np.int64)
    groups[known] = known[_smallest(_components(len(hashes), np.concatenate(edges))[place])]
    return groups


def telling_hash(phash: str | None, width: int | None, height: int | None) -> str | None:
    """The perceptual hash of a picture, or None where a side is too small for it to tell pictures apart.

    Args:
        phash: 16 hex digits.
        width: pixels; None where it is not known, which is no reason to doubt the hash.
        height: likewise.
    """
    return phash if min(width or LEAST_SIDE, height or LEAST_SIDE) >= LEAST_SIDE else None


def embedding_groups(vectors: Float[np.ndarray, "n e"], min_cosine: float = 0.95) -> Int64[np.ndarray, " n"]:
    """Rows whose embeddings point the same way, directly or by way of others.

    Args:
        vectors: of any length; a zero or NaN vector is nobody's duplicate.
        min_cosine: least cosine of a pair, [-1, 1].
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.nan_to_num(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    edges = [np.zeros((0, 2), np.int64)]
    for begin in range(0, len(unit), _BLOCK):
        close = np.argwhere(unit[begin : begin + _BLOCK] @ unit[begin:].T >= min_cosine) + begin
        edges.append(close[close[:, 0] < close[:, 1]])
    nothing = ~unit.any(axis=1)
    pairs = np.concatenate(edges)
    return _smallest(_components(len(unit), pairs[~nothing[pairs].any(axis=1)]))


def joined(*groups: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Groups of groups: rows that any of the arguments puts together are together.

    Args:
        groups: at least one array, all of one length.
    """
    count = len(groups[0])
    edges = [np.stack([np.arange(count), one], axis=1) for one in groups]
    return _smallest(_components(count, np.concatenate(edges)))


def leaks(groups: Int64[np.ndarray, " n"], splits: Sequence[str | None], keys: Sequence[str]) -> list[Leak]:
    """Groups that stand in more than one split; rows without a split are in none.

    Args:
        groups: of the rows.
        splits: n names.
        keys: n keys.
    """
    members = defaultdict(list)
    for row, (group, split) in enumerate(zip(groups.tolist(), splits, strict=True)):
        if split:
            members[group].append(row)
    return [
        Leak(tuple(keys[row] for row in rows), tuple(str(splits[row]) for row in rows))
        for rows in members.values()
        if len({splits[row] for row in rows}) > 1
    ]


def assigned_splits(
    groups: Int64[np.ndarray, " n"], fractions: Mapping[str, float], seed: int, ids: Sequence[str]
) -> list[str]:
    """A split for each row, by chance that depends on the seed and the row's id alone.

    A group takes the split of its first row, so it stays whole, and rows that come later move nobody.

    Args:
        groups: of the rows.
        fractions: name of a split to its share; shares add up to 1.
        seed: of the draw.
        ids: what a row is known by, such as its key.
    Raises: DataError when the shares are no shares.
    """
    shares = np.array(list(fractions.values()), dtype=np.float64)
    if not len(shares) or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise DataError(
            f"splits {dict(fractions)}", wanted="shares that add up to 1", hint="--splits train=0.9,test=0.1"
        )
    names, ends = list(fractions), np.cumsum(shares)
    drawn: dict[int, str] = {}
    for group in groups.tolist():
        if group not in drawn:
            place = _chance(seed, ids[group])
            drawn[group] = names[min(int(np.searchsorted(ends, place, "right")), len(names) - 1)]
    return [drawn[group] for group in groups.tolist()]


def _chance(seed: int, name: str) -> float:
    """A number in [0, 1) that only the seed and the name decide."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _numbers(phashes: Sequence[str]) -> np.ndarray:
    """Hashes as numbers of 64 bits."""
    wrong = next((value for value in phashes if not _HASH.fullmatch(value)), None)
    if wrong is not None:
        raise DataError(f"the perceptual hash {wrong!r}", wanted="16 hex digits")
    return np.array([int(value, 16) for value in phashes], dtype=np.uint64)


def _bands(count: int) -> list[np.uint64]:
    """The bits of a hash dealt into bands, as masks: neighbours, which often agree, go to different bands."""
    return [np.uint64(sum(1 << bit for bit in range(first, HASH_BITS, count))) for first in range(count)]


def _close_pairs(hashes: np.ndarray, band: np.ndarray, max_distance: int) -> list[np.ndarray]:
    """Pairs of different hashes that agree in a band and differ in few bits overall."""
    order = np.argsort(band, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(band[order])) + 1, len(order))
    starts = np.append(0, ends[:-1])
    found = []
    for many in np.flatnonzero(ends - starts > 1):
        bucket = order[starts[many] : ends[many]]
        found += _close_in(bucket, hashes[bucket], max_distance)
    return found


def _close_in(bucket: np.ndarray, hashes: np.ndarray, max_distance: int) -> list[np.ndarray]:
    """Pairs of one bucket, compared in blocks."""
    found, block = [], max(1, _PAIRS // len(bucket))
    for begin in range(0, len(bucket), block):
        differing = np.bitwise_count(hashes[begin : begin + block, None] ^ hashes[None, begin:])
        first, second = np.nonzero(differing <= max_distance)
        kept = first < second
        found.append(np.stack([bucket[begin + first[kept]], bucket[begin + second[kept]]], axis=1))
    return found


def _components(count: int, edges: np.ndarray) -> np.ndarray:
    """A number for each node, equal where edges connect them."""
    if count == 0:
        return np.zeros(0, np.int64)
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels


def _smallest(labels: np.ndarray) -> Int64[np.ndarray, " n"]:
    """Each row's group: the first position with its label."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    groups: np.ndarray = first[place].astype(np.int64)
    return groups
