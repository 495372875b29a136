"""Scores of people against loops, SciPy and scikit-learn."""

import math
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from limner.errors import DataError
from limner.evaluate.human import (
    DONT_KNOW,
    NOT_ASKED,
    class_accuracy,
    difficulty_agreement,
    error_consistency,
    human_scores,
    per_class_mean,
    vote_credit,
)


def mean_per_class(pairs: list[tuple[float, int]]) -> float:
    by_class: dict[int, list[float]] = {}
    for value, truth in pairs:
        by_class.setdefault(truth, []).append(value)
    return sum(sum(v) / len(v) for v in by_class.values()) / len(by_class) if by_class else math.nan


def slow_vote(said: list[int], truth: int) -> float:
    votes = Counter(answer for answer in said if answer >= 0)
    best = max(votes.values())
    leaders = [answer for answer, count in votes.items() if count == best]
    return 1 / len(leaders) if truth in leaders else 0.0


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_those_of_a_loop(seed: int):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 30)
    answers = rng.integers(NOT_ASKED, 4, (5, 30))
    found = human_scores(answers, truth)
    people = [
        [(float(a == t), t) for a, t in zip(row, truth, strict=True) if a != NOT_ASKED]
        for row in answers.tolist()
    ]
    guesses = [
        [(float(a == t), t) for a, t in zip(row, truth, strict=True) if a >= 0] for row in answers.tolist()
    ]
    columns = [(answers[:, n].tolist(), int(truth[n])) for n in range(30)]
    voted = [(slow_vote(said, t), t) for said, t in columns if max(said) >= 0]
    silent = [(0.0, t) for said, t in columns if max(said) == DONT_KNOW]
    assert found.accuracy == pytest.approx(np.mean([mean_per_class(p) for p in people]))
    assert found.guess_accuracy == pytest.approx(np.mean([mean_per_class(p) for p in guesses]))
    assert found.majority == pytest.approx(mean_per_class(voted + silent))
    assert found.guess_majority == pytest.approx(mean_per_class(voted))
    assert found.guesses == pytest.approx((answers >= 0).sum() / (answers != NOT_ASKED).sum())


def test_nobody_has_no_score():
    found = human_scores(np.empty((0, 3), int), np.array([0, 1, 1]))
    assert all(map(math.isnan, found))


def test_those_who_know_nothing_are_wrong_and_guess_nothing():
    found = human_scores(np.full((2, 3), DONT_KNOW), np.array([0, 1, 1]))
    assert (found.accuracy, found.majority, found.guesses) == (0, 0, 0)
    assert math.isnan(found.guess_accuracy)
    assert math.isnan(found.guess_majority)


def test_a_tie_with_the_truth_in_it_is_half_right():
    credit, voted = vote_credit(np.array([[0, 2, DONT_KNOW], [1, 2, DONT_KNOW]]), np.array([1, 0, 0]))
    assert credit.tolist() == [0.5, 0.0, 0.0]
    assert voted.tolist() == [True, True, False]


def test_answers_of_another_shape_are_refused():
    with pytest.raises(DataError, match="a row a person"):
        human_scores(np.zeros((2, 3), int), np.zeros(4, int))


def test_class_accuracy_has_no_number_for_a_class_without_pictures():
    found = class_accuracy(np.array([1, 0, 1]), np.array([0, 0, 2]), 4)
    assert found[[0, 2]].tolist() == [0.5, 1.0]
    assert np.isnan(found[[1, 3]]).all()
    assert per_class_mean(np.array([1, 0, 1]), np.array([0, 0, 2])) == 0.75


def test_error_consistency_is_kappa_of_being_right():
    rng = np.random.default_rng(3)
    one = rng.random(200) < 0.7
    other = np.where(rng.random(200) < 0.6, one, rng.random(200) < 0.5)
    assert error_consistency(one, other) == pytest.approx(cohen_kappa_score(one, other))
    assert error_consistency(one, one) == pytest.approx(1)


def test_error_consistency_of_the_infallible_is_not_known():
    always = np.ones(4, bool)
    assert math.isnan(error_consistency(always, always))
    assert math.isnan(error_consistency(always[:0], always[:0]))
    with pytest.raises(DataError, match="same pictures"):
        error_consistency(always, always[:3])


def test_agreement_of_difficulty():
    one = np.array([0.1, 0.5, np.nan, 0.9, 0.7])
    found = difficulty_agreement(one, np.array([0.2, 0.3, 0.4, 1.0, 0.8]))
    assert found.value == pytest.approx(1)
    assert found.pairs == 4
    assert math.isnan(difficulty_agreement(one, np.full(5, 0.5)).value)
    assert math.isnan(difficulty_agreement(one[:2], one[:2]).value)
