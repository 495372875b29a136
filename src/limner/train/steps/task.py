"""What every task is to the loop: a step function, the state it keeps, and what one step tells."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@runtime_checkable
class TaskState(Protocol):
    """What a task keeps between steps, besides the model: it goes in and comes out of a step."""

    @property
    def generator(self) -> torch.Generator:
        """Source of every draw of the step but dropout; the same on every rank."""
        ...

    def modules(self) -> list[nn.Module]:
        """Networks of its own."""
        ...

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint must hold, as file stem → name → tensor."""
        ...

    def facts(self) -> dict[str, Any]:
        """Small plain values that belong to it."""
        ...

    def restored(self, tensors: Mapping[str, dict[str, Tensor]], facts: Mapping[str, Any]) -> Any:
        """This state as it was when `tensors` and `facts` were taken."""
        ...


class Draws(NamedTuple):
    """The state of a task that keeps nothing but its generator.

    Args:
        generator: source of every draw of the step but dropout.
    """

    generator: torch.Generator

    def modules(self) -> list[nn.Module]:
        """None."""
        return []

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Nothing."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restored(self, tensors: Mapping[str, dict[str, Tensor]], facts: Mapping[str, Any]) -> "Draws":
        """Itself: the loop restores generators."""
        return self


class StepResult(NamedTuple):
    """What one forward pass tells.

    Args:
        loss: the weighted sum of the terms; averaged over ranks, that of the global batch.
        terms: each term, unweighted, by name.
        stats: further scalars worth a record.
        state: the task's state after the step.
    """

    loss: Float[Tensor, ""]
    terms: dict[str, Tensor]
    stats: dict[str, Tensor]
    state: TaskState


@runtime_checkable
class Step(Protocol):
    """A task, as the loop calls it; `step` counts the optimiser steps taken before."""

    @property
    def sparing(self) -> bool:
        """Whether a batch may leave parameters without a gradient, as when a term is switched off."""
        ...

    def __call__(self, model: nn.Module, state: Any, batch: Any, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        ...

    def settle(self, model: nn.Module) -> None:
        """Hold the model within the task's bounds, after each optimiser step."""
        ...


def start_draws(model: nn.Module, seed: int) -> Draws:
    """The state before the first step of a task without one, on the model's device."""
    return Draws(torch.Generator(next(model.parameters()).device).manual_seed(seed))


def in_parts(encode: Callable[[Tensor], Tensor], inputs: Tensor, part: int, model: nn.Module) -> Tensor:
    """Encode rows part by part, so that only one part's activations are ever held.

    Each part is encoded again when its gradient is wanted, with the same dropout; batch norms read it as a
    batch of its own and keep their statistics once. The loss sees all rows, so its gradient is that of the
    whole batch.

    Args:
        encode: rows to vectors.
        inputs: first axis is rows.
        part: rows at once; 0 is all, and nothing is encoded twice.
        model: its batch norms are kept still the second time.
    Source: Gao et al. 2021 (GradCache, arXiv 2101.06983).
    """
    if not part or part >= len(inputs) or not torch.is_grad_enabled():
        return encode(inputs)

    def contexts() -> tuple[Any, Any]:
        return torch.enable_grad(), statistics_kept(model)

    starts = range(0, len(inputs), part)
    parts = (inputs[start : start + part] for start in starts)
    return torch.cat([checkpoint(encode, rows, use_reentrant=False, context_fn=contexts) for rows in parts])


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Batch norms normalise by their batch, and leave their running statistics as they are."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms]
    before = [None if count is None else count.clone() for count in counts]
    for norm in norms:
        norm.momentum = 0.0  # of the new statistics, nothing; autograd is to save what it saved before
    try:
        yield
    finally:
        for norm, momentum, count, was in zip(norms, momenta, counts, before, strict=True):
            norm.momentum = momentum
            if count is not None and was is not None:
                count.copy_(was)
