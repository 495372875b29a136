"""`limner.load(...).detect`: boxes in pixels of the picture as it came."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from limner.checkpoint import Bundle
from limner.errors import ConfigError
from limner.models import build, entry
from limner.models.detector import Detections, Detector
from limner.models.resnet import ResNetConfig
from limner.ready.model import Ready
from limner.ready.results import Detection


def sees(self: Detector, pixels: torch.Tensor) -> list[Detections]:
    boxes = torch.tensor([[0.0, 24, 48, 72], [10, 30, 20, 40]])
    return [Detections(boxes, torch.tensor([0.9, 0.2]), torch.tensor([1, 0]))] * len(pixels)


def ready() -> Ready:
    name = "faster_rcnn_small"
    labels = tuple(map(str, range(20)))
    return Ready(Bundle(name, build(name), entry(name).image_spec, None, {}, "", Path(), labels=labels))


def test_a_box_is_in_pixels_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "detect", sees)
    model, picture = ready(), Image.new("RGB", (192, 96), "red")
    assert "detect" in repr(model)
    assert model.detect(picture) == [Detection("1", pytest.approx(0.9), (0.0, 0.0, 96.0, 96.0))]
    assert [len(found) for found in model.detect([picture, picture], least=0.1)] == [2, 2]


def test_a_real_one_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(0 <= one.score <= 1 for one in ready().detect(Image.new("RGB", (50, 40), "blue"), least=0.0))


def test_a_classifier_is_refused() -> None:
    config = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=2)
    line = entry("cifar_resnet20")
    model = Ready(Bundle("", build(config), line.image_spec, None, {}, "", Path(), labels=("a", "b")))
    with pytest.raises(ConfigError, match="detect with"):
        model.detect(Image.new("RGB", (8, 8)))
