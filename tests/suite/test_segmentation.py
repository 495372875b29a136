"""A linear head on scenes."""

import pytest

from limner.errors import CheckpointError, DataError
from limner.suite.segmentation import SegmentationTask, run
from limner.suite.selection import Selection


def test_scenes_are_learnt_from_and_measured_apart(made):
    found = run(made("clip"), Selection(path=""), SegmentationTask(scenes=12, draws=20))
    values = found.values()
    assert list(values) == ["miou", "pixel_accuracy", "commonest"]
    assert len(found.samples) == 6
    assert 0 < values["miou"] <= 1
    low, high = found.measures["miou"][1:]
    assert low <= high
    assert "ground" in found.details["iou"]


def test_what_cannot_be_measured_is_said(made, colours):
    with pytest.raises(CheckpointError, match="no map of places"):
        run(made("detector"), Selection(path=""), SegmentationTask(scenes=4))
    with pytest.raises(DataError, match="no column 'mask'"):
        run(made("clip"), Selection(path=""), SegmentationTask(table=colours))
