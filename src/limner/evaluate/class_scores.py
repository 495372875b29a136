"""What class scores say: top-k, per class, confusion, calibration, and whether their order can be right.

Implements: hits among the k best, mean per-class accuracy, confusion, expected calibration error (equal
bins), and a warning where accuracy is at chance although the scores tell classes apart.
Checked against: scikit-learn, torchmetrics, and loops written from the definitions.

Source: Russakovsky et al. 2015 (ILSVRC, arXiv 1409.0575), section 4.1; Guo et al. 2017 (arXiv 1706.04599),
eq. 3; Radford et al. 2021 (CLIP, arXiv 2103.00020), appendix A.1 for mean per class.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from limner.errors import DataError


def ranked(scores: Float[np.ndarray, "n k"]) -> Int[np.ndarray, "n k"]:
    """Classes from the best to the worst; of equal scores the first class comes first.

    Raises: DataError when a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise DataError("a class score is NaN or infinite", wanted="finite scores")
    order: np.ndarray = np.argsort(-scores, axis=1, kind="stable")
    return order


def topk_hits(
    scores: Float[np.ndarray, "n k"], truth: Int[np.ndarray, " n"], k: int
) -> Bool[np.ndarray, " n"]:
    """Whether each truth is among the k best classes."""
    hits: np.ndarray = (ranked(scores)[:, :k] == truth[:, None]).any(axis=1)
    return hits


def confusion(
    predicted: Int[np.ndarray, " n"], truth: Int[np.ndarray, " n"], classes: int
) -> Int[np.ndarray, "k k"]:
    """How often each class (row) was called each class (column)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def per_class(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """Accuracy of each class, out of a confusion; NaN for one without samples."""
    totals = counts.sum(1)
    shares: np.ndarray = np.divide(
        np.diag(counts), totals, out=np.full(len(counts), np.nan), where=totals > 0
    )
    return shares


def calibration_error(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = 15
) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, over bins of equal width.

    Args:
        confidence: probability of the class that was named, [0, 1].
        right: whether it was the true one.
        bins: (0, 1/bins], (1/bins, 2/bins] …
    Raises: DataError when a confidence is no probability, or there are none.
    Source: Guo et al. 2017, eq. 3.
    """
    if not len(confidence) or not ((confidence >= 0) & (confidence <= 1)).all():
        raise DataError("confidences outside [0, 1], or none", wanted="one probability a sample")
    edges = np.linspace(0, 1, bins + 1, dtype=confidence.dtype)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    gaps = np.bincount(place, confidence.astype(np.float64) - right, bins)
    return float(np.abs(gaps).sum() / len(confidence))


def order_looks_wrong(counts: Int[np.ndarray, "k k"]) -> bool:
    """Whether accuracy is at chance while most samples of each class are called the same, other class.

    A model whose classes are right and whose class order is not does this. Three classes or more, ten samples
    or more are needed to tell.
    """
    classes, total = len(counts), int(counts.sum())
    if classes < 3 or total < 10:
        return False
    chance = 1 / classes
    accuracy = float(np.trace(counts)) / total
    agreed = float(counts.max(1).sum()) / total
    named = len(set(counts.argmax(1)[counts.sum(1) > 0].tolist()))
    return accuracy < 2 * chance and agreed > max(0.5, 2 * chance) and named > classes / 2


def softmax(scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Probabilities of scores."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
