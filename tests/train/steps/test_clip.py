import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limner.data.transforms import normalise
from limner.objectives.contrastive import info_nce
from limner.record import read_records
from limner.train.loop import train
from limner.train.run import Job


def gradients(job: Job, batch: object) -> dict[str, torch.Tensor]:
    job.model.eval().zero_grad()
    job.step(job.model, job.state, batch, 0).loss.backward()
    return {name: p.grad for name, p in job.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("how", [{}, {"part": 3}, {"chunk": 2}, {"part": 1, "chunk": 1}])
def test_parts_and_chunks_give_the_loss_and_gradient_of_the_whole_batch(
    how: dict[str, int], make_task: Callable[..., Job]
) -> None:
    job = make_task("clip", objective=how)
    batch, _ = next(job.loader.batches())
    found = gradients(job, batch)
    plain = make_task("clip").model.eval()
    pixels = normalise(batch.images, job.step.spec)  # type: ignore[attr-defined]
    loss = info_nce(plain.encode_image(pixels), plain.encode_text(batch.ids), plain.logit_scale)
    loss.backward()
    torch.testing.assert_close(job.step(job.model, job.state, batch, 0).loss.float(), loss.float())
    assert found.keys() == {name for name, _ in plain.named_parameters()}
    for name, parameter in plain.named_parameters():
        error = (found[name] - parameter.grad).norm() / (parameter.grad.norm() + 1e-12)  # type: ignore[operator, union-attr]
        assert error < 1e-5 or parameter.grad.norm() < 1e-6, name  # type: ignore[union-attr]


def test_padding_costs_nothing_and_changes_nothing(make_task: Callable[..., Job]) -> None:
    """A batch padded to the whole context gives the loss and gradients of one that is not."""
    job = make_task("clip")
    batch, _ = next(job.loader.batches())
    padded = batch._replace(ids=torch.nn.functional.pad(batch.ids, (0, 24 - batch.ids.shape[1])))
    assert padded.ids.shape[1] == 24 > batch.ids.shape[1]
    short, long = gradients(job, batch), gradients(make_task("clip"), padded)
    for name, grad in short.items():
        torch.testing.assert_close(grad, long[name], rtol=1e-5, atol=1e-7, msg=name)


def test_the_logit_scale_is_held_after_each_step(make_task: Callable[..., Job], tmp_path: Path) -> None:
    job = make_task("clip", steps=3, log_every=1)
    with torch.no_grad():
        job.model.log_logit_scale.fill_(9.0)  # type: ignore[union-attr, operator]
    train(job, tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[0]["logit_scale"] == pytest.approx(math.exp(9.0))
    assert [r["logit_scale"] <= 100.001 for r in records[1:]] == [True, True]


def test_it_learns_which_caption_belongs_to_which_square(
    make_task: Callable[..., Job], tmp_path: Path
) -> None:
    optim = {"lr": 5e-3, "warmup_steps": 10, "average": 0.9}
    train(make_task("clip", optim=optim, steps=200, batch_size=20, log_every=20), tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    assert records[-1]["accuracy"] > 0.6
    assert records[-1]["pair_cosine"] > records[-1]["mean_cosine"]
