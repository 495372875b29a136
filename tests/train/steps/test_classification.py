from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch

from limner.data.transforms import normalise
from limner.record import read_records
from limner.train.loop import train
from limner.train.run import Job


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_the_step_is_cross_entropy_of_the_normalised_picture(
    kind: str, make_task: Callable[..., Job]
) -> None:
    job = make_task(kind)
    model = job.model.eval()
    batch, _ = next(job.loader.batches())
    result = job.step(model, job.state, batch, 0)
    logits = model(normalise(batch.images, job.step.spec)).logits  # type: ignore[attr-defined]
    wanted = torch.nn.functional.cross_entropy(logits, batch.labels)
    torch.testing.assert_close(result.loss, wanted)
    torch.testing.assert_close(result.terms["classification"], wanted)
    assert float(result.stats["accuracy"]) == float((logits.argmax(1) == batch.labels).float().mean())


def test_mixing_and_smoothing_change_the_loss_and_draw_from_the_state(make_task: Callable[..., Job]) -> None:
    plain, smooth, mix = (
        make_task("vit", objective=how) for how in ({}, {"label_smoothing": 0.1}, {"mixup": 0.8})
    )
    batch, _ = next(plain.loader.batches())
    losses = [job.step(job.model.eval(), job.state, batch, 0).loss.item() for job in (plain, smooth, mix)]
    assert len(set(losses)) == 3
    again = make_task("vit", objective={"mixup": 0.8})
    assert again.step(again.model.eval(), again.state, batch, 0).loss.item() == losses[2]


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_it_learns_the_squares(kind: str, make_task: Callable[..., Job], tmp_path: Path) -> None:
    optim = {"lr": 1e-2, "warmup_steps": 10, "average": 0.9}
    job = make_task(kind, optim=optim, steps=120, batch_size=20, log_every=10)
    end = train(job, tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[-1]["accuracy"] > 0.95
    assert records[-1]["loss"] < 0.3 * records[0]["loss"]
    batch, _ = next(islice(job.loader.batches(), 1))
    logits = end.model(normalise(batch.images, job.step.spec)).logits  # type: ignore[attr-defined]
    assert float((logits.argmax(1) == batch.labels).float().mean()) > 0.9
