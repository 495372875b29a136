from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from limner.train.run import Job
from limner.train.steps.task import Draws, Step, TaskState, in_parts, start_draws, statistics_kept


def test_draws_keep_nothing_but_a_generator() -> None:
    state = start_draws(nn.Linear(1, 1), 5)
    assert isinstance(state, TaskState)
    assert (state.tensors(), state.facts(), state.modules()) == ({}, {}, [])
    assert state.restored({}, {}) is state
    wanted = torch.rand(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.rand(3, generator=state.generator), wanted)
    assert isinstance(state, Draws)


@pytest.mark.parametrize("kind", ["resnet", "vit", "masked_patch", "clip", "blip"])
def test_every_task_is_what_the_loop_asks_for(kind: str, make_task: Callable[..., Job]) -> None:
    job = make_task(kind)
    assert isinstance(job.step, Step)
    assert isinstance(job.state, TaskState)


def encoder(norm: bool) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(8) if norm else nn.LayerNorm(8)
    return nn.Sequential(nn.Linear(4, 8), middle, nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).double()


@pytest.mark.parametrize("part", [1, 3, 4])
def test_parts_give_the_gradient_of_the_whole(part: int) -> None:
    x, grads = torch.randn(10, 4, dtype=torch.double), []
    for size in (0, part):
        model = encoder(norm=False).eval()
        vectors = in_parts(model, x, size, model)
        (vectors @ vectors.T).logsumexp(1).sum().backward()  # a loss that sees all rows
        grads.append([p.grad for p in model.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_the_second_time_has_the_same_dropout_and_leaves_statistics() -> None:
    """Each part's gradient is that of one plain pass, and batch norms count each part once."""
    x = torch.randn(6, 4, dtype=torch.double)
    model, plain = encoder(norm=True), encoder(norm=True)
    torch.manual_seed(1)
    in_parts(model, x, 3, model).square().sum().backward()
    torch.manual_seed(1)
    torch.cat([plain(rows) for rows in x.split(3)]).square().sum().backward()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for one, other in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    assert int(model[1].num_batches_tracked) == 2  # type: ignore[index]


def test_parts_hold_one_part_s_activations() -> None:
    sizes: list[int] = []

    def encode(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return rows * 2

    weight = torch.ones(2, requires_grad=True)
    x = torch.ones(5, 2)
    in_parts(lambda rows: (encode(rows) * weight).exp(), x, 2, nn.Identity()).sum().backward()
    assert sorted(sizes) == [1, 1, 2, 2, 2, 2]
    with torch.no_grad():
        sizes.clear()
        in_parts(encode, x, 2, nn.Identity())
    assert sizes == [5]


def test_kept_statistics_are_tracked_again_afterwards() -> None:
    model = nn.BatchNorm1d(2)
    with statistics_kept(model):
        model(torch.randn(4, 2))
    assert int(model.num_batches_tracked) == 0  # type: ignore[arg-type]
    assert model.running_mean.tolist() == [0.0, 0.0]  # type: ignore[union-attr]
    model(torch.randn(4, 2))
    assert int(model.num_batches_tracked) == 1  # type: ignore[arg-type]
