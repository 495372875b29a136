"""Accuracy per domain."""

import pytest

from limner.errors import DataError
from limner.suite.robustness import RobustnessTask, run
from limner.suite.selection import Selection


def test_an_exact_model_is_right_everywhere_and_above_the_line(made, colours):
    points = ((0.6, 0.3), (0.7, 0.4), (0.8, 0.55))
    found = run(made("classifier"), Selection(path=colours), RobustnessTask(points=points))
    values = found.values()
    assert next(iter(values)) == "top1_shifted"
    assert values["top1_shifted"] == values["top1_bright"] == values["top1_dim"] == 1
    assert found.measures["effective_robustness"].value > 0
    assert any("line is continued" in note and "0.6 to 0.8, this 1.0" in note for note in found.notes)
    assert {"probe_shifted", "probe_bright", "probe_dim"} <= values.keys()
    learnt = [s for s in found.samples if "probe" not in s]
    assert {s["domain"] for s in learnt} == {"bright"}
    assert 0 < len(learnt) < 20
    assert sum("probe" in s for s in found.samples if s["domain"] == "dim") == 20


def test_classes_that_the_model_lacks_are_told(made, colours):
    other = made("classifier")._replace(labels=("red", "violet"))
    found = run(other, Selection(path=colours), RobustnessTask(probe=0))
    assert any("classes the model lacks: blue" in note for note in found.notes)


def test_a_clip_is_measured_zero_shot(made, colours):
    found = run(made("clip"), Selection(path=colours), RobustnessTask(reference="dim", probe=0))
    right = [s["score"] for s in found.samples if s["domain"] == "bright"]
    assert found.values()["top1_shifted"] == pytest.approx(sum(right) / len(right))
    assert "probe_shifted" not in found.values()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reference": "mars"}, "'mars' as reference"),
        ({"domain": "split"}, "as reference"),
        ({"domain": "mood"}, "no column"),
    ],
)
def test_rows_of_one_domain_are_refused(made, colours, settings, message):
    with pytest.raises(DataError, match=message):
        run(made("classifier"), Selection(path=colours), RobustnessTask(**settings))
