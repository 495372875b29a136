"""The detection step: mirrored boxes, weighted terms, and learning."""

import numpy as np
import pytest
import torch

from limner.data.boxes import AsBoxed, Boxed, Placed
from limner.data.rows import Sample
from limner.models.detector import Detector, DetectorConfig
from limner.models.resnet import ResNetConfig
from limner.shapes import ImageSpec
from limner.train.steps import DetectionSettings, DetectionStep, start_draws
from limner.train.steps.detection import mirrored

SPEC = ImageSpec(size=32)
CONFIG = DetectorConfig(
    backbone=ResNetConfig(block="basic", depths=(1, 1, 1), widths=(8, 16, 16), stem="cifar", num_classes=0),
    num_classes=2,
    pyramid_dim=16,
    coarsest=8,
    anchor_scale=3,
    box_dim=32,
    proposals=20,
    anchors_learnt=32,
    regions_learnt=16,
)


def squares(count: int) -> Boxed:
    """A red or a blue square on grey."""
    rng, samples = np.random.default_rng(0), []
    for number in range(count):
        image = np.full((32, 32, 3), 128, np.uint8)
        x, y, side = rng.integers(0, 16), rng.integers(0, 16), rng.integers(10, 16)
        image[y : y + side, x : x + side] = (255, 0, 0) if number % 2 else (0, 0, 255)
        placed = Placed(
            np.array([[x, y, x + side, y + side]], np.float32), ("red" if number % 2 else "blue",)
        )
        samples.append(Sample(str(number), image, "", placed=placed))
    return AsBoxed(("blue", "red"))(samples)


def test_a_mirrored_box_lies_on_its_mirrored_thing() -> None:
    batch = squares(4)
    chosen = torch.tensor([True, False, True, False])
    images, boxes = mirrored(batch.images, batch.boxes, chosen)
    for image, box in zip(images, boxes[:, 0].int().tolist(), strict=True):
        inside = image[:, box[1] : box[3], box[0] : box[2]]
        assert not (inside == 128).any()
        assert int((image != 128).any(0).sum()) == (box[2] - box[0]) * (box[3] - box[1])
    assert torch.equal(images[1], batch.images[1])
    assert not torch.equal(images[0], batch.images[0])


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    model = Detector(CONFIG)
    settings = DetectionSettings(kind="detection", rpn=2.0, cls=3.0, box=0.5)
    result = DetectionStep(settings, SPEC)(model, start_draws(model, 0), squares(4), 0)
    t = result.terms
    assert t.keys() == {"rpn", "rpn_box", "cls", "box"}
    torch.testing.assert_close(result.loss, 2 * (t["rpn"] + t["rpn_box"]) + 3 * t["cls"] + 0.5 * t["box"])


def test_it_learns_to_find_squares() -> None:
    torch.manual_seed(1)
    model, batch = Detector(CONFIG), squares(8)
    step = DetectionStep(DetectionSettings(kind="detection"), SPEC)
    optimizer, state = torch.optim.AdamW(model.parameters(), 3e-3), start_draws(model, 0)
    losses = []
    for number in range(90):
        result = step(model.train(), state, batch, number)
        optimizer.zero_grad()
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        losses.append(result.loss.item())
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    assert step.settle(model) is None


@pytest.mark.parametrize("field", ["rpn", "cls", "box"])
def test_a_weight_below_zero_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        DetectionSettings(kind="detection", **{field: -1.0})
