"""Groups of the same picture against slow loops over all pairs."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.duplicates import (
    assigned_splits,
    embedding_groups,
    exact_groups,
    joined,
    leaks,
    near_groups,
)
from limner.errors import DataError


def slow_groups(count, same):
    """Join every pair that is the same until nothing changes; name a group by its first member."""
    groups = list(range(count))
    changed = True
    while changed:
        changed = False
        for i in range(count):
            for j in range(count):
                if same(i, j) and groups[i] != groups[j]:
                    groups[i] = groups[j] = min(groups[i], groups[j])
                    changed = True
    return groups


def test_exact_groups_are_named_by_their_first():
    assert exact_groups(["a", "b", "a", "c", "b"]).tolist() == [0, 1, 0, 3, 1]
    assert exact_groups([]).tolist() == near_groups([]).tolist() == []
    assert embedding_groups(np.zeros((0, 4))).tolist() == []


@settings(max_examples=60, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    flips=st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), max_size=7)), max_size=12),
    distance=st.integers(0, 8),
)
def test_near_groups_equal_a_loop_over_all_pairs(seeds, flips, distance):
    values = list(seeds)
    for base, bits in flips:
        value = seeds[base % len(seeds)]
        for bit in bits:
            value ^= 1 << bit
        values.append(value)
    found = near_groups([f"{value:016x}" for value in values], distance)
    expected = slow_groups(len(values), lambda i, j: (values[i] ^ values[j]).bit_count() <= distance)
    assert found.tolist() == expected


def test_rows_without_a_hash_are_nobodys_duplicate():
    assert exact_groups(["", "a", None, "a", ""]).tolist() == [0, 1, 2, 1, 4]
    blank = "0" * 16
    assert near_groups(["", blank, None, blank, ""]).tolist() == [0, 1, 2, 1, 4]


def test_many_blank_pictures_and_many_hashes_stay_cheap():
    rng = np.random.default_rng(0)
    hashes = [f"{value:016x}" for value in rng.integers(0, 2**63, 30_000)] + ["8000000000000000"] * 20_000
    begun = time.process_time()
    groups = near_groups(hashes)
    assert time.process_time() - begun < 10  # a loop over pairs would take minutes
    assert (groups[30_000:] == 30_000).all()
    assert len(np.unique(groups)) > 29_900


def test_hashes_that_agree_in_their_low_bits_stay_cheap():
    rng = np.random.default_rng(0)
    shifted = rng.integers(0, 2**20, 30_000).astype(np.uint64) << np.uint64(44)
    begun = time.process_time()
    near_groups([f"{value:016x}" for value in shifted.tolist()])
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    ("hashes", "distance"), [(["12"], 4), (["0x" + "0" * 14], 2), (["0" * 16], 17), (["0" * 16], -1)]
)
def test_wrong_hashes_and_distances_are_told(hashes, distance):
    with pytest.raises(DataError):
        near_groups(hashes, distance)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cosine=st.floats(0.5, 0.99))
def test_embedding_groups_equal_a_loop_over_all_pairs(seed, cosine):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(4, 3))[rng.integers(0, 4, 14)] + rng.normal(size=(14, 3)) * 0.2
    vectors[3] = 0
    vectors[5] = np.nan
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)
    table = np.nan_to_num(unit @ unit.T, nan=-2.0)
    if (np.abs(table - cosine) < 1e-5).any():
        return
    expected = slow_groups(14, lambda i, j: table[i, j] >= cosine and not {i, j} & {3, 5})
    assert embedding_groups(vectors, cosine).tolist() == expected


def test_joined_groups_connect_through_either():
    one, two = exact_groups(["a", "a", "b", "c", "d"]), exact_groups(["p", "q", "q", "r", "s"])
    assert joined(one, two).tolist() == [0, 0, 0, 3, 4]
    assert joined(one).tolist() == one.tolist()


def test_leaks_name_keys_and_splits():
    groups = np.array([0, 1, 0, 1, 4, 0])
    found = leaks(groups, ["train", "train", "test", "train", "test", None], list("abcdef"))
    assert found == [(("a", "c"), ("train", "test"))]


def test_splits_keep_groups_whole_and_do_not_move_when_rows_come():
    keys = [f"k{number}" for number in range(3000)]
    groups = np.arange(3000)
    groups[1::10] = groups[0::10]
    fractions = {"train": 0.8, "val": 0.1, "test": 0.1}
    splits = assigned_splits(groups, fractions, 3, keys)
    assert leaks(groups, splits, keys) == []
    for name, share in fractions.items():
        assert abs(splits.count(name) / 3000 - share) < 0.03
    assert assigned_splits(groups[:2000], fractions, 3, keys[:2000]) == splits[:2000]
    assert assigned_splits(groups, fractions, 4, keys) != splits


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_shares_that_are_none_are_told(fractions):
    with pytest.raises(DataError, match="add up to 1"):
        assigned_splits(np.arange(2), fractions, 0, ["a", "b"])
