"""Robustness measures against scipy, loops and numbers worked out by hand."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import linregress

from limner.errors import DataError
from limner.evaluate.robustness import (
    corruption_error,
    effective_robustness,
    fit_line,
    shape_bias,
)

OWN, SHIFTED = [0.55, 0.62, 0.7, 0.76, 0.81], [0.31, 0.42, 0.47, 0.58, 0.66]


def test_the_line_is_scipys_through_the_logits() -> None:
    line, wanted = fit_line(OWN, SHIFTED), linregress(logit(OWN), logit(SHIFTED))
    assert line.slope == pytest.approx(wanted.slope)
    assert line.intercept == pytest.approx(wanted.intercept)
    assert line.expected(0.7) == pytest.approx(expit(wanted.slope * logit(0.7) + wanted.intercept))


def test_a_model_on_the_line_has_none_and_one_above_it_has_what_it_is_above() -> None:
    points = [(p, float(expit(1.1 * logit(p) - 0.5))) for p in OWN]
    expected = fit_line(*map(list, zip(*points, strict=True))).expected(0.75)
    own = np.arange(4000) < 3000
    for above in (0.0, 0.1):
        shifted = np.arange(4000) < round(4000 * (expected + above))
        found = effective_robustness(points, own, shifted, draws=200)
        assert found.value == pytest.approx(above, abs=2e-4)
        assert found.low < above < found.high
        assert found.high - found.low < 0.1


@pytest.mark.parametrize(("own", "shifted"), [([0.5], [0.4]), ([0.5, 0.5], [0.4, 0.3]), ([0.5, 0.6], [0.4])])
def test_too_few_points_make_no_line(own: list[float], shifted: list[float]) -> None:
    with pytest.raises(DataError, match="accuracies"):
        fit_line(own, shifted)


def test_perfect_accuracies_have_a_place_on_the_line() -> None:
    assert np.isfinite(fit_line([0.0, 1.0], [0.0, 1.0]).expected(1.0))


def test_mce_is_the_mean_ratio_of_sums() -> None:
    errors = {"fog": [0.2, 0.4], "jpeg": [0.1, 0.5]}
    baseline = {"fog": [0.4, 0.8], "jpeg": [0.3, 0.3]}
    found = corruption_error(errors, 0.1, baseline, 0.2)
    assert found.each == pytest.approx({"fog": 0.5, "jpeg": 1.0})
    assert found.mce == pytest.approx(0.75)
    assert found.relative == pytest.approx(np.mean([(0.6 - 0.2) / (1.2 - 0.4), (0.6 - 0.2) / (0.6 - 0.4)]))
    itself = corruption_error(baseline, 0.2, baseline, 0.2)
    assert (itself.mce, itself.relative) == pytest.approx((1, 1))
    with pytest.raises(DataError, match="under fog"):
        corruption_error(errors, 0.1, {"jpeg": [0.3, 0.3]}, 0.2)


def test_shape_bias_counts_decisions_for_either_cue_alone() -> None:
    found = shape_bias(["cat", "dog", "cow", "cat"], ["cat", "cat", "cat", "cat"], ["dog"] * 4)
    assert found.value == pytest.approx(2 / 3)
    np.testing.assert_array_equal(found.decisions, [1, 0, np.nan, 1])
    assert np.isnan(shape_bias(["cow"], ["cat"], ["dog"]).value)
    with pytest.raises(DataError, match="one class"):
        shape_bias(["cat"], ["cat"], ["cat"])
