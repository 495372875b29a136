"""Two ranks are one: the four models, trained as `jobs.py` says, by gloo on this machine."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from limner.checkpoint import load_train_state, train_state_folders
from limner.data.batches import Labelled
from limner.models.frozen import FrozenBatchNorm, freeze_batch_norm
from limner.record import read_records
from limner.train.distributed import SharedBatchNorm2d, in_micro_batches, mean_of_parts, share_statistics
from limner.train.loop import train
from limner.train.run import Job
from limner.train.steps import StepResult, start_draws

KINDS = ("resnet", "vit", "masked_patch", "clip", "blip", "vqa", "nlvr2")
KINDS += ("bag_of_words", "ngrams", "virtex", "icmlm", "convirt")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory, on_two_ranks: Callable[..., None]) -> Path:
    out = tmp_path_factory.mktemp("two-ranks")
    on_two_ranks(str(out), *KINDS)
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_take_the_steps_of_one(
    kind: str, two_ranks: Path, make_task: Callable[..., Job], tmp_path: Path
) -> None:
    """Weights, optimiser, teacher and queue within 1e-5 after 20 steps at the same global batch."""
    train(make_task(kind, optim={"name": "sgd", "lr": 0.05, "warmup_steps": 2}), tmp_path)
    one, two = (
        load_train_state(train_state_folders(folder / "checkpoints")[-1])
        for folder in (tmp_path, two_ranks / kind)
    )
    assert one.step == two.step == 20
    assert one.facts["loader"] == two.facts["loader"]
    for stem in one.tensors.keys() - {"random"}:
        gradients = 10 if stem == "optimizer" else 1  # that a momentum of 0.9 holds the sum of
        for name, tensor in one.tensors[stem].items():
            torch.testing.assert_close(
                *(two.tensors[stem][name], tensor),
                atol=gradients * 1e-5,
                rtol=1e-5,
                msg=lambda m, n=name: f"{n}: {m}",
            )
    losses = [
        [record["loss"] for record in read_records(folder / "records.jsonl", "train")]
        for folder in (tmp_path, two_ranks / kind)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert len(losses[0]) == 4
    assert losses[0][0] != losses[0][-1]


def test_micro_batches_have_all_rows_and_shares_that_add_up() -> None:
    batch = Labelled([str(i) for i in range(7)], torch.arange(7)[:, None, None, None].byte(), torch.arange(7))
    parts = in_micro_batches(batch._replace(images=batch.images.expand(7, 3, 2, 2)), 3)
    assert [len(part.keys) for part, _ in parts] == [3, 3, 1]
    assert sum(share for _, share in parts) == pytest.approx(1)
    assert torch.cat([part.labels for part, _ in parts]).tolist() == list(range(7))
    assert in_micro_batches(batch, 0) == [(batch, 1.0)]
    assert in_micro_batches(batch, 7) == [(batch, 1.0)]


def test_what_parts_tell_is_weighted_by_their_rows() -> None:
    state = start_draws(nn.Linear(1, 1), 0)

    def result(value: float) -> StepResult:
        return StepResult(
            torch.tensor(value), {"a": torch.tensor(2 * value)}, {"b": torch.tensor(1.0)}, state
        )

    told = mean_of_parts([(0.75, result(4.0)), (0.25, result(8.0))])
    assert {name: float(value) for name, value in told.items()} == {"loss": 5.0, "terms/a": 10.0, "b": 1.0}


@pytest.mark.parametrize("kind", ["vit", "masked_patch"])
def test_micro_batches_take_the_step_of_the_whole(
    kind: str, make_task: Callable[..., Job], tmp_path: Path
) -> None:
    """A network without batch norm; masked patches draw per part, so only their first loss is near."""
    whole, parts = (make_task(kind, steps=4, log_every=1, micro_batch=size) for size in (0, 3))
    ends = [train(job, tmp_path / str(i)) for i, job in enumerate((whole, parts))]
    losses = [
        [record["loss"] for record in read_records(tmp_path / str(i) / "records.jsonl", "train")]
        for i in range(2)
    ]
    if kind == "vit":
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
        for one, other in zip(ends[0].model.parameters(), ends[1].model.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    else:
        assert losses[1][0] == pytest.approx(losses[0][0], rel=0.02)


def test_batch_norms_stay_as_they_are_on_one_rank() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    share_statistics(model)
    assert type(model[1]) is nn.BatchNorm2d


def test_frozen_batch_norms_stay_frozen_on_several_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.ranks.size", lambda: 2)
    model = nn.Sequential(nn.Sequential(nn.BatchNorm2d(4)), nn.BatchNorm2d(4))
    freeze_batch_norm(model[0])
    share_statistics(model.train())
    assert [type(model[0][0]), type(model[1])] == [FrozenBatchNorm, SharedBatchNorm2d]
    before = model[0][0].running_mean.clone()
    model[0](torch.randn(2, 4, 3, 3))
    assert torch.equal(model[0][0].running_mean, before)


def test_the_shared_batch_norm_is_torch_s_in_eval_mode_and_keeps_its_names() -> None:
    norm = SharedBatchNorm2d(4).eval()
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(norm(x), nn.BatchNorm2d(4).eval()(x))
    assert norm.state_dict().keys() == nn.BatchNorm2d(4).state_dict().keys()
