"""Accuracy on corrupted pictures."""

import json

import pytest

from limner.errors import DataError
from limner.suite.corruptions import CorruptionsTask, run
from limner.suite.selection import Selection


def test_errors_are_told_a_corruption_and_compared_with_a_baseline(made, colours, tmp_path):
    selection, names = Selection(path=colours, count=12), ("jpeg", "contrast")
    first = run(made("clip"), selection, CorruptionsTask(names=names, severities=(1, 5)))
    assert list(first.values()) == ["corrupted_top1", "clean_top1", "top1_jpeg", "top1_contrast"]
    errors = first.details["errors"]
    assert first.values()["top1_jpeg"] == pytest.approx(1 - sum(errors["jpeg"]) / 2)
    assert first.values()["corrupted_top1"] == pytest.approx(sum(s["score"] for s in first.samples) / 12)
    baseline = tmp_path / "clip.json"
    other = {name: [0.25, 0.5] for name in names}
    told = {"task": "corruptions", "details": dict(first.details) | {"errors": other}}
    baseline.write_text(json.dumps([told]))
    settings = CorruptionsTask(names=names, severities=(1, 5), baseline=str(baseline))
    again = run(made("classifier"), selection, settings)
    assert again.values()["clean_top1"] == 1
    ratios = {name: sum(own) / 0.75 for name, own in again.details["errors"].items()}
    assert again.details["ce"] == pytest.approx(ratios)
    assert again.values()["mce"] == pytest.approx(sum(ratios.values()) / 2)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("", "Expecting value"),
        ("[]", "0 of 0 results"),
        ('{"task": "corruptions"}', "details"),
        ('{"task": "corruptions", "details": {"severities": [1]}}', "0 of 1 results"),
    ],
)
def test_a_baseline_that_was_not_measured_like_this_is_refused(made, colours, tmp_path, told, message):
    path = tmp_path / "baseline.json"
    path.write_text(told)
    with pytest.raises(DataError, match=message):
        run(made("classifier"), Selection(path=colours, count=2), CorruptionsTask(baseline=str(path)))


def test_an_unknown_corruption_is_refused():
    with pytest.raises(ValueError, match="no corruption 'rain'"):
        CorruptionsTask(names=("rain",))
