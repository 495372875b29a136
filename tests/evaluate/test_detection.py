"""COCO's AP against a loop written from its definition."""

import numpy as np
import pytest
import torch

from limner.evaluate.detection import (
    BoxedRows,
    Found,
    ap_interval,
    class_ap,
    coco_ap,
    detections,
    iou,
    picture_f1,
)
from limner.models import entry
from limner.models.detector import Detections, Detector
from limner.shapes import ImageSpec

OVERLAPS = np.linspace(0.5, 0.95, 10)


def drawn(rng: np.random.Generator, least: int, most: int, near: Found | None = None) -> Found:
    """Boxes with scores of few levels, so that many tie; some lie on boxes of `near`."""
    count = int(rng.integers(least, most + 1))
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (count, 2))], 1)
    labels = rng.integers(0, 3, count)
    for i in range(count):
        if near is not None and len(near.labels) and rng.random() < 0.7:
            k = int(rng.integers(len(near.labels)))
            boxes[i] = near.boxes[k] + rng.normal(0, 3, 4)
            labels[i] = near.labels[k]
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return Found(boxes.astype(np.float32), labels, rng.integers(1, 5, count).astype(np.float32) / 4)


def slow_class_ap(truth: list[Found], found: list[Found], k: int, overlap: float) -> tuple[float, float]:
    """AP at 101 recalls and the greatest recall, of one class at one overlap."""
    entries, total = [], 0
    for place, (true, said) in enumerate(zip(truth, found, strict=True)):
        mine = [b for b, label in zip(true.boxes, true.labels, strict=True) if label == k]
        total += len(mine)
        taken = [False] * len(mine)
        order = [i for i in np.argsort(-said.scores, kind="stable") if said.labels[i] == k]
        for rank, i in enumerate(order[:100]):
            best, at = min(overlap, 1 - 1e-10), -1
            for j, other in enumerate(mine):
                share = iou(other, said.boxes[i])
                if not taken[j] and share >= best:
                    best, at = share, j
            if at >= 0:
                taken[at] = True
            entries.append((-said.scores[i], place, rank, at >= 0))
    if not total:
        return float("nan"), float("nan")
    entries.sort(key=lambda e: e[:3])
    right = np.cumsum([e[3] for e in entries]) if entries else np.zeros(0)
    recall, precision = right / total, right / np.arange(1, len(entries) + 1)
    values = []
    for level in np.linspace(0, 1, 101):
        reached = recall >= level - 1e-12
        values.append(precision[reached.argmax() :].max() if reached.any() else 0.0)
    return float(np.mean(values)), float(recall[-1]) if len(recall) else 0.0


def slow_ap(truth: list[Found], found: list[Found]) -> dict[str, float]:
    table = np.array([[slow_class_ap(truth, found, k, o) for o in OVERLAPS] for k in range(3)])
    return {
        "ap": np.nanmean(table[:, :, 0]),
        "ap50": np.nanmean(table[:, 0, 0]),
        "ap75": np.nanmean(table[:, 5, 0]),
        "ar100": np.nanmean(table[:, :, 1]),
    }


@pytest.mark.parametrize("seed", range(4))
def test_ap_is_the_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = [drawn(rng, 0, 4) for _ in range(12)]
    found = [drawn(rng, 0, 6, near=one) for one in truth]
    ours, wanted = coco_ap(truth, found, 3), slow_ap(truth, found)
    for name, value in wanted.items():
        assert ours[name] == pytest.approx(value, abs=1e-6), name
    assert np.nanmean(class_ap(truth, found, 3)) == pytest.approx(ours["ap"], abs=1e-9)


def test_the_truth_found_is_one_and_nothing_found_is_zero() -> None:
    truth = [drawn(np.random.default_rng(5), 1, 4) for _ in range(5)]
    assert coco_ap(truth, truth, 3)["ap"] == pytest.approx(1)
    nothing = [Found(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))] * 5
    assert coco_ap(truth, nothing, 3)["ap"] == 0
    assert np.isnan(coco_ap(nothing, truth, 3)["ap"])


def test_the_interval_holds_the_value() -> None:
    rng = np.random.default_rng(6)
    truth = [drawn(rng, 1, 3) for _ in range(15)]
    found = [drawn(rng, 0, 5, near=one) for one in truth]
    low, high = ap_interval(truth, found, 3, draws=30)["ap50"]
    assert low <= coco_ap(truth, found, 3)["ap50"] <= high
    assert low < high


def test_f1_of_a_picture_counts_each_thing_once() -> None:
    two = Found(np.float32([[0, 0, 10, 10], [20, 20, 30, 30]]), np.array([0, 1]), np.ones(2, np.float32))
    twice = Found(two.boxes[[0, 0]], np.array([0, 0]), np.float32([0.9, 0.8]))
    assert picture_f1(two, two) == 1
    assert picture_f1(two, twice) == 0.5
    assert picture_f1(two, twice._replace(scores=np.float32([0.9, 0.2]))) == pytest.approx(2 / 3)
    assert picture_f1(two, two._replace(labels=np.array([1, 0]))) == 0


def test_detections_come_back_in_pixels_of_the_picture() -> None:
    class Sees(Detector):
        def detect(self, pixels: torch.Tensor) -> list[Detections]:
            box = torch.tensor([[0.0, 8.0, 16.0, 24.0]])
            return [Detections(box, torch.tensor([0.7]), torch.tensor([1]))] * len(pixels)

    rows = BoxedRows(["a"], [np.zeros((32, 32, 3), np.uint8)], [(64, 32)], [])
    (found,) = detections(Sees(entry("faster_rcnn_small").config), ImageSpec(size=32, crop="pad"), rows)
    assert found.boxes.tolist() == [[0, 0, 32, 32]]
    assert found.labels.tolist() == [1]
