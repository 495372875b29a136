"""Two results side by side."""

import numpy as np
import pytest

from limner.errors import DataError
from limner.evaluate.comparison import mcnemar, paired_difference
from limner.suite.compare import Result, compare, matched


def result(model: str, right: dict[str, int], task: str = "classification", table: str = "t") -> Result:
    samples = [
        {"key": key, "truth": key[0], "said": key[0] if ok else "?", "score": ok} for key, ok in right.items()
    ]
    return Result(task, model, table, {"top1": float(np.mean(list(right.values())))}, samples, {})


FIRST = result("a", {"c1": 1, "c2": 1, "d1": 0, "d2": 0, "d3": 1, "x9": 1})
SECOND = result("b", {"d3": 0, "d2": 1, "d1": 1, "c2": 1, "c1": 1, "y1": 0, "y2": 0})


def test_samples_are_paired_by_key_whatever_their_order():
    found = compare(FIRST, SECOND)
    assert found.difference == paired_difference(np.array([1, 1, 0, 0, 1]), np.array([1, 1, 1, 1, 0]))
    assert (found.difference.better, found.difference.worse) == (2, 1)
    assert found.difference.p == mcnemar(2, 1)
    assert found.unpaired == (1, 2)
    assert found.models == ("a", "b")
    assert found.measures["top1"] == (pytest.approx(4 / 6), pytest.approx(4 / 7))


def test_flips_hold_both_samples():
    found = compare(FIRST, SECOND)
    assert sorted(flip.key for flip in found.gained) == ["d1", "d2"]
    (lost,) = found.lost
    assert (lost.key, lost.first["said"], lost.second["said"], lost.gain) == ("d3", "d", "?", -1.0)
    assert len(compare(FIRST, SECOND, shown=1).gained) == 1


def test_classes_come_with_corrected_p_the_largest_change_first():
    found = compare(FIRST, SECOND).classes
    assert [one.name for one in found] == ["d", "c"]
    assert found[0].difference.value == pytest.approx(1 / 3)
    assert [one.p for one in found] == [1.0, 1.0]


def test_several_samples_of_one_key_pair_in_order():
    def asked(model: str, scores: list[float]) -> Result:
        samples = [{"key": "k", "question": f"q{n}", "score": score} for n, score in enumerate(scores)]
        return Result("vqa", model, "t", {}, samples, {})

    found = compare(asked("a", [0.3, 0.6]), asked("b", [0.3, 1.0]))
    assert found.difference.samples == 2
    assert found.difference.value == pytest.approx(0.2)
    assert found.classes == []
    assert found.gained[0].second["question"] == "q1"


def test_free_texts_are_no_classes():
    samples = [{"key": str(n), "truth": f"a text {n}", "score": 0.5} for n in range(6)]
    assert compare(*[Result("captioning", m, "t", {}, samples, {}) for m in "ab"]).classes == []


def test_what_cannot_be_compared_is_told():
    with pytest.raises(DataError, match="two results of one task"):
        compare(FIRST, result("b", {"c1": 1}, task="zeroshot"))
    with pytest.raises(DataError, match="same rows"):
        compare(FIRST, result("b", {"z": 1}))
    with pytest.raises(DataError, match="has no score"):
        compare(FIRST, SECOND._replace(samples=[{"key": "c1"}]))


def test_results_of_two_runs_are_matched_by_task_and_table():
    other = result("a", {"c1": 1}, table="u")
    pairs = matched([FIRST, other], [result("b", {"c1": 1}, table="u"), SECOND])
    assert [(one.table, two.table) for one, two in pairs] == [("t", "t"), ("u", "u")]
    with pytest.raises(DataError, match="share no task"):
        matched([FIRST], [result("b", {"c1": 1}, task="vqa")])


def test_values_are_plain():
    values = compare(FIRST, SECOND).values()
    assert values["classes"][0]["name"] == "d"
    assert values["difference"]["samples"] == 5
