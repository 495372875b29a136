"""Groups of the same picture against slow loops over all pairs."""

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
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
    telling_hash,
)
from limner.data.intake import identify
from limner.errors import DataError

SHARED = Path(__file__).parents[3] / "shared/data"


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


@pytest.mark.slow
def test_a_hundred_thousand_hashes_take_seconds():
    rng = np.random.default_rng(0)
    hashes = [f"{value:016x}" for value in rng.integers(0, 2**63, 100_000).tolist()]
    for distance, most in ((2, 3), (4, 6), (8, 20)):
        begun = time.process_time()
        near_groups(hashes, distance)
        assert time.process_time() - begun < most


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_copies_of_the_clip_art_are_those_its_table_names():
    rows = pq.read_table(SHARED / "clipart/clipart.parquet", columns=["id", "dup_of", "image"]).to_pylist()
    seen = [identify(row["image"]) for row in rows]
    exact = exact_groups([picture.sha256 for picture in seen])
    place = {row["id"]: number for number, row in enumerate(rows)}
    truth = [place[row["dup_of"]] if row["dup_of"] else number for number, row in enumerate(rows)]
    assert exact.tolist() == truth
    joined_rows, largest = {}, {}
    for distance in (0, 2, 4, 6, 8):
        near = near_groups([picture.phash for picture in seen], distance)
        assert joined(exact, near).tolist() == near.tolist()  # the same bytes have the same hash
        joined_rows[distance] = int((near != np.arange(len(rows))).sum())
        largest[distance] = int(np.bincount(near).max())
    assert joined_rows == {0: 643, 2: 867, 4: 1135, 6: 1333, 8: 1643}
    assert largest == {0: 10, 2: 39, 4: 89, 6: 144, 8: 200}


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_photographs_are_not_mistaken_for_each_other():
    counts, hashes = {}, []
    for split in ("train", "val", "test", "none"):
        rows = pq.read_table(SHARED / f"flickr8k/{split}.parquet").to_pylist()
        counts[split] = len(rows)
        assert all(len(row["captions"]) == 5 for row in rows)
        hashes += [identify(row["image"]).phash for row in rows]
    assert counts == {"train": 6000, "val": 1000, "test": 1000, "none": 91}
    copies = [int((near_groups(hashes, bits) != np.arange(len(hashes))).sum()) for bits in (2, 6, 8, 10)]
    assert copies == [1, 1, 1, 24]


def test_a_hash_of_fewer_pixels_than_it_compares_tells_nothing():
    assert telling_hash("0" * 16, 32, 40) == "0" * 16
    assert telling_hash("0" * 16, 28, 400) is None
    assert telling_hash("0" * 16, None, None) == "0" * 16  # not known: no reason to doubt it
    assert telling_hash(None, 64, 64) is None
