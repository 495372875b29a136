"""Each alarm is provoked, is given once, and is gone when its cause is."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from limner.data.batches import Labelled
from limner.errors import TrainingError
from limner.record import read_records
from limner.train import alarms
from limner.train.alarms import MOST_SKIPPED, Alarms, keep_batch
from limner.train.loop import train
from limner.train.run import Job

BATCH = Labelled(["a", "b"], torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
GOOD, BAD = torch.tensor(1.0), torch.tensor(math.nan)


@pytest.fixture
def model() -> nn.Module:
    """With a gradient in every part."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model(torch.ones(1, 2)).sum().backward()
    return model


def record(**values: Any) -> dict[str, Any]:
    return {"kind": "train", "loss": 1.0, "data_wait": 0.1, "terms": {}, **values}


def test_a_batch_that_is_not_finite_is_kept_whole(tmp_path: Path, model: nn.Module) -> None:
    alarms = Alarms(tmp_path)
    assert alarms.finite(GOOD, GOOD, 0, BATCH)
    assert not alarms.finite(BAD, GOOD, 1, BATCH)
    assert not alarms.finite(GOOD, torch.tensor(math.inf), 2, BATCH)
    kept = tmp_path / "failed" / "step-0000002-rank-0"
    facts = json.loads((kept / "batch.json").read_text(encoding="utf-8"))
    assert facts == {"step": 2, "keys": ["a", "b"], "of": "Labelled"}
    tensors = load_file(kept / "batch.safetensors")
    assert torch.equal(tensors["images"], BATCH.images)
    assert torch.equal(tensors["labels"], BATCH.labels)
    news = alarms.look(record(), model)
    assert [alarm.name for alarm in news] == ["not_finite", "not_finite"]
    assert "step 2: loss nan" in news[0].said
    assert alarms.look(record(), model) == []


def test_many_in_a_row_end_the_run_and_one_good_step_starts_the_count_again(tmp_path: Path) -> None:
    alarms = Alarms(tmp_path)
    for step in range(MOST_SKIPPED - 1):
        assert not alarms.finite(BAD, GOOD, step, BATCH)
    assert alarms.finite(GOOD, GOOD, 20, BATCH)
    for step in range(MOST_SKIPPED - 1):
        assert not alarms.finite(BAD, GOOD, step, BATCH)
    with pytest.raises(TrainingError, match="10 in a row"):
        alarms.finite(BAD, GOOD, 30, BATCH)


def test_a_batch_that_is_kept_twice_is_the_last_one(tmp_path: Path) -> None:
    keep_batch(tmp_path, 3, BATCH)
    kept = keep_batch(tmp_path, 3, BATCH._replace(keys=["c", "d"]))
    assert json.loads((kept / "batch.json").read_text(encoding="utf-8"))["keys"] == ["c", "d"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"logit_scale": 100.0}, "logit_scale"),
        ({"mean_cosine": 0.97}, "collapse"),
        ({"data_wait": 0.8}, "data_wait"),
    ],
)
def test_a_record_gives_an_alarm_once_until_it_is_over(
    values: dict[str, float], name: str, tmp_path: Path, model: nn.Module
) -> None:
    alarms = Alarms(tmp_path)
    assert [alarm.name for alarm in alarms.look(record(**values), model)] == [name]
    assert alarms.look(record(**values), model) == []
    assert alarms.look(record(), model) == []
    assert [alarm.name for alarm in alarms.look(record(**values), model)] == [name]
    with pytest.raises(TrainingError):
        Alarms(tmp_path, strict=True).look(record(**values), model)


@pytest.mark.parametrize("share", [0.0, 0.002, 0.999, 1.0])
def test_itm_that_never_decides(share: float, tmp_path: Path, model: nn.Module) -> None:
    """Every ITM begins by calling all pairs the same; one that goes on so is told."""
    alarms = Alarms(tmp_path)
    losses = iter(range(100, 0, -1))
    given = [alarms.look(record(itm_positive=share, loss=float(next(losses))), model) for _ in range(40)]
    assert [i for i, news in enumerate(given) if news] == [29]
    assert given[29][0].name == "itm_one_class"
    assert alarms.look(record(itm_positive=0.4), model) == []


def test_a_healthy_record_gives_none(tmp_path: Path, model: nn.Module) -> None:
    healthy = record(logit_scale=30.0, mean_cosine=0.2, itm_positive=0.34)
    assert Alarms(tmp_path).look(healthy, model) == []
    assert Alarms(tmp_path).look(record(loss=math.nan, mean_cosine=math.nan), model) == []


def test_a_loss_that_never_moves(tmp_path: Path, model: nn.Module) -> None:
    alarms = Alarms(tmp_path)
    given = [alarm.name for _ in range(12) for alarm in alarms.look(record(loss=2.3026), model)]
    assert given == ["flat_loss"]
    moving = Alarms(tmp_path)
    assert [a for i in range(12) for a in moving.look(record(loss=2.3 - 0.01 * i), model)] == []


def test_a_part_without_a_gradient(tmp_path: Path, model: nn.Module) -> None:
    for parameter in model[0].parameters():
        parameter.grad.zero_()  # type: ignore[union-attr]
    [alarm] = Alarms(tmp_path).look(record(), model)
    assert (alarm.name, alarm.said) == ("dead_0", "no gradient reaches 0")
    model[0].requires_grad_(False)  # frozen by will
    assert Alarms(tmp_path).look(record(), model) == []


def test_a_learning_rate_that_does_nothing_is_told_in_a_run(
    make_task: Callable[..., Job], tmp_path: Path
) -> None:
    """From the loop's own records to its own lines."""
    lines: list[str] = []
    optim = {"lr": 1e-12, "warmup_steps": 0}
    train(make_task("vit", optim=optim, steps=24, log_every=3, batch_size=20), tmp_path, report=lines.append)
    assert [r["name"] for r in read_records(tmp_path / "records.jsonl", "alarm")] == ["flat_loss"]
    assert [line for line in lines if line.startswith("alarm: the loss has stayed at")]


def test_a_logit_scale_that_never_moves_is_told_in_a_run(
    make_task: Callable[..., Job], tmp_path: Path
) -> None:
    job = make_task("clip", steps=24, log_every=3)
    scale = job.model.log_logit_scale
    scale.register_hook(torch.zeros_like)  # type: ignore[union-attr]
    train(job, tmp_path)
    assert "logit_scale_stuck" in [r["name"] for r in read_records(tmp_path / "records.jsonl", "alarm")]
    job = make_task("clip", steps=24, log_every=3)
    job.model.log_logit_scale.requires_grad_(False)  # type: ignore[union-attr, operator]
    train(job, tmp_path / "frozen")
    assert not any(read_records(tmp_path / "frozen" / "records.jsonl", "alarm"))


def test_a_logit_scale_at_its_bound_is_told_in_a_run(make_task: Callable[..., Job], tmp_path: Path) -> None:
    job = make_task("clip", steps=6, log_every=3)
    with torch.no_grad():
        job.model.log_logit_scale.fill_(9.0)  # type: ignore[union-attr, operator]
    train(job, tmp_path)
    assert "logit_scale" in [r["name"] for r in read_records(tmp_path / "records.jsonl", "alarm")]


def test_the_signs_of_a_blip_are_in_its_records(make_task: Callable[..., Job], tmp_path: Path) -> None:
    train(make_task("blip", steps=2, log_every=1), tmp_path)
    told = read_records(tmp_path / "records.jsonl", "train")[-1]
    assert {"itm_positive", "itm_accuracy", "mean_cosine", "temperature", "grad_norm"} <= told.keys()


def test_the_docs_tell_of_every_alarm() -> None:
    code = Path(alarms.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r'Alarm\(\s*f?"(\w+)', code))
    assert {"not_finite", "flat_loss", "dead_"} <= names
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    assert [name for name in names if f"| `{name}" not in page] == []
