"""A classifier of colours is right on one view, ten and many; a wrong order is told."""

from pathlib import Path

import pytest

from limner.checkpoint import Bundle
from limner.errors import CheckpointError
from limner.suite.classes import ORDER_WARNING
from limner.suite.classification import ClassificationSettings, measure
from limner.suite.selection import Selection


@pytest.mark.parametrize("views", ["one", "ten", "scales"])
def test_colours_are_told(table: Path, resnet, views: str) -> None:
    settings = ClassificationSettings(views=views, scales=(16, 24))
    told: list[tuple[int, int]] = []
    found = measure(resnet(), Selection(path=str(table)), settings, lambda *at: told.append(at))
    assert found.values()["top1"] == 1.0
    assert told[-1] == (36, 36)
    assert len(found.samples) == 36


def test_a_wrong_order_of_classes_is_told(table: Path, resnet) -> None:
    bundle = resnet(("green", "red", "blue"))
    found = measure(bundle, Selection(path=str(table)), ClassificationSettings(), None)
    assert found.values()["top1"] == 0.0
    assert ORDER_WARNING in found.notes


def test_what_cannot_is_refused(table: Path, blip: Bundle, resnet) -> None:
    with pytest.raises(CheckpointError, match="without a classifier"):
        measure(blip, Selection(path=str(table)), ClassificationSettings(), None)
