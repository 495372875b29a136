"""mIoU against a loop over pixels; a head that names colours."""

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.checkpoint import Bundle
from limner.errors import CheckpointError, DataError
from limner.evaluate.segmentation import (
    cell_classes,
    class_iou,
    confusion,
    fit_head,
    maps_of,
    place_features,
    predicted,
)
from limner.models import build
from limner.models.clip import CLIPConfig, CLIPTextConfig
from limner.models.resnet import ResNetConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

VIT = ViTConfig(image_size=32, patch_size=8, width=24, depth=1, num_heads=2, mlp_dim=32)
TEXT = CLIPTextConfig(vocab_size=40, context_length=8, width=24, depth=1, num_heads=2, mlp_dim=32)
RESNET = ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16), stem="cifar", num_classes=0)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (RESNET, (16, 16, 16)),
        (VIT, (24, 4, 4)),
        (CLIPConfig(vision=VIT.model_copy(update={"num_classes": 0}), text=TEXT, embed_dim=8), (24, 4, 4)),
    ],
    ids=["resnet", "vit", "clip"],
)
def test_each_kind_has_a_map_of_places(config: object, shape: tuple[int, ...]) -> None:
    features = place_features(build(config).eval(), torch.rand(2, 3, 32, 32))  # type: ignore[arg-type]
    assert tuple(features.shape) == (2, *shape)


def test_another_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no map of places"):
        place_features(torch.nn.Linear(1, 1), torch.rand(1, 3, 8, 8))


def test_iou_is_the_loop() -> None:
    rng = np.random.default_rng(0)
    truth = [rng.integers(0, 3, (5, 7)).astype(np.uint8) for _ in range(4)]
    said = [rng.integers(0, 4, (5, 7)) for _ in range(4)]
    iou = class_iou(confusion(truth, said, 5))
    for k in range(4):
        inside = sum(int(((t == k) & (s == k)).sum()) for t, s in zip(truth, said, strict=True))
        union = sum(int(((t == k) | (s == k)).sum()) for t, s in zip(truth, said, strict=True))
        assert iou[k] == pytest.approx(inside / union)
    assert np.isnan(iou[4])


def test_a_cell_is_what_most_of_it_shows() -> None:
    mask = np.zeros((6, 6), np.uint8)
    mask[:3, 3:] = 2
    mask[3:, :2] = 1
    assert cell_classes(mask, 2, 2).tolist() == [[0, 2], [1, 0]]


def test_a_head_on_places_finds_a_square_by_its_colour() -> None:
    rng, images, masks = np.random.default_rng(0), [], []
    for _ in range(12):
        image, mask = np.full((32, 32, 3), 40, np.uint8), np.zeros((32, 32), np.uint8)
        x, y = rng.integers(0, 16, 2)
        image[y : y + 16, x : x + 16], mask[y : y + 16, x : x + 16] = (230, 30, 30), 1
        images.append(image)
        masks.append(mask)
    bundle = Bundle("", build(RESNET).eval(), ImageSpec(size=32), None, {}, "", Path())
    maps = maps_of(bundle, images)
    head = fit_head(maps[:8], masks[:8], c=1.0)
    said = [predicted(head, one, 32, 32) for one in maps[8:]]
    assert class_iou(confusion(masks[8:], said, 2)).min() > 0.7
    with pytest.raises(DataError, match="one class"):
        fit_head(maps[:1], [np.zeros((32, 32), np.uint8)])
