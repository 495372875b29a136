import torch

from limner.data.transforms import normalise
from limner.models.virtex import reversed_texts
from limner.objectives.captioning import lm_loss
from limner.record import read_records
from limner.train.loop import train


def test_the_terms_are_the_language_model_of_each_direction(make_task):
    job = make_task("virtex")
    batch, _ = next(job.loader.batches())
    result = job.step(job.model.eval(), job.state, batch, 0)
    read = job.model(normalise(batch.images, job.step.spec), batch.ids, batch.mask)
    turned = reversed_texts(batch.ids, batch.mask)
    for name, logits, ids in (("forward", read.forward, batch.ids), ("backward", read.backward, turned)):
        torch.testing.assert_close(result.terms[name], lm_loss(logits, ids, batch.mask, 0.0))
    torch.testing.assert_close(result.loss, result.terms["forward"] + result.terms["backward"])


def test_it_learns_to_caption_squares_both_ways(make_task, tmp_path):
    train(make_task("virtex", optim={"lr": 1e-2, "warmup_steps": 5}, steps=60, log_every=20), tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[-1]["loss"] < 0.6 * records[0]["loss"]
    assert records[-1]["backward_accuracy"] > records[0]["backward_accuracy"]
