"""Paired comparisons against SciPy and loops."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from limner.errors import DataError
from limner.evaluate.comparison import holm, mcnemar, paired_difference, sign_flip


@pytest.mark.parametrize("better", [0, 1, 7])
@pytest.mark.parametrize("worse", [0, 3, 12])
def test_mcnemar_is_the_sum_of_the_binomial_tails(better: int, worse: int):
    n = better + worse
    tail = sum(math.comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    assert mcnemar(better, worse) == pytest.approx(min(1.0, 2 * tail) if n else 1.0)


def test_right_and_wrong_use_mcnemar_and_count_flips():
    first, second = np.array([1, 1, 0, 0, 1, 0]), np.array([1, 0, 1, 1, 1, 1])
    found = paired_difference(first, second)
    assert (found.better, found.worse, found.samples) == (3, 1, 6)
    assert (found.first, found.second) == (0.5, pytest.approx(5 / 6))
    assert found.value == pytest.approx(2 / 6)
    assert found.p == mcnemar(3, 1)
    assert found.low <= found.value <= found.high


def test_sign_flips_are_those_of_all_signs():
    gained = np.array([0.4, -0.1, 0.3, 0.2, 0.0, 0.5, -0.2])
    sums = [abs(float(np.dot(signs, gained))) for signs in itertools.product((-1, 1), repeat=7)]
    exact = np.mean([s >= abs(gained.sum()) - 1e-9 for s in sums])
    assert sign_flip(gained, 0, 20_000) == pytest.approx(exact, abs=0.01)


def test_sign_flips_agree_with_scipy():
    rng = np.random.default_rng(0)
    gained = rng.normal(0.15, 1, 60)
    told = stats.permutation_test(
        (gained,), np.sum, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(1)
    )
    assert sign_flip(gained, 0) == pytest.approx(told.pvalue, abs=0.03)


def test_a_clear_gain_is_found_and_none_is_not():
    rng = np.random.default_rng(1)
    first = rng.random(300)
    assert paired_difference(first, first + 0.1 + rng.normal(0, 0.05, 300)).p < 0.001
    assert paired_difference(first, first).p == 1.0
    assert paired_difference(first, rng.permutation(first)).p > 0.05


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        first = rng.normal(0, 1, 80)
        found = paired_difference(first, first + rng.normal(0.2, 1, 80), seed)
        inside += found.low <= 0.2 <= found.high
    assert 50 <= inside <= 60


def test_holm_is_step_down():
    ps = [0.01, 0.04, 0.03, 0.005]
    assert holm(ps) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [([], [], "0 and 0"), ([1.0], [1.0, 2.0], "1 and 2"), ([math.nan], [1.0], "NaN")],
)
def test_what_cannot_be_compared_is_told(first: list, second: list, message: str):
    with pytest.raises(DataError, match=message):
        paired_difference(np.array(first, float), np.array(second, float))
