import torch

from limner.record import read_records
from limner.train.loop import train
from limner.train.steps import BagOfWordsSettings


def test_special_tokens_are_no_words_and_a_row_without_any_costs_nothing(make_task):
    job = make_task("bag_of_words")
    batch, _ = next(job.loader.batches())
    whole = job.step(job.model.eval(), job.state, batch, 0).loss
    blank = torch.where(batch.mask & (torch.arange(len(batch.ids)) == 0)[:, None], batch.ids[0, 0], batch.ids)
    rest = job.step(job.model, job.state, batch._replace(ids=blank), 0).loss
    rows = [type(batch)(batch.keys[:1], *(p[i : i + 1] for p in batch[1:])) for i in range(len(batch.ids))]
    alone = [job.step(job.model, job.state, row, 0).loss for row in rows]
    torch.testing.assert_close(whole, torch.stack(alone).mean())
    torch.testing.assert_close(rest, torch.stack(alone[1:]).mean())


def test_it_learns_which_words_belong_to_which_square(make_task, tmp_path):
    train(make_task("bag_of_words", optim={"lr": 1e-2, "warmup_steps": 5}, steps=60, log_every=20), tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]
    assert BagOfWordsSettings(kind="bag_of_words").loss == "softmax"
