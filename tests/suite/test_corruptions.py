"""Accuracy on corrupted pictures."""

import pytest

from limner.suite.corruptions import CorruptionsTask, run
from limner.suite.selection import Selection


def test_errors_are_told_a_corruption_and_compared_with_a_baseline(made, colours):
    selection, names = Selection(path=colours, count=12), ("jpeg", "contrast")
    first = run(made("clip"), selection, CorruptionsTask(names=names, severities=(1, 5)))
    assert list(first.values()) == ["corrupted_top1", "clean_top1", "top1_jpeg", "top1_contrast"]
    errors = first.details["errors"]
    assert first.values()["top1_jpeg"] == pytest.approx(1 - sum(errors["jpeg"]) / 2)
    assert first.values()["corrupted_top1"] == pytest.approx(sum(s["score"] for s in first.samples) / 12)
    again = run(
        made("classifier"),
        selection,
        CorruptionsTask(names=names, severities=(1, 5), baseline={n: (0.5, 0.5) for n in names}),
    )
    assert again.values()["clean_top1"] == 1
    assert again.values()["mce"] == pytest.approx(sum(map(sum, again.details["errors"].values())) / 2)


def test_an_unknown_corruption_is_refused():
    with pytest.raises(ValueError, match="no corruption 'rain'"):
        CorruptionsTask(names=("rain",))
