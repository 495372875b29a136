import torch

from limner.objectives.ngrams import naive_losses
from limner.record import read_records
from limner.train.loop import train


def test_the_naive_loss_is_the_mean_over_n_grams(make_task):
    job = make_task("ngrams", objective={"loss": "naive"})
    batch, _ = next(job.loader.batches())
    result = job.step(job.model.eval(), job.state, batch, 0)
    logits = job.model(batch.images.float() / 127.5 - 1).logits
    assert naive_losses(logits, batch.ngrams).counted.sum() > 0
    assert result.terms.keys() == {"ngrams"}
    assert float(result.stats["perplexity"]) > 1


def test_a_batch_without_a_known_word_costs_nothing(make_task):
    job = make_task("ngrams")
    batch, _ = next(job.loader.batches())
    result = job.step(job.model, job.state, batch._replace(ngrams=torch.full_like(batch.ngrams, -1)), 0)
    result.loss.backward()
    assert result.loss.item() == 0
    assert not any(p.grad.any() for p in job.model.parameters())


def test_it_learns_n_grams_of_squares(make_task, tmp_path):
    train(make_task("ngrams", optim={"lr": 1e-2, "warmup_steps": 5}, steps=60, log_every=20), tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]
