"""People on a labelled test, beside models: accuracy, votes, difficulty, error consistency. Plain arrays.

Implements: the columns of CLIP's human study (accuracy, majority vote, both on guesses alone), per class;
    correlation of the difficulty of classes; error consistency.
Differs: the paper does not say how ties of a vote are settled; here a tie that holds the true class counts
    as its share of it.
Checked against: loops written from the definitions; SciPy's rank correlation; scikit-learn's kappa.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), section 4 and table 2; Geirhos, Meding, Wichmann 2020
(Beyond accuracy: error consistency, arXiv 2006.16736), eq. 1 and 2.
"""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy import stats

from limner.errors import DataError

DONT_KNOW: Final = -1
"""An answer that names no class."""
NOT_ASKED: Final = -2
"""A picture that a person has not answered."""


class HumanScores(NamedTuple):
    """The columns of CLIP's table; shares in [0, 1], NaN where nobody answered or guessed.

    Args:
        accuracy: mean over people of their mean per-class accuracy; "I don't know" is wrong.
        majority: that of the vote of all people; pictures nobody named a class for are wrong.
        guess_accuracy: of each person's answers that name a class.
        guess_majority: of the vote, over the pictures somebody named a class for.
        guesses: share of the answers that name a class.
    """

    accuracy: float
    majority: float
    guess_accuracy: float
    guess_majority: float
    guesses: float


def human_scores(answers: Int[np.ndarray, "p n"], truth: Int[np.ndarray, " m"]) -> HumanScores:
    """Score the answers of p people to n pictures.

    Args:
        answers: number of a class, `DONT_KNOW` or `NOT_ASKED`.
        truth: class of each picture.
    Raises: DataError when the shapes differ or a class is negative.
    """
    _require(answers, truth)
    asked, guessed = answers != NOT_ASKED, answers >= 0
    right = answers == truth
    credit, voted = vote_credit(answers, truth)
    answered = asked.any(axis=0)
    return HumanScores(
        accuracy=_mean([per_class_mean(r[a], truth[a]) for r, a in zip(right, asked, strict=True)]),
        majority=per_class_mean(credit[answered], truth[answered]),
        guess_accuracy=_mean([per_class_mean(r[g], truth[g]) for r, g in zip(right, guessed, strict=True)]),
        guess_majority=per_class_mean(credit[voted], truth[voted]),
        guesses=float(guessed.sum() / asked.sum()) if asked.any() else float("nan"),
    )


def vote_credit(
    answers: Int[np.ndarray, "p n"], truth: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """How far the vote on each picture is right, and whether anybody voted.

    Args:
        answers: as in `human_scores`; only those that name a class are votes.
        truth: class of each picture.
    Returns: 1 where the true class alone has the most votes, 1/k where it shares them with k - 1 others, else
        0; True where there is a vote.
    """
    credit, voted = np.zeros(len(truth)), np.asarray((answers >= 0).any(axis=0))
    for picture in np.flatnonzero(voted):
        votes = answers[:, picture]
        classes, counts = np.unique(votes[votes >= 0], return_counts=True)
        leaders = classes[counts == counts.max()]
        credit[picture] = (truth[picture] in leaders) / len(leaders)
    return credit, voted


def class_accuracy(
    right: Real[np.ndarray, " n"] | Bool[np.ndarray, " n"], truth: Int[np.ndarray, " n"], classes: int
) -> Float[np.ndarray, " c"]:
    """Mean of `right` over the pictures of each class; NaN for a class without any.

    Args:
        right: of each picture, [0, 1].
        truth: its class.
        classes: c.
    """
    counts = np.bincount(truth, minlength=classes)
    sums = np.bincount(truth, weights=np.asarray(right, dtype=np.float64), minlength=classes)
    shares: np.ndarray = np.divide(sums, counts, out=np.full(classes, np.nan), where=counts > 0)
    return shares


def per_class_mean(
    right: Real[np.ndarray, " n"] | Bool[np.ndarray, " n"], truth: Int[np.ndarray, " n"]
) -> float:
    """Accuracy averaged over the classes that occur; NaN without pictures."""
    if not len(truth):
        return float("nan")
    return float(np.nanmean(class_accuracy(right, truth, int(truth.max()) + 1)))


class Agreement(NamedTuple):
    """How alike two series are.

    Args:
        value: Spearman's rank correlation, [-1, 1]; NaN where one of them is constant.
        p: of no correlation, two-sided; NaN likewise.
        pairs: how many.
    """

    value: float
    p: float
    pairs: int


def difficulty_agreement(one: Float[np.ndarray, " c"], other: Float[np.ndarray, " c"]) -> Agreement:
    """Are the same classes hard for both?

    Args:
        one: accuracy of each class; NaN where it was not measured.
        other: likewise.
    """
    known = ~(np.isnan(one) | np.isnan(other))
    a, b = one[known], other[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Agreement(float("nan"), float("nan"), len(a))
    found = stats.spearmanr(a, b)
    return Agreement(float(found.statistic), float(found.pvalue), len(a))


def error_consistency(one: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " m"]) -> float:
    """Whether two deciders err on the same pictures more often than their accuracies make likely: Cohen's
    kappa of being right.

    Args:
        one: whether each picture was right.
        other: likewise, for the same pictures.
    Returns: 1 for the same errors, 0 for those of chance, below 0 for fewer; NaN when both are always right
        or always wrong, or there are no pictures.
    Source: Geirhos et al. 2020, eq. 1 and 2.
    """
    if len(one) != len(other):
        raise DataError(f"{len(one)} and {len(other)} pictures", wanted="the same pictures for both")
    if not len(one):
        return float("nan")
    observed = float(np.mean(one == other))
    expected = float(one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean()))
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _require(answers: Int[np.ndarray, "p n"], truth: Int[np.ndarray, " m"]) -> None:
    if answers.ndim != 2 or answers.shape[1] != len(truth) or (truth < 0).any():
        raise DataError(
            f"answers of shape {answers.shape} to {len(truth)} pictures",
            wanted="a row a person, a column a picture, and a class for each picture",
        )
