"""Few samples a class: what is drawn, least squares in closed form, how many labels a score is worth.

Implements: k samples a class, drawn with a seed, each draw holding the smaller ones; ViT's standardised ridge
regression; log-linear interpolation of a curve; the mean over repeats with its t interval.
Checked against: a slow solve of the normal equations, and loops.

Source: Dosovitskiy et al. 2020 (ViT, arXiv 2010.11929), section 4.1 and the released code (statistics of the
training samples, a bias column of 100, λ = 1024); Radford et al. 2021 (CLIP, arXiv 2103.00020), Figures 6, 7.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from limner.errors import DataError
from limner.evaluate.metrics import Interval

BIAS: Final = 100.0
PENALTY: Final = 1024.0


def draw(truth: Int[np.ndarray, " n"], shots: int, seed: int) -> Int[np.ndarray, " m"]:
    """Places of the same number of samples of each class; the first k of each are those of a smaller draw.

    Raises: DataError when a class has fewer.
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.flatnonzero(truth == number)) for number in np.unique(truth)]
    fewest = min(map(len, orders))
    if fewest < shots:
        raise DataError(f"{shots} samples of a class that has {fewest}", wanted=f"at most {fewest} shots")
    return np.concatenate([order[:shots] for order in orders])


def least_squares(
    train: Float[np.ndarray, "n d"],
    truth: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    classes: int,
    penalty: float = PENALTY,
) -> Float[np.ndarray, "m k"]:
    """Scores of samples by ridge regression onto ±1, in closed form.

    Args:
        train: features of the samples that are known.
        truth: their classes.
        test: features of the others.
        classes: k.
        penalty: λ.
    Raises: DataError when a feature is not finite.
    """
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        raise DataError("a feature is NaN or infinite", wanted="finite features")
    mean, std = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64) + 1e-5

    def ready(features: Float[np.ndarray, "r d"]) -> Float[np.ndarray, "r e"]:
        return np.hstack([(features - mean) / std, np.full((len(features), 1), BIAS)])

    x, wanted = ready(train), 2 * np.eye(classes)[truth] - 1
    if len(x) >= x.shape[1]:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ wanted)
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), wanted)
    scores: np.ndarray = ready(test) @ weights
    return scores


class Worth(NamedTuple):
    """How many labels a class a score is worth.

    Args:
        shots: by interpolation; the end of the curve where the score lies outside.
        side: "below" the curve's first point, "above" its best, or "within".
    """

    shots: float
    side: Literal["below", "within", "above"]


def shots_worth(score: float, shots: Sequence[int], accuracy: Sequence[float]) -> Worth:
    """Where a curve first reaches a score, linear in the logarithm of shots.

    Args:
        score: accuracy without any label.
        shots: of the curve, rising, from 1.
        accuracy: at each.
    Source: CLIP, Figure 7.
    """
    if score <= accuracy[0]:
        return Worth(float(shots[0]), "below" if score < accuracy[0] else "within")
    for place in range(1, len(shots)):
        low, high = accuracy[place - 1], accuracy[place]
        if low < score <= high:
            share = (score - low) / (high - low)
            logs = np.log(shots[place - 1 : place + 1])
            return Worth(float(np.exp(logs[0] + share * (logs[1] - logs[0]))), "within")
    return Worth(float(shots[-1]), "above")


def repeats_interval(values: Sequence[float]) -> Interval:
    """The 95 % t interval of the mean over repeats.

    Raises: DataError for fewer than two.
    """
    if len(values) < 2:
        raise DataError("one repeat has no interval", wanted="two or more")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return Interval(mean - reach, mean + reach)
