import torch

from limner.record import read_records
from limner.train.loop import train


def test_tags_are_weighed_and_a_batch_without_concepts_costs_nothing(make_task):
    job = make_task("icmlm", objective={"tags": 0.5})
    batch, _ = next(job.loader.batches())
    result = job.step(job.model.eval(), job.state, batch, 0)
    torch.testing.assert_close(result.loss, result.terms["masked"] + 0.5 * result.terms["tags"])
    none = batch._replace(concepts=torch.full_like(batch.concepts, -1))
    result = job.step(job.model, job.state, none, 0)
    result.loss.backward()
    assert result.loss.item() == 0


def test_it_learns_to_find_the_masked_colour(make_task, tmp_path):
    train(make_task("icmlm", optim={"lr": 5e-3, "warmup_steps": 5}, steps=100, log_every=20), tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[-1]["terms"]["masked"] < 0.8 * records[0]["terms"]["masked"]
