"""Orders: permutations that are never written out, and what is kept of filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from limner.data.order import MOST_SAMPLES, Copies, Order, Permutation, Positions
from limner.errors import DataError


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.integers(-(2**63), 2**64), st.integers(0, 10**6))
def test_a_permutation_is_a_bijection(count: int, seed: int, epoch: int) -> None:
    order = Permutation(count, seed, epoch)
    assert np.array_equal(np.sort(order[:]), np.arange(count))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, MOST_SAMPLES), st.integers(0, 2**32))
def test_large_orders_keep_to_their_range_and_repeat_nothing(count: int, seed: int) -> None:
    places = np.unique(np.linspace(0, count - 1, 3000).astype(np.int64))
    found = Permutation(count, seed, 3)[places]
    assert found.min() >= 0
    assert found.max() < count
    assert len(np.unique(found)) == len(places)


def test_places_are_given_as_arrays_are() -> None:
    order = Permutation(1000, 1, 2)
    whole = order[:]
    assert len(order) == len(whole) == 1000
    assert order[17] == whole[17]
    assert order[-1] == whole[-1]
    assert np.array_equal(order[10:50:7], whole[10:50:7])
    assert np.array_equal(order[np.array([[3, 1], [4, 1]])], whole[[[3, 1], [4, 1]]])
    for outside in (1000, -1001):
        with pytest.raises(IndexError, match="of 1000"):
            order[outside]


def test_permutations_differ_by_seed_and_epoch_and_are_the_same_everywhere() -> None:
    orders = [Permutation(1000, seed, epoch)[:] for seed in (0, 1) for epoch in (0, 1)]
    assert len({order.tobytes() for order in orders}) == 4
    shared = [(a == b).sum() for a in orders for b in orders if a is not b]
    assert max(shared) < 10
    assert orders[0][:5].tolist() == Permutation(1000, 0, 0)[:5].tolist()
    assert Permutation(10**9, 7, 3)[:4].tolist() == GOLDEN


GOLDEN = [77467265, 292548787, 615999190, 582963200]
"""Pinned: an order that changes breaks every run that is resumed."""


@pytest.mark.parametrize("count", [3, 13, 300])
def test_every_number_is_as_likely_at_every_place(count: int) -> None:
    seeds = 800
    places = np.arange(min(count, 8))
    seen = np.array([Permutation(count, seed, 0)[places] for seed in range(seeds)])
    bins = min(count, 13)
    for place in places:
        met = np.bincount(seen[:, place] * bins // count, minlength=bins)
        share = np.bincount(np.arange(count) * bins // count, minlength=bins) / count
        assert stats.chisquare(met, share * seeds).pvalue > 1e-4


def test_neighbours_in_an_order_are_strangers() -> None:
    count, bins = 100_003, 20
    order = Permutation(count, 5, 0)[:]
    cells = (order[:-1] * bins // count) * bins + order[1:] * bins // count
    assert stats.chisquare(np.bincount(cells, minlength=bins**2)).pvalue > 1e-4
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(np.arange(count), order)[0, 1]) < 0.02
    assert (np.diff(order) == 1).sum() < 10
    gaps = np.diff(order) % count * bins // count
    assert stats.chisquare(np.bincount(gaps, minlength=bins), np.full(bins, (count - 1) / bins)).pvalue > 1e-4


def test_fixed_points_are_as_rare_as_chance_has_them() -> None:
    places = np.arange(1000)
    fixed = [int((Permutation(1000, seed, 1)[places] == places).sum()) for seed in range(400)]
    assert np.mean(fixed) == pytest.approx(1, abs=0.2)  # Poisson of mean 1
    assert np.var(fixed) == pytest.approx(1, abs=0.3)


def test_impossible_counts_are_refused() -> None:
    for count in (0, MOST_SAMPLES + 1):
        with pytest.raises(DataError, match=f"order of {count} samples"):
            Permutation(count, 0, 0)


@pytest.mark.parametrize("buckets", [0, 3])
def test_any_step_can_be_the_first(buckets: int) -> None:
    def lengths(indices: np.ndarray, epoch: int) -> np.ndarray:
        return (indices * 7919 + epoch) % 50

    order = Order(1003, 10, 4, buckets, lengths)
    whole = list(order.batches(2))
    assert len(whole) == order.steps == 100
    assert len(np.unique(np.concatenate(whole))) == 1000
    for step in (0, 1, 2, 3, 50, 98, 99):
        rest = list(order.batches(2, step))
        assert np.array_equal(np.stack(rest), np.stack(whole[step:]))
    assert not np.array_equal(whole[0], next(order.batches(3)))


def test_buckets_hold_like_lengths_in_a_shuffled_order() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 4096)
    plain = list(Order(4096, 16, 1).batches(0))
    sorted_ = list(Order(4096, 16, 1, 32, lambda indices, _: lengths[indices]).batches(0))

    def padding(batches: list[np.ndarray]) -> float:
        padded = sum(lengths[batch].max() * len(batch) for batch in batches)
        return 1 - lengths[np.concatenate(batches)].sum() / padded

    assert padding(plain) > 0.4
    assert padding(sorted_) < 0.05
    assert np.array_equal(np.sort(np.concatenate(plain)), np.sort(np.concatenate(sorted_)))
    longest = [int(lengths[batch].max()) for batch in sorted_[:32]]
    assert abs(np.corrcoef(np.arange(32), longest)[0, 1]) < 0.6


def test_buckets_need_lengths() -> None:
    with pytest.raises(DataError, match="how long their texts are"):
        Order(100, 10, 0, bucket_batches=4)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 2000), min_size=1), st.integers(2001, 70_000))
def test_positions_are_the_rows_they_were_given(rows: set[int], count: int) -> None:
    given_rows = np.array(sorted(rows))
    kept = Positions(given_rows, count)
    assert len(kept) == len(rows)
    assert np.array_equal(kept[np.arange(len(rows))], given_rows)


def test_positions_are_small() -> None:
    assert Positions(None, 10**8).nbytes == 0
    assert Positions(np.arange(10**5), 10**5).nbytes == 0
    split = Positions(np.r_[0:40_000, 50_000:90_000], 10**5)
    assert split.nbytes == 32
    assert split[np.array([39_999, 40_000])].tolist() == [39_999, 50_000]
    assert Positions(np.arange(0, 10**5, 3), 10**5).nbytes == 4 * 33_334
    assert Positions(np.arange(0, 60_000, 3), 60_000).nbytes == 2 * 20_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=900).filter(any))
def test_copies_name_each_text_of_each_row_once(counts: list[int]) -> None:
    copies = Copies(np.array(counts))
    expected = [(row, number) for row, count in enumerate(counts) for number in range(count)]
    assert len(copies) == len(expected)
    assert copies[np.arange(len(copies))].tolist() == [list(pair) for pair in expected]
