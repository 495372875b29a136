"""Measures carry intervals over samples."""

import numpy as np
import pytest

from limner.errors import DataError
from limner.suite.outcome import Measure, Outcome, mean_of


def test_the_interval_of_a_mean_holds_it_and_narrows_with_more_samples():
    values = np.random.default_rng(0).random(400)
    few, many = mean_of(values[:40]), mean_of(values)
    assert many.value == pytest.approx(values.mean())
    assert many.low < many.value < many.high
    assert many.high - many.low < few.high - few.low


def test_nothing_has_no_mean():
    with pytest.raises(DataError):
        mean_of([])


def test_values_leave_the_intervals_out():
    assert Outcome({"top1": Measure(0.5, 0.4, 0.6), "loss": Measure(1.0)}).values() == {
        "top1": 0.5,
        "loss": 1.0,
    }
