"""Two models on the same samples: is the difference more than chance? Plain arrays.

Implements: paired bootstrap interval of a mean difference; exact McNemar test where every sample is right or
    wrong, else a sign-flip test; Holm's correction for many classes.
Checked against: SciPy's binomial and permutation tests; sums over all signs and tails.

Source: Efron 1979 (bootstrap); McNemar 1947; Holm 1979.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Real
from scipy import stats

from limner.errors import DataError
from limner.evaluate.metrics import bootstrap_interval

_FLIPS: Final = 4000


class Difference(NamedTuple):
    """How much better the second is.

    Args:
        first: mean of the first.
        second: mean of the second.
        value: second - first.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of no difference, two-sided.
        better: samples on which the second scores higher.
        worse: on which it scores lower.
        samples: pairs.
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    samples: int


def paired_difference(
    first: Real[np.ndarray, " n"], second: Real[np.ndarray, " m"], seed: int = 0
) -> Difference:
    """Compare scores sample by sample.

    Args:
        first: score of each sample.
        second: of the same samples.
        seed: of the resampling.
    Raises: DataError when there are no pairs, or a score is not finite.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not len(one) or len(one) != len(two):
        raise DataError(
            f"{len(one)} and {len(two)} scores", wanted="two for each sample, and one sample or more"
        )
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise DataError("a score is NaN or infinite", wanted="finite scores")
    gained = two - one
    low, high = bootstrap_interval(gained, seed)
    better, worse = int((gained > 0).sum()), int((gained < 0).sum())
    binary = set(np.unique(np.concatenate([one, two])).tolist()) <= {0.0, 1.0}
    p = mcnemar(better, worse) if binary else sign_flip(gained, seed)
    return Difference(
        float(one.mean()), float(two.mean()), float(gained.mean()), low, high, p, better, worse, len(one)
    )


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p of as many flips one way as the other; 1 where nothing flips.

    Args:
        better: samples that only the second has right.
        worse: samples that only the first has right.
    """
    flips = better + worse
    return float(stats.binomtest(better, flips, 0.5).pvalue) if flips else 1.0


def sign_flip(gained: Float[np.ndarray, " n"], seed: int, flips: int = _FLIPS) -> float:
    """Two-sided p of a mean difference when each sample could as well have had the other sign.

    Args:
        gained: difference of each sample.
        seed: of the signs.
        flips: draws; the smallest p is 1 / (draws + 1).
    """
    moved = gained[gained != 0]
    if not len(moved):
        return 1.0
    rng, seen = np.random.default_rng(seed), abs(moved.sum()) * (1 - 1e-12)
    beyond = sum(abs(float(moved @ (2.0 * rng.integers(0, 2, len(moved)) - 1))) >= seen for _ in range(flips))
    return float((beyond + 1) / (flips + 1))


def holm(ps: Sequence[float]) -> list[float]:
    """p values of many tests, so that the chance of any false finding stays below the level.

    Args:
        ps: one a test.
    """
    order, adjusted, highest = np.argsort(ps, kind="stable"), [0.0] * len(ps), 0.0
    for rank, place in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return adjusted
