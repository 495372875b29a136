from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limner.errors import DataError
from limner.evaluate.classification import classification
from limner.shapes import ImageSpec

CLASSES = tuple("abcdefg")
SPEC = ImageSpec(size=8)


class Read(NamedTuple):
    logits: Tensor


class Linear(nn.Module):
    """Classes by one matrix."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 64, classes)

    def forward(self, pixels: Tensor) -> Read:
        return Read(self.head(pixels.flatten(1)))


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8))


def test_measures_equal_a_loop_over_rows() -> None:
    model, images, labels = Linear(7), pictures(11), [CLASSES[i % 7] for i in range(11)]
    told: list[tuple[int, int]] = []
    found = classification(model, SPEC, images, labels, CLASSES, 4, lambda *at: told.append(at))
    first = fifth = 0
    loss = 0.0
    for image, label in zip(images, labels, strict=True):
        unit = (image.astype(np.float64) / 255 - np.array(SPEC.mean)) / np.array(SPEC.std)
        x = torch.from_numpy(unit.transpose(2, 0, 1).copy()).flatten().float()
        logits = model.head(x).tolist()
        truth, order = CLASSES.index(label), sorted(range(7), key=lambda k: -logits[k])
        first, fifth = first + (order[0] == truth), fifth + (truth in order[:5])
        loss -= logits[truth] - np.log(np.exp(logits).sum())
    assert found == pytest.approx({"top1": first / 11, "top5": fifth / 11, "loss": loss / 11}, rel=1e-5)
    assert told == [(4, 11), (8, 11), (11, 11)]


def test_five_classes_have_no_top5() -> None:
    found = classification(Linear(5), SPEC, pictures(2), ["a", "b"], CLASSES[:5])
    assert found.keys() == {"top1", "loss"}


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(DataError, match="'z'"):
        classification(Linear(7), SPEC, pictures(1), ["z"], CLASSES)
