"""Measures of class scores equal scikit-learn, torchmetrics and loops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score

from limner.errors import DataError
from limner.evaluate.class_scores import (
    calibration_error,
    confusion,
    order_looks_wrong,
    per_class,
    ranked,
    softmax,
    topk_hits,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
def test_topk_equals_a_loop(ties: bool) -> None:
    scores = RNG.integers(0, 3, (60, 7)).astype(float) if ties else RNG.normal(size=(60, 7))
    truth = RNG.integers(0, 7, 60)
    for k in (1, 3, 5, 7):
        loop = [
            t in sorted(range(7), key=lambda c: (-row[c], c))[:k]
            for row, t in zip(scores, truth, strict=True)
        ]
        assert topk_hits(scores, truth, k).tolist() == loop
        if not ties:
            peer = top_k_accuracy_score(truth, scores, k=k, labels=range(7)) if k < 7 else 1.0
            assert np.mean(loop) == pytest.approx(peer)


def test_confusion_and_mean_per_class_equal_scikit_learn() -> None:
    truth, predicted = RNG.integers(0, 4, 80), RNG.integers(0, 5, 80)
    counts = confusion(predicted, truth, 5)
    np.testing.assert_array_equal(counts, confusion_matrix(truth, predicted, labels=range(5)))
    each = per_class(counts)
    assert np.isnan(each[4])
    kept = predicted < 4
    assert np.nanmean(per_class(confusion(predicted[kept], truth[kept], 4))) == pytest.approx(
        balanced_accuracy_score(truth[kept], predicted[kept])
    )


def test_calibration_equals_a_loop_over_bins() -> None:
    sure, right = np.append(RNG.random(200), [0.0, 1.0, 1 / 15, 7 / 15]), RNG.random(204) < 0.6
    total = 0.0
    for number in range(15):
        low, high = np.linspace(0, 1, 16)[number : number + 2]
        inside = [(low < c <= high) or (number == 0 and c == 0) for c in sure]
        if any(inside):
            total += sum(inside) / 204 * abs(right[inside].mean() - sure[inside].mean())
    assert calibration_error(sure, right) == pytest.approx(total)


@pytest.mark.slow
@pytest.mark.peer
def test_calibration_equals_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    probabilities = softmax(RNG.normal(size=(300, 6)) * 2).astype(np.float32)
    truth = RNG.integers(0, 6, 300)
    peer = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(truth), num_classes=6, n_bins=15
    )
    ours = calibration_error(probabilities.max(1), probabilities.argmax(1) == truth)
    assert ours == pytest.approx(float(peer), abs=1e-6)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        ranked(np.array([[0.0, np.nan]]))
    with pytest.raises(DataError, match="outside"):
        calibration_error(np.array([1.2]), np.array([True]))
    with pytest.raises(DataError):
        calibration_error(np.array([]), np.array([], bool))


def test_a_wrong_order_is_told_from_a_bad_model_and_from_a_good_one() -> None:
    truth = np.repeat(np.arange(5), 20)
    shifted = np.where(RNG.random(100) < 0.9, (truth + 1) % 5, truth)
    assert order_looks_wrong(confusion(shifted, truth, 5))
    assert not order_looks_wrong(confusion(truth, truth, 5))
    assert not order_looks_wrong(confusion(RNG.integers(0, 5, 100), truth, 5))
    assert not order_looks_wrong(confusion(np.zeros(100, int), truth, 5))
    assert not order_looks_wrong(confusion(np.array([1, 0]), np.array([0, 1]), 2))


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0], [2.0, 2.0]])), [[1, 0], [0.5, 0.5]])
