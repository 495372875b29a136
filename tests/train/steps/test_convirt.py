import torch

from limner.data.transforms import normalise
from limner.objectives.convirt import convirt_loss
from limner.record import read_records
from limner.train.loop import train


def test_the_loss_is_that_of_the_model_s_vectors(make_task):
    job = make_task("convirt", objective={"weight": 0.6})
    batch, _ = next(job.loader.batches())
    result = job.step(job.model.eval(), job.state, batch, 0)
    image, text = job.model(normalise(batch.images, job.step.spec), batch.ids, batch.mask)
    torch.testing.assert_close(result.loss, convirt_loss(image, text, 0.1, 0.6))


def test_it_learns_which_caption_belongs_to_which_square(make_task, tmp_path):
    train(make_task("convirt", optim={"lr": 5e-3, "warmup_steps": 5}, steps=100, log_every=20), tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]
    assert records[-1]["pair_cosine"] > records[-1]["mean_cosine"]
