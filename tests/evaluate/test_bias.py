"""Bias measures against scipy and loops."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chi2_contingency, false_discovery_control
from scipy.stats.contingency import crosstab

from limner.errors import DataError
from limner.evaluate.bias import (
    chi_square,
    corrected,
    label_shares,
    permutation_p,
    term_skew,
    two_sided,
    wilson,
)


@pytest.mark.parametrize(("count", "total"), [(0, 7), (3, 7), (7, 7), (50, 1000)])
def test_wilson_solves_its_quadratic_equation(count: int, total: int) -> None:
    share = wilson(count, total)
    p, z2 = count / total, 1.959963984540054**2
    roots = np.roots([1 + z2 / total, -(2 * p + z2 / total), p * p])
    assert (share.low, share.high) == pytest.approx((max(0, roots.min()), min(1, roots.max())), abs=1e-12)
    assert share.low <= share.value <= share.high


def test_shares_of_a_group_sum_to_one() -> None:
    shares = label_shares(["a", "b", "a", "a"], ["x", "x", "y", "y"])
    assert {g: {k: s.value for k, s in of.items()} for g, of in shares.items()} == {
        "x": {"a": 0.5, "b": 0.5},
        "y": {"a": 1.0, "b": 0.0},
    }


def test_chi_square_is_scipys() -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(1, 30, (3, 4))
    assert chi_square(table) == pytest.approx(chi2_contingency(table, correction=False).statistic)
    assert chi_square(np.pad(table, ((0, 1), (0, 1)))) == pytest.approx(chi_square(table))


def test_the_permutation_p_nears_the_asymptotic_one() -> None:
    rng = np.random.default_rng(1)
    groups = rng.choice(["x", "y"], 300).tolist()
    labels = [str(k) for k in rng.integers(0, 3, 300)]
    value, p = permutation_p(labels, groups, draws=400)
    wanted = chi2_contingency(crosstab(groups, labels).count, correction=False)
    assert value == pytest.approx(wanted.statistic)
    assert p == pytest.approx(wanted.pvalue, abs=0.08)
    assert permutation_p(groups, groups, draws=50)[1] == pytest.approx(1 / 51)
    with pytest.raises(DataError, match="at least two"):
        permutation_p(["a", "a"], ["x", "y"])


def test_the_correction_is_scipys() -> None:
    p = [0.001, 0.04, 0.03, 0.5, 0.5, 0.9]
    np.testing.assert_allclose(corrected(p), false_discovery_control(p))


def test_log_odds_are_the_loop_of_the_paper() -> None:
    first, second = ["The red bus", "a red car red"], ["a blue bus", "the blue blue sea"]
    one = Counter(w for t in first for w in t.lower().split())
    other = Counter(w for t in second for w in t.lower().split())
    n, m, prior = sum(one.values()), sum(other.values()), 10.0
    for skew in term_skew(first, second, prior, least=1):
        a = prior * (one[skew.word] + other[skew.word]) / (n + m)
        left = (one[skew.word] + a) / (n + prior - one[skew.word] - a)
        right = (other[skew.word] + a) / (m + prior - other[skew.word] - a)
        odds = math.log(left) - math.log(right)
        z = odds / math.sqrt(1 / (one[skew.word] + a) + 1 / (other[skew.word] + a))
        assert (skew.log_odds, skew.z) == pytest.approx((odds, z))
    skews = term_skew(first, second, prior)
    assert {s.word for s in skews} == {"red", "blue"}  # said three times
    assert [s.z > 0 for s in skews if s.word == "red"] == [True]
    with pytest.raises(DataError, match="words"):
        term_skew([], second)


def test_a_score_of_two_is_about_one_in_twenty() -> None:
    assert two_sided(-1.959964) == pytest.approx(0.05, abs=1e-6)
