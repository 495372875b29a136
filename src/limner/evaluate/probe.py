"""Logistic regression on frozen features: the C sweep of CLIP, and a fit that starts from a given classifier.

Implements: scikit-learn's L-BFGS without standardisation; seven strengths two decades apart, then four times
half the step around the best, to eight a decade; chosen on validation, refitted on training and validation.
Fit around a prior: the same loss with the penalty on the distance from given weights, not from zero, so that
with few samples the given classifier remains.
Differs: among equally good strengths the paper says nothing; here the strongest penalty wins.
Checked against: a loop over all 97 strengths with scikit-learn alone; the prior of zero equals scikit-learn.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), section 3.2 and appendix A.3.
"""

import warnings
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from limner.errors import DataError
from limner.evaluate.class_scores import softmax

COARSE: Final = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
"""Logarithms of the penalties λ that are tried first; C = 1 / λ."""

FINEST: Final = 0.125
ITERATIONS: Final = 1000


class Linear(NamedTuple):
    """A linear classifier.

    Args:
        weights: one row a class.
        bias: one a class.
        converged: whether L-BFGS came to an end.
    """

    weights: Float[np.ndarray, "k d"]
    bias: Float[np.ndarray, " k"]
    converged: bool = True

    def scores(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Logits."""
        scores: np.ndarray = features @ self.weights.T + self.bias
        return scores


class Sweep(NamedTuple):
    """What was tried.

    Args:
        log_penalty: log10 λ that was chosen.
        tried: log10 λ → accuracy on validation.
        unfinished: fits that stopped after 1,000 iterations.
    """

    log_penalty: float
    tried: dict[float, float]
    unfinished: int

    @property
    def c(self) -> float:
        """What scikit-learn calls C."""
        return float(10.0**-self.log_penalty)


def fit(features: Float[np.ndarray, "n d"], truth: Int[np.ndarray, " n"], classes: int, c: float) -> Linear:
    """Logistic regression by scikit-learn.

    Args:
        features: as they are; nothing is standardised.
        truth: class of each; at least two occur.
        classes: how many there are; one that does not occur is never named.
        c: 1 / λ.
    Raises: DataError when fewer than two classes occur or a feature is not finite.
    """
    check(features, truth)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = LogisticRegression(C=c, max_iter=ITERATIONS).fit(features, truth)
    stopped = any(issubclass(one.category, ConvergenceWarning) for one in said)
    weights = np.zeros((classes, features.shape[1]), np.float64)
    bias = np.full(classes, -np.inf)
    if len(found.classes_) == 2:  # scikit-learn keeps one row for two classes
        first, second = found.classes_
        weights[second], bias[first], bias[second] = found.coef_[0], 0.0, found.intercept_[0]
    else:
        weights[found.classes_], bias[found.classes_] = found.coef_, found.intercept_
    return Linear(weights, bias, not stopped)


def check(features: Float[np.ndarray, "n d"], truth: Int[np.ndarray, " n"]) -> None:
    """Make sure that a classifier can be fitted.

    Raises: DataError when fewer than two classes occur or a feature is not finite.
    """
    if len(np.unique(truth)) < 2:
        raise DataError(f"{len(truth)} samples of one class", wanted="samples of two classes or more")
    if not np.isfinite(features).all():
        raise DataError("a feature is NaN or infinite", wanted="finite features")


def sweep(accuracy: Callable[[float], tuple[float, bool]]) -> Sweep:
    """Find the penalty that does best on validation, coarse to fine.

    Args:
        accuracy: log10 λ → accuracy on validation, and whether the fit came to an end.
    """
    tried: dict[float, float] = {}
    unfinished = 0

    def best_of(logs: list[float]) -> float:
        nonlocal unfinished
        for log in logs:
            if log not in tried and COARSE[0] <= log <= COARSE[-1]:
                tried[log], ended = accuracy(log)
                unfinished += not ended
        return max(tried, key=lambda log: (tried[log], log))

    best, step = best_of(list(COARSE)), COARSE[1] - COARSE[0]
    while step > FINEST:
        step /= 2
        best = best_of([best - step, best + step])
    return Sweep(best, tried, unfinished)


def sweep_probe(
    train: Float[np.ndarray, "n d"],
    truth: Int[np.ndarray, " n"],
    val: Float[np.ndarray, "m d"],
    val_truth: Int[np.ndarray, " m"],
    classes: int,
) -> Sweep:
    """The sweep of logistic regression: fitted on training, chosen on validation."""

    def accuracy(log: float) -> tuple[float, bool]:
        found = fit(train, truth, classes, 10.0**-log)
        return float(np.mean(found.scores(val).argmax(1) == val_truth)), found.converged

    return sweep(accuracy)


def fit_around(
    features: Float[np.ndarray, "n d"],
    truth: Int[np.ndarray, " n"],
    prior: Float[np.ndarray, "k d"],
    c: float,
) -> Linear:
    """Logistic regression whose penalty is on the distance from a given classifier.

    Without it, where L-BFGS starts would not matter: the loss is convex.

    Args:
        features: n samples.
        truth: class of each.
        prior: weights to stay near to, such as those that texts make, times the logit scale.
        c: 1 / λ.
    Raises: DataError when a feature is not finite.
    """
    if not np.isfinite(features).all():
        raise DataError("a feature is NaN or infinite", wanted="finite features")
    x, start = features.astype(np.float64), prior.astype(np.float64)
    offset, wanted = x @ start.T, np.eye(len(prior))[truth]

    def loss(flat: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
        moved = flat.reshape(len(prior), -1)
        scores = offset + x @ moved[:, :-1].T + moved[:, -1]
        probabilities = softmax(scores)
        own = np.maximum(probabilities[np.arange(len(truth)), truth], 1e-300)
        gradient = c * (probabilities - wanted).T @ np.hstack([x, np.ones((len(x), 1))])
        gradient[:, :-1] += moved[:, :-1]
        return float(-c * np.log(own).sum() + (moved[:, :-1] ** 2).sum() / 2), gradient.ravel()

    first = np.zeros((len(prior), x.shape[1] + 1))
    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    moved = found.x.reshape(first.shape)
    return Linear(start + moved[:, :-1], moved[:, -1], bool(found.success))
