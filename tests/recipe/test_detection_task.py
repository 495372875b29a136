"""A detector from a recipe: afresh, on a trained ResNet, and from a detector of other things."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from limner.checkpoint import load, save_bundle
from limner.data.table import SCHEMA, Table
from limner.errors import ConfigError
from limner.models import build, entry
from limner.models.detector import Detector
from limner.models.frozen import FrozenBatchNorm
from limner.models.resnet import ResNetConfig
from limner.recipe import read, resolve, run
from limner.recipe.detection_task import things_in
from limner.recipe.tasks import task_of
from limner.record import read_records
from limner.train.watch import silent

TOML = """
[[data.sources]]
kind = "table"
path = "{path}"
[objective]
kind = "detection"
[model]
name = "faster_rcnn_small"
image_size = 32
settings = {{ pyramid_dim = 8, box_dim = 16, coarsest = 8, proposals = 10, regions_learnt = 8 }}
[optim]
warmup_steps = 1
[evaluate]
count = 0
[[evaluate.tables]]
path = "{path}"
name = "all"
[train]
steps = 2
batch_size = 4
log_every = 1
"""
BODY = ResNetConfig(block="basic", depths=(1, 1, 1), widths=(8, 8, 16), stem="cifar", num_classes=3)


@pytest.fixture
def things(tmp_path: Path) -> Table:
    rows = []
    for number in range(6):
        file = io.BytesIO()
        image = np.full((24, 36, 3), 90, np.uint8)
        image[4:20, 6:22] = (255, 0, 0) if number % 2 else (0, 0, 255)
        Image.fromarray(image).save(file, "PNG")
        box = {"x0": 6, "y0": 4, "x1": 22, "y1": 20, "label": "red" if number % 2 else "blue"}
        rows.append({"key": str(number), "image": file.getvalue(), "width": 36, "height": 24, "boxes": [box]})
    return Table.write(tmp_path / "things.lance", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)


def recipe(things: Table, *overrides: str):
    path = things.path.parent / "detection.toml"
    path.write_text(TOML.format(path=things.path), encoding="utf-8")
    return read(path, overrides)


def backbone(folder: Path) -> Path:
    spec = entry("cifar_resnet20").image_spec
    return save_bundle(folder / "body", build(BODY), "", BODY, spec, labels=("a", "b", "c"))


def test_a_run_leaves_a_detector_that_opens(things: Table, tmp_path: Path) -> None:
    result = run(recipe(things), tmp_path / "run")
    bundle = load(result.model)
    assert isinstance(bundle.model, Detector)
    assert bundle.labels == ("blue", "red")
    assert (bundle.task, bundle.image_spec.size, bundle.image_spec.crop) == ("detection", 32, "pad")
    assert {"all/ap", "all/ap50", "all/ar100"} <= result.measures.keys()
    record = read_records(result.out / "records.jsonl", "train")[-1]
    assert record["terms"].keys() == {"rpn", "rpn_box", "cls", "box"}
    assert "detect" in result.hint
    card = (result.model / "README.md").read_text(encoding="utf-8")
    assert 'pipeline_tag: "object-detection"' in card


def test_a_trained_resnet_becomes_the_backbone_and_its_norms_stay(things: Table, tmp_path: Path) -> None:
    body = backbone(tmp_path)
    made = resolve(recipe(things, f'model.start="{body}"'))
    lines: list[str] = []
    task = task_of(made, lines.append)
    assert lines == ["a fresh detector on the weights of resnet"]
    assert task.config.backbone.widths == BODY.widths
    assert task.config.num_classes == 2
    weight = load(body).model.layer2[0].conv1.weight
    assert torch.equal(task.model.backbone.body.layer2[0].conv1.weight, weight)
    assert isinstance(task.model.backbone.body.bn1, FrozenBatchNorm)
    awake = task_of(resolve(recipe(things, f'model.start="{body}"', "objective.freeze_norms=false")), silent)
    assert not isinstance(awake.model.backbone.body.bn1, FrozenBatchNorm)
    result = run(made, tmp_path / "run")
    kept = load(result.model).model.backbone.body
    assert torch.equal(kept.bn1.running_mean, load(body).model.bn1.running_mean)
    assert not torch.equal(kept.layer2[0].conv1.weight, weight)


def test_a_detector_of_other_things_gets_a_new_last_layer(things: Table, tmp_path: Path) -> None:
    first = run(recipe(things, "train.steps=1"), tmp_path / "first")
    again = recipe(
        things, f'model.start="{first.out}"', "model.settings={}", 'data.labels=["red","blue","x"]'
    )
    lines: list[str] = []
    task = task_of(resolve(again), lines.append)
    assert lines == ["a new last layer for 3 classes"]
    assert task.config.num_classes == 3
    assert task.model.roi_heads.box_predictor.cls_score.out_features == 4


def test_what_does_not_go_together_is_said(things: Table, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a ResNet, and objective\.kind is 'detection'"):
        task_of(resolve(recipe(things, 'model.name="resnet18"', "model.settings={}")), silent)
    body = f'model.start="{backbone(tmp_path)}"'
    with pytest.raises(ConfigError, match=r"model\.name 'vit_s16' for a detector"):
        task_of(resolve(recipe(things, body, 'model.name="vit_s16"', "model.settings={}")), silent)
    with pytest.raises(ConfigError, match="source of kind 'emoji' for boxes"):
        things_in(recipe(things, "data.sources=[{kind='emoji'}]").data.sources)


@pytest.mark.slow
def test_two_ranks_train_one_detector(things: Table, tmp_path: Path) -> None:
    """Regions are drawn by each rank for itself, so steps are not one rank's; what is saved is one model."""
    path = tmp_path / "detection.toml"
    path.write_text(TOML.format(path=things.path).replace("steps = 2", "steps = 6"), encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    wanted = ["-m", "limner", "train", str(path), "--out", str(tmp_path / "run")]
    ended = subprocess.run(
        [sys.executable, *launch, *wanted],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    losses = [record["loss"] for record in read_records(tmp_path / "run" / "records.jsonl", "train")]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert isinstance(load(tmp_path / "run" / "model").model, Detector)
