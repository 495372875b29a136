"""How well things are found: COCO's average precision, by `faster-coco-eval`, over rows with boxes.

AP is the mean over ten overlaps, .5 to .95, and over the classes that the rows show; AP50 and AP75 are one
overlap each; AR100 is the recall of a hundred boxes a picture, over the same overlaps and classes.
Checked against: a loop written from the definition.

Source: Lin et al. 2014 (COCO, arXiv 1405.0312); He et al. 2015 (arXiv 1512.03385), tables 7 and 8.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64

from limner.data import intake, transforms
from limner.data.boxes import COLUMNS, HAS, boxed_table, in_picture
from limner.errors import ConfigError, DataError
from limner.evaluate.pictures import Progress, normed
from limner.models.detector import Detector
from limner.shapes import ImageSpec

MEASURES = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}
"""Our names → COCO's twelve numbers; areas are of the original picture: small below 32², large above 96²."""


class Found(NamedTuple):
    """What is in one picture, or what a detector says is in it.

    Args:
        boxes: x0, y0, x1, y1 in pixels of the picture.
        labels: numbers of the classes.
        scores: the surer the higher; ones for the truth.
    """

    boxes: Float32[np.ndarray, "n 4"]
    labels: Int64[np.ndarray, " n"]
    scores: Float32[np.ndarray, " n"]


class BoxedRows(NamedTuple):
    """Rows to find things in.

    Args:
        keys: of the rows.
        images: u8 pixels at the model's size.
        sizes: width and height of each picture as it came.
        truth: what is in each; things of other classes are left out.
    """

    keys: list[str]
    images: list[np.ndarray]
    sizes: list[tuple[int, int]]
    truth: list[Found]


def boxed_rows(
    path: str | Path,
    spec: ImageSpec,
    classes: Sequence[str],
    *,
    where: str = "",
    count: int = 0,
    version: int | None = None,
) -> BoxedRows:
    """Read rows whose boxes were looked for.

    Args:
        path: the table.
        spec: preprocessing of the model.
        classes: in the order of the model.
        where: only rows this SQL filter holds for.
        count: the first so many; 0 is all.
        version: of the table; None is the newest.
    Raises: DataError when no row is left, or none shows a thing of the classes.
    """
    table = boxed_table(path, version)
    positions = table.positions(f"({where}) AND {HAS}" if where else HAS)[: count or None]
    found = BoxedRows([], [], [], [])
    with ThreadPoolExecutor(2) as threads:
        for start in range(0, len(positions), 256):
            rows = table.rows(positions[start : start + 256].tolist(), ["key", "image", *COLUMNS])
            found.images.extend(threads.map(lambda row: _pixels(row["image"], spec), rows))
            for row in rows:
                found.keys.append(row["key"])
                found.sizes.append((row["width"], row["height"]))
                found.truth.append(_truth(row["boxes"], classes))
    if not any(len(one.labels) for one in found.truth):
        raise DataError(
            f"no row of {path} with a box of {', '.join(list(classes)[:5])}"
            + (f" where {where}" if where else ""),
            wanted="rows whose boxes have labels that the model knows",
        )
    return found


def _pixels(image: bytes, spec: ImageSpec) -> np.ndarray:
    return transforms.to_u8(intake.decode(image, max_side=None), spec)


def _truth(boxes: Sequence[dict[str, Any]], classes: Sequence[str]) -> Found:
    known = [box for box in boxes if box["label"] in classes]
    corners = np.array([[box[side] for side in ("x0", "y0", "x1", "y1")] for box in known], np.float32)
    labels = np.array([classes.index(box["label"]) for box in known], np.int64)
    return Found(corners.reshape(-1, 4), labels, np.ones(len(known), np.float32))


@torch.inference_mode()
def detections(
    model: Detector, spec: ImageSpec, rows: BoxedRows, batch_size: int = 8, progress: Progress | None = None
) -> list[Found]:
    """What a detector finds, in pixels of the pictures as they came.

    Args:
        model: in eval mode.
        spec: its preprocessing.
        rows: pictures.
        batch_size: pictures at a time.
        progress: counts pictures.
    """
    device, result = next(model.parameters()).device, []
    for start in range(0, len(rows.images), batch_size):
        stop = min(start + batch_size, len(rows.images))
        seen = model.detect(normed(rows.images[start:stop], spec, device))
        for found, (width, height) in zip(seen, rows.sizes[start:stop], strict=True):
            boxes = in_picture(found.boxes.float().cpu().numpy(), width, height, spec)
            result.append(Found(boxes, found.labels.cpu().numpy(), found.scores.float().cpu().numpy()))
        if progress:
            progress(stop, len(rows.images))
    return result


def coco_ap(truth: Sequence[Found], found: Sequence[Found], classes: int) -> dict[str, float]:
    """COCO's numbers, see `MEASURES`; NaN where there is nothing of that size.

    Args:
        truth: what is in each picture.
        found: what a detector says.
        classes: how many there are.
    Raises: ConfigError when `faster-coco-eval` is not installed.
    """
    numbers = _evaluated(truth, found, classes).stats
    return {name: _share(numbers[place]) for name, place in MEASURES.items()}


def class_ap(truth: Sequence[Found], found: Sequence[Found], classes: int) -> Float[np.ndarray, " k"]:
    """AP of each class; NaN for one that no picture shows. Arguments as of `coco_ap`."""
    precision = _evaluated(truth, found, classes).eval["precision"][:, :, :, 0, -1]  # overlap, recall, class
    return np.array([_share(precision[:, :, k].mean()) for k in range(classes)])


def _share(value: float) -> float:
    """COCO writes -1 for nothing."""
    return float(value) if value >= 0 else float("nan")


def _evaluated(truth: Sequence[Found], found: Sequence[Found], classes: int) -> Any:
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise ConfigError(
            "no faster-coco-eval, which counts COCO's AP", hint='pip install "limner[detection]"'
        ) from error
    pictures = [{"id": number} for number in range(1, len(truth) + 1)]
    things = [
        {**box, "id": number, "iscrowd": 0, "area": box["bbox"][2] * box["bbox"][3]}
        for number, box in enumerate(_annotations(truth), 1)
    ]
    kinds = [{"id": number, "name": str(number)} for number in range(1, classes + 1)]
    known = COCO({"info": {}, "images": pictures, "annotations": things, "categories": kinds})
    said = _annotations(found)
    nothing = {"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 0.0, 0.0], "score": 0.0}
    job = COCOeval_faster(known, known.loadRes(said or [nothing]), "bbox", print_function=lambda *_: None)
    job.evaluate()
    job.accumulate()
    job.summarize()
    return job


def _annotations(pictures: Sequence[Found]) -> list[dict[str, Any]]:
    """Boxes as COCO writes them: corner and sides, everything counted from 1."""
    return [
        {
            "image_id": number,
            "category_id": int(label) + 1,
            "bbox": [float(v) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
            "score": float(score),
        }
        for number, picture in enumerate(pictures, 1)
        for box, label, score in zip(picture.boxes, picture.labels, picture.scores, strict=True)
    ]


def ap_interval(
    truth: Sequence[Found], found: Sequence[Found], classes: int, draws: int = 200, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of COCO's numbers over pictures, 95 %.

    Args:
        truth: what is in each picture.
        found: what a detector says.
        classes: how many there are.
        draws: resamples of the pictures, each counted as a set of its own; 1 or more.
        seed: of the resampling.
    """
    rng, results = np.random.default_rng(seed), []
    for _ in range(draws):
        drawn = rng.integers(len(truth), size=len(truth))
        results.append(coco_ap([truth[i] for i in drawn], [found[i] for i in drawn], classes))
    ends = {}
    for name in MEASURES:
        values = np.array([result[name] for result in results])
        known = values[~np.isnan(values)]
        if len(known):
            ends[name] = (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975)))
    return ends


def picture_f1(truth: Found, found: Found, overlap: float = 0.5, least: float = 0.5) -> float:
    """F1 of one picture: the surest box first, each to the true one of its class that it overlaps most.

    Args:
        truth: what is in it.
        found: what a detector says.
        overlap: least intersection over union.
        least: least score of a box that counts.
    Returns: 1 where there is nothing and nothing is found.
    """
    free, right = set(range(len(truth.labels))), 0
    sure = [i for i in np.argsort(-found.scores, kind="stable") if found.scores[i] >= least]
    for i in sure:
        shares = {k: iou(truth.boxes[k], found.boxes[i]) for k in free if truth.labels[k] == found.labels[i]}
        best = max(shares, key=shares.__getitem__, default=None)
        if best is not None and shares[best] >= overlap:
            free.discard(best)
            right += 1
    total = len(truth.labels) + len(sure)
    return 2 * right / total if total else 1.0


def iou(one: Float[np.ndarray, " 4"], other: Float[np.ndarray, " 4"]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    inside = float(np.prod(np.maximum(sides, 0)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return inside / (areas - inside) if areas > inside else 0.0
