"""A sharded run takes the steps of a run on one process, and leaves the same files."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from limner.checkpoint import load_train_state, train_state_folders
from limner.errors import ConfigError
from limner.train.loop import train
from limner.train.settings import MachineSettings, TrainSettings
from limner.train.sharding import clip_gradients, cut_like, local, saved, sharded, whole

KINDS = ("resnet", "vit", "clip", "blip")
ASKED, PLAIN = MachineSettings(shard=True), TrainSettings(steps=1)


@pytest.fixture(scope="module")
def one(tmp_path_factory, shard_job) -> Path:
    """Each kind on one process, whole."""
    out = tmp_path_factory.mktemp("one")
    for kind in KINDS:
        train(shard_job(kind), out / kind)
    return out


@pytest.fixture(scope="module")
def two(one, tmp_path_factory, on_two_ranks) -> Path:
    """Each kind on two processes, sharded; CLIP once more, gone on from the middle of the run on one."""
    out = tmp_path_factory.mktemp("two")
    halved(one / "clip", out / "clip-shard-resume")
    names = [f"{kind}:shard" for kind in KINDS]
    on_two_ranks(str(out), *names, "clip:shard:resume", "vit:shard:recompute")
    return out


def halved(run: Path, out: Path) -> None:
    """The run as it was at its first checkpoint."""
    shutil.copytree(run, out)
    shutil.rmtree(train_state_folders(out / "checkpoints")[-1])


def assert_near(run: Path, other: Path) -> None:
    """All tensors of the last checkpoints within 1e-5, under the same names and in the same files."""
    first, second = (load_train_state(train_state_folders(at / "checkpoints")[-1]) for at in (run, other))
    assert first.step == second.step == 6
    assert first.facts["loader"] == second.facts["loader"]
    assert first.tensors.keys() == second.tensors.keys()
    for stem in first.tensors.keys() - {"random"}:
        assert first.tensors[stem].keys() == second.tensors[stem].keys()
        for name, tensor in first.tensors[stem].items():
            found = second.tensors[stem][name]
            torch.testing.assert_close(found, tensor, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_sharded_ranks_take_the_steps_of_one(kind, one, two):
    assert_near(one / kind, two / f"{kind}-shard")
    start, end = (load_train_state(folder) for folder in train_state_folders(one / kind / "checkpoints"))
    moved = [n for n, t in start.tensors["model"].items() if not torch.allclose(t, end.tensors["model"][n])]
    assert len(moved) > len(end.tensors["model"]) / 3


@pytest.mark.slow
def test_activations_are_made_again_under_shards(one, two):
    assert_near(one / "vit", two / "vit-shard-recompute")


@pytest.mark.slow
def test_a_sharded_run_goes_on_from_a_whole_one(one, two):
    assert_near(one / "clip", two / "clip-shard-resume")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clip", "resnet"])
def test_a_whole_run_goes_on_from_a_sharded_one(kind, one, two, shard_job, tmp_path):
    halved(two / f"{kind}-shard", tmp_path / kind)
    train(shard_job(kind), tmp_path / kind, resume=True)
    assert_near(one / kind, tmp_path / kind)


def test_one_process_has_nothing_to_shard(make_task):
    job = make_task("vit")
    assert not sharded(job.step, ASKED, PLAIN)
    assert not sharded(job.step, MachineSettings(), PLAIN)


def test_fp16_is_not_sharded(make_task):
    half = TrainSettings(steps=1, precision="fp16")
    with pytest.raises(ConfigError, match="fp16") as caught:
        sharded(make_task("vit").step, ASKED, half)
    assert '--set train.precision="bf16"' in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "objective", "hint"),
    [
        ("blip", {}, '--set objective.teacher="none"'),
        ("blip", {"teacher": "none", "queue_size": 0}, "--set objective.qa=0"),
        ("clip", {"part": 2}, "--set objective.part=0 --set machine.recompute=true"),
        ("icmlm", {}, "--set machine.shard=false"),
    ],
)
def test_what_cannot_be_sharded_is_refused_with_what_to_do(make_task, kind, objective, hint):
    with pytest.raises(ConfigError, match=r"machine\.shard") as caught:
        sharded(make_task(kind, objective=objective).step, ASKED, PLAIN)
    assert hint in str(caught.value)


def test_gradients_are_clipped_by_their_joint_norm():
    layer = nn.Linear(3, 2)
    layer(torch.ones(4, 3)).square().sum().backward()
    before = torch.cat([p.grad.flatten() for p in layer.parameters()])
    norm = clip_gradients(layer.parameters(), 0.5)
    after = torch.cat([p.grad.flatten() for p in layer.parameters()])
    torch.testing.assert_close(norm, before.norm())
    torch.testing.assert_close(after, before * 0.5 / before.norm(), rtol=1e-4, atol=1e-6)


def test_what_is_not_cut_stays_as_it_is():
    tensor = torch.ones(3)
    assert local(tensor) is tensor
    assert whole(tensor) is tensor
    assert cut_like(tensor, torch.zeros(3)) is tensor
    assert saved({"a": tensor})["a"] is tensor
