"""The official VQA accuracy: golden outputs of the authors' code, and loops from the definition."""

import json
import random
from itertools import combinations
from pathlib import Path

import pytest

from limner.errors import DataError
from limner.evaluate.vqa import (
    answer_type,
    answers_quality,
    by_type,
    exact_accuracy,
    normalised,
    vqa_accuracy,
)

GOLDEN = json.loads(Path(__file__).with_name("golden_vqa.json").read_text(encoding="utf-8"))


def test_answers_are_normalised_as_the_official_code_does():
    for answer, expected in GOLDEN["normalised"]:
        assert normalised(answer) == expected, repr(answer)


def test_accuracy_is_that_of_the_official_code():
    for said, answers, expected in GOLDEN["accuracy"]:
        assert vqa_accuracy(said, answers) == pytest.approx(expected, abs=1e-9), (said, answers)


def test_accuracy_is_the_mean_over_all_nines():
    rng = random.Random(3)
    for _ in range(50):
        answers = [rng.choice(["dog", "cat", "the bird", "2"]) for _ in range(10)]
        said = rng.choice(["dog", "cat", "bird", "two", "fish"])
        nines = list(combinations(answers, 9))
        if len(set(answers)) > 1:
            nines = [[normalised(one) for one in nine] for nine in nines]
        wanted = normalised(said) if len(set(answers)) > 1 else said
        slow = sum(min(nine.count(wanted) / 3, 1) for nine in map(list, nines)) / 10
        assert vqa_accuracy(said, answers) == pytest.approx(slow)


def test_quirks_that_are_kept():
    assert vqa_accuracy("Dog", ["dog"] * 10) == 0  # nobody disagrees, so nothing is normalised
    assert vqa_accuracy("the dog", ["dog"] * 9 + ["cat"]) == 1
    assert normalised("somebody'd") == "somebodyd"
    assert normalised("none of it") == "0 of it"
    assert normalised("3.5 ft.") == "3.5 ft"


def test_exact_accuracy_and_types():
    assert exact_accuracy("garbage _ bin", ["garbage_bin"]) == 1
    assert exact_accuracy("bin", ["garbage_bin", "sofa"]) == 0
    asked = [["yes", "no", "yes"], ["two"], ["2.5"], ["a dog", "dog", "1"]]
    assert [answer_type(one) for one in asked] == ["yes/no", "number", "number", "other"]
    assert by_type([1.0, 0.0, 1.0, 0.5], asked) == {"yes/no": 1, "number": 0.5, "other": 0.5}


def test_quality_is_official_where_ten_answered():
    ten = [["yes"] * 10, ["2"] * 9 + ["3"]]
    assert answers_quality(["yes", "3"], ten) == {
        "vqa_accuracy": pytest.approx((1 + 9 / 10 / 3) / 2),
        "vqa_accuracy_yes_no": 1,
        "vqa_accuracy_number": pytest.approx(9 / 10 / 3),
    }
    assert answers_quality(["Yes", "3"], [["yes"], ["2"]])["accuracy"] == 0.5


def test_too_few_answers_are_refused():
    with pytest.raises(DataError, match=r"1 answer\(s\) to a question"):
        vqa_accuracy("dog", ["dog"])
