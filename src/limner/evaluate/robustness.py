"""How a model holds when pictures change: effective robustness, corruption error, shape bias; arrays only.

Checked against: loops and numbers worked out by hand; scipy's regression.

Source: Taori et al. 2020 (arXiv 2007.00644) for effective robustness; Hendrycks & Dietterich 2019 (arXiv
1903.12261), section 4, for mCE; Geirhos et al. 2019 (arXiv 1811.12231) for shape bias.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from limner.errors import DataError

_EDGE = 1e-3  # accuracies of 0 and 1 have no logit


class Line(NamedTuple):
    """What accuracy under shift is to be expected: logit(shifted) = slope · logit(own) + intercept."""

    slope: float
    intercept: float

    def expected(self, own: float) -> float:
        """Accuracy under shift of an ordinary model with this accuracy on its own distribution."""
        return float(_expit(np.asarray(self.slope * _logit(np.asarray(own)) + self.intercept)))


def fit_line(own: Sequence[float], shifted: Sequence[float]) -> Line:
    """Least squares through the logits of models' accuracies.

    Args:
        own: accuracy of each reference model on its own distribution, [0, 1].
        shifted: its accuracy under shift.
    Raises: DataError when there are fewer than two, or all have the same accuracy.
    """
    x, y = _logit(np.asarray(own, np.float64)), _logit(np.asarray(shifted, np.float64))
    if len(x) != len(y) or len(x) < 2 or np.ptp(x) == 0:
        raise DataError(
            f"{len(x)} own and {len(y)} shifted accuracies",
            wanted="a pair a reference model, of at least two that differ",
            hint="--set points=[[0.70, 0.55], [0.76, 0.63]]",
        )
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return Line(slope, float(y.mean() - slope * x.mean()))


def _logit(p: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    held = np.clip(p, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(held / (1 - held)))


def _expit(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(1 / (1 + np.exp(-z)))


class Residual(NamedTuple):
    """How far a model stands above the line, with its 95 % interval."""

    value: float
    low: float
    high: float


def effective_robustness(
    points: Sequence[tuple[float, float]],
    own: Bool[np.ndarray, " n"],
    shifted: Bool[np.ndarray, " m"],
    draws: int = 1000,
    seed: int = 0,
) -> Residual:
    """Accuracy under shift beyond what the accuracy on the own distribution lets expect.

    The interval resamples the samples of both sets and, with three reference models or more, those too.

    Args:
        points: (own, shifted) accuracy of each reference model.
        own: whether the model is right, on its own distribution.
        shifted: likewise under shift.
        draws: resamples.
        seed: of the resampling.
    Raises: DataError when no line goes through the points.
    """
    rng, pairs = np.random.default_rng(seed), np.asarray(points, np.float64).reshape(-1, 2)
    line = fit_line(pairs[:, 0].tolist(), pairs[:, 1].tolist())
    value = float(shifted.mean()) - line.expected(float(own.mean()))
    residuals = []
    for _ in range(draws):
        drawn = pairs[rng.integers(len(pairs), size=len(pairs))] if len(pairs) > 2 else pairs
        fitted = line
        if np.ptp(_logit(drawn[:, 0])) > 0:
            fitted = fit_line(drawn[:, 0].tolist(), drawn[:, 1].tolist())
        here, there = rng.binomial(len(own), own.mean()), rng.binomial(len(shifted), shifted.mean())
        residuals.append(there / len(shifted) - fitted.expected(here / len(own)))
    low, high = np.quantile(residuals, (0.025, 0.975))
    return Residual(value, float(low), float(high))


class CorruptionError(NamedTuple):
    """Errors under corruption against a baseline's.

    Args:
        mce: mean over corruptions of the ratio of summed errors; 1 is the baseline itself.
        relative: likewise of what corruption adds to the error on clean pictures.
        each: the ratio of each corruption.
    """

    mce: float
    relative: float
    each: dict[str, float]


def corruption_error(
    errors: Mapping[str, Sequence[float]],
    clean: float,
    baseline: Mapping[str, Sequence[float]],
    baseline_clean: float,
) -> CorruptionError:
    """mCE and relative mCE.

    Args:
        errors: of a model, by corruption, one a severity, [0, 1].
        clean: its error without corruption.
        baseline: errors of the model to compare with; at the same severities.
        baseline_clean: likewise.
    Raises: DataError when the baseline lacks a corruption or its errors are 0.
    """
    each, relative = {}, []
    for name, own in errors.items():
        other = baseline.get(name, ())
        if len(other) != len(own) or not sum(other):
            raise DataError(
                f"a baseline with {len(other)} errors under {name}", wanted=f"{len(own)} errors, not all 0"
            )
        each[name] = sum(own) / sum(other)
        added = sum(other) - len(other) * baseline_clean
        relative.append((sum(own) - len(own) * clean) / added if added else float("nan"))
    return CorruptionError(float(np.mean(list(each.values()))), float(np.mean(relative)), each)


class ShapeBias(NamedTuple):
    """What a model goes by when shape and texture disagree.

    Args:
        value: share of the decisions for the shape among those for shape or texture; NaN without any.
        decisions: for each picture 1 shape, 0 texture, NaN neither.
    """

    value: float
    decisions: Float[np.ndarray, " n"]


def shape_bias(said: Sequence[str], shapes: Sequence[str], textures: Sequence[str]) -> ShapeBias:
    """Shape bias of decisions on cue-conflict pictures.

    Args:
        said: class that the model names.
        shapes: class of the outline.
        textures: class of what fills it.
    Raises: DataError where shape and texture are of one class: no conflict.
    """
    if agreeing := [s for s, t in zip(shapes, textures, strict=True) if s == t]:
        raise DataError(
            f"a picture with shape and texture of one class, {agreeing[0]!r}", wanted="two classes"
        )
    decisions = np.array(
        [
            1.0 if word == s else 0.0 if word == t else np.nan
            for word, s, t in zip(said, shapes, textures, strict=True)
        ]
    )
    made = decisions[~np.isnan(decisions)]
    return ShapeBias(float(made.mean()) if len(made) else float("nan"), decisions)
