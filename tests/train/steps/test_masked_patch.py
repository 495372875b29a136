from collections.abc import Callable
from pathlib import Path

import torch

from limner.data.transforms import normalise
from limner.models.masked_patch import corruption_plan, mean_colours
from limner.record import read_records
from limner.train.loop import train
from limner.train.run import Job


def test_the_step_is_cross_entropy_over_the_corrupted_patches(make_task: Callable[..., Job]) -> None:
    job = make_task("masked_patch")
    batch, _ = next(job.loader.batches())
    result = job.step(job.model.eval(), job.state, batch, 0)
    plan = corruption_plan(8, 16, torch.Generator().manual_seed(0))
    colours = mean_colours(batch.images.float() / 255, 4)
    logits = job.model(normalise(batch.images, job.step.spec), plan.source).logits  # type: ignore[attr-defined]
    wanted = torch.nn.functional.cross_entropy(logits[plan.corrupted], colours[plan.corrupted])
    torch.testing.assert_close(result.loss, wanted)


def test_it_learns_the_colours(make_task: Callable[..., Job], tmp_path: Path) -> None:
    optim = {"lr": 5e-3, "warmup_steps": 10, "average": 0.9}
    train(make_task("masked_patch", optim=optim, steps=200, batch_size=20, log_every=10), tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[-1]["loss"] < 0.4 * records[0]["loss"]
    assert records[-1]["accuracy"] > 0.25  # chance is 1 in 512
