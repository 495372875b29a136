import math

import pytest
import torch

from limner.checkpoint import load_train_state, train_state_folders
from limner.train.loop import train
from limner.train.run import Best


def states(out):
    return [load_train_state(folder) for folder in train_state_folders(out / "checkpoints")]


def test_the_run_moves_every_part_of_its_state(make_job, tmp_path):
    """The test above would prove little if a part of the state stood still."""
    train(make_job(checkpoint_every=4), tmp_path)
    first, last = states(tmp_path)
    still = {
        stem: [name for name, tensor in tensors.items() if torch.equal(tensor, last.tensors[stem][name])]
        for stem, tensors in first.tensors.items()
    }
    assert still.pop("teacher") == []
    assert [name for name in still.pop("queue") if name != "ids"] == []
    assert still == {"model": [], "average": [], "optimizer": [], "random": []}


@pytest.mark.parametrize(
    ("name", "value", "better"),
    [("t/top1", 0.6, True), ("t/top1", 0.5, False), ("t/loss", 0.4, True), ("t/mean_rank", 0.6, False)],
)
def test_more_is_better_but_of_losses_and_ranks(name, value, better):
    assert Best(0.5, 10).beaten_by(value, name) is better
    assert Best().beaten_by(value, name)
    assert not Best().beaten_by(math.nan, name)
