"""AP of a detector through the suite."""

import pytest

from limner.errors import CheckpointError, DataError
from limner.models.detector import Detections, Detector
from limner.suite.detection import DetectionTask, run
from limner.suite.selection import Selection


def test_a_detector_that_knows_has_an_ap_of_one(made, colours, monkeypatch):
    import torch

    def left_half(self, pixels):
        labels = [int(p[0].mean() > p[2].mean()) for p in pixels]
        box, sure = torch.tensor([[0.0, 0, 8, 16]]), torch.tensor([0.9])
        return [Detections(box, sure, torch.tensor([label])) for label in labels]

    monkeypatch.setattr(Detector, "detect", left_half)
    found = run(made("detector"), Selection(path=colours, count=10), DetectionTask(draws=3))
    assert found.values()["ap"] == pytest.approx(1)
    assert found.measures["ap"].low == pytest.approx(1)
    assert found.details["per_class"] == pytest.approx({"blue": 1, "red": 1})
    assert [s["score"] for s in found.samples] == [1] * 10


def test_an_untrained_one_has_little(made, colours):
    found = run(made("detector"), Selection(path=colours, count=6), DetectionTask(draws=0))
    assert 0 <= found.values()["ap"] < 0.5
    assert found.measures["ap"].low is None


def test_others_are_refused(made, colours):
    with pytest.raises(CheckpointError, match="finds no boxes"):
        run(made("clip"), Selection(path=colours), DetectionTask())
    with pytest.raises(DataError, match="no row of"):
        run(made("detector")._replace(labels=("cat",)), Selection(path=colours), DetectionTask())
