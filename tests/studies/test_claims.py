import math
from statistics import mean, stdev

import pytest

from limner.studies.claims import (
    NOT,
    REPRODUCED,
    UNKNOWN,
    Claim,
    Estimate,
    estimate,
    judged,
    summed_up,
    verdict,
)

PAPER = {"none": {"r1": 0.5, "noise": 0.2}, "both": {"r1": 0.6}, "third": {"r1": 0.7, "noise": 0.1}}


def arms(**arms):
    """Arm → values of `r1`, one a seed."""
    return {name: {seed: {"r1": v} for seed, v in enumerate(values)} for name, values in arms.items()}


def test_an_interval_is_students():
    values = [0.31, 0.35, 0.42]
    found = estimate(values)
    half = 4.302653 * stdev(values) / math.sqrt(3)  # the quantile for two degrees of freedom, from a table
    assert found == pytest.approx((mean(values), mean(values) - half, mean(values) + half, 3), rel=1e-6)


def test_a_wider_level_is_a_wider_interval():
    assert estimate([1.0, 2.0, 4.0], 0.99).low < estimate([1.0, 2.0, 4.0], 0.9).low


def test_one_seed_tells_nothing():
    assert estimate([0.7]) == Estimate(0.7, -math.inf, math.inf, 1)
    assert verdict(estimate([0.7])) == UNKNOWN


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([0.10, 0.11, 0.12], REPRODUCED),
        ([-0.10, -0.11, -0.12], NOT),
        ([0.10, -0.11, 0.12], UNKNOWN),
        ([0.01, 0.50, 0.90], UNKNOWN),
        ([0.0, 0.0, 0.0], UNKNOWN),
    ],
)
def test_verdicts(differences, said):
    assert verdict(estimate(differences)) == said


def test_differences_are_paired_by_seed():
    measured = arms(none=[0.1, 0.5, 0.9], both=[0.2, 0.61, 0.99])
    (row,) = judged([Claim("1", "both", "none", "helps")], measured, PAPER)
    assert (row["verdict"], row["seeds"], row["measure"], row["paper"]) == (REPRODUCED, 3, "r1", 0.1)
    assert row["difference"] == pytest.approx(0.1)
    shuffled = arms(none=[0.1, 0.5, 0.9], both=[0.99, 0.2, 0.61])
    assert judged([Claim("1", "both", "none", "")], shuffled, PAPER)[0]["verdict"] == UNKNOWN


def test_the_direction_is_the_papers():
    measured = arms(none=[0.1, 0.2, 0.3], both=[0.3, 0.41, 0.5])
    assert judged([Claim("1", "none", "both", "")], measured, PAPER)[0]["verdict"] == NOT


def test_claims_of_arms_that_were_not_run_say_nothing():
    assert judged([Claim("1", "both", "none", "")], arms(none=[0.1, 0.2]), PAPER) == []
    measured = {"none": {0: {"r1": 0.1}, 1: {"r1": 0.2}}, "both": {1: {"r1": 0.4}}}
    (row,) = judged([Claim("1", "both", "none", "")], measured, PAPER)
    assert (row["seeds"], row["verdict"]) == (1, UNKNOWN)
    assert row["difference"] == pytest.approx(0.2)


def test_only_measures_that_both_arms_have_are_held_against_each_other():
    measured = {
        "third": {0: {"r1": 0.3, "noise": 0.3}, 1: {"r1": 0.3, "noise": 0.4}},
        "none": {0: {"r1": 0.2, "noise": 0.1}, 1: {"r1": 0.25, "noise": 0.1}},
        "both": {0: {"r1": 0.2}, 1: {"r1": 0.2}},
    }
    rows = judged([Claim("1", "third", "none", ""), Claim("1", "third", "both", "")], measured, PAPER)
    assert [(row["worse"], row["measure"]) for row in rows] == [
        ("none", "r1"),
        ("none", "noise"),
        ("both", "r1"),
    ]


def test_means_are_of_all_seeds():
    measured = {"none": {0: {"r1": 0.2}, 1: {"r1": 0.4}}, "both": {0: {"r1": 0.5, "noise": 0.1}}}
    rows = {(row["arm"], row["measure"]): row for row in summed_up(measured)}
    assert rows["none", "r1"]["value"] == pytest.approx(0.3)
    assert rows["none", "r1"]["seeds"] == 2
    assert rows["both", "noise"]["seeds"] == 1
