"""Class scores become measures, samples and warnings."""

import numpy as np
import pytest

from limner.errors import DataError
from limner.suite.classes import ORDER_WARNING, Scored, class_numbers


def test_labels_are_names_numbers_or_wordnet_ids() -> None:
    assert class_numbers(["Tench", "goldfish"], ["tench, Tinca tinca", "goldfish"]) == {
        "Tench": 0,
        "goldfish": 1,
    }
    assert class_numbers(["1", "0"], ["a", "b", "c"]) == {"0": 0, "1": 1}
    assert class_numbers(["n02000000", "n01000000"], ["a", "b"]) == {"n01000000": 0, "n02000000": 1}
    with pytest.raises(DataError, match="1 of 2 labels"):
        class_numbers(["a", "pink"], ["a", "b"])


def test_measures_by_hand() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    found = Scored(["a", "b", "c", "d"], np.array([0, 1, 1, 1]), ["x", "y", "z"], scores).outcome()
    assert next(iter(found.measures)) == "top1"
    assert found.values()["top1"] == 0.75
    assert found.values()["mean_per_class"] == pytest.approx((1 + 2 / 3) / 2)
    assert "top5" not in found.measures
    assert found.details["confusion"] == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert found.details["confused"] == [{"truth": "y", "named": "x", "count": 1}]
    assert found.samples[2] == {"key": "c", "score": 0.0, "truth": "y", "named": "x", "confidence": 0.6}


def test_a_shuffled_order_is_warned_of() -> None:
    truth = np.arange(30) % 3
    scores = np.eye(3)[(truth + 1) % 3]
    keys = [str(number) for number in range(30)]
    assert ORDER_WARNING in Scored(keys, truth, "xyz", scores).outcome().notes
    assert ORDER_WARNING not in Scored(keys, truth, "xyz", np.eye(3)[truth]).outcome().notes
