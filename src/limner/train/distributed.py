"""A run on several processes: gradients averaged, batch norms that see the whole batch, records from one.

Every rank reads its part of each global batch and returns its share of the loss (see `limner.ranks`), so a
run on two ranks takes the steps of a run on one.
"""

import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from limner import ranks
from limner.models.frozen import FrozenBatchNorm
from limner.train.steps.task import Step, StepResult


class Forward(nn.Module):
    """A model with its step as one module, so that whatever wraps modules sees the whole forward pass.

    Args:
        model: in training.
        step: its task.
    """

    def __init__(self, model: nn.Module, step: Step) -> None:
        super().__init__()
        self.model, self.step = model, step

    def forward(self, state: Any, batch: Any, step: int) -> StepResult:
        """Losses of one batch."""
        return self.step(self.model, state, batch, step)


def averaging(forward: Forward) -> nn.Module:
    """A forward pass whose gradients are averaged over ranks; as it is on one rank.

    Args:
        forward: the same on every rank, and whole.
    """
    if ranks.size() == 1:
        return forward
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        sparing = forward.step.sparing
        return DistributedDataParallel(forward, broadcast_buffers=False, find_unused_parameters=sparing)


def in_micro_batches(batch: Any, size: int) -> list[tuple[Any, float]]:
    """Cut a batch into parts of at most `size` rows, each with its share of the rows; 0 does not cut."""
    rows = len(batch[0])
    if not size or size >= rows:
        return [(batch, 1.0)]
    cuts = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    return [(type(batch)(*(part[cut] for part in batch)), (cut.stop - cut.start) / rows) for cut in cuts]


def mean_of_parts(parts: list[tuple[float, StepResult]]) -> dict[str, Tensor]:
    """What the parts of a batch told together: loss, terms and stats, weighted by their rows."""
    told: dict[str, Tensor] = {}
    for share, result in parts:
        terms = {f"terms/{name}": value for name, value in result.terms.items()}
        for name, value in {"loss": result.loss, **terms, **result.stats}.items():
            scaled = value.detach() * share if share < 1 else value.detach()
            told[name] = told[name] + scaled if name in told else scaled
    return told


# ---- batch norms


def share_statistics(model: nn.Module) -> None:
    """Make batch norms normalise by the batch of all ranks, in place; nothing on one rank.

    Those that are frozen stay what they are. Weights keep their names. torch's own needs CUDA, so this one
    does the sums itself.
    """
    if ranks.size() == 1:
        return
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not isinstance(module, FrozenBatchNorm):
            module.__class__ = SharedBatchNorm2d


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose mean and variance are those of all ranks' rows together.

    Source: Ioffe & Szegedy 2015 (arXiv 1502.03167), algorithm 1.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise; in eval mode as ever."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        count = x.numel() // x.shape[1] * ranks.size()
        mean = _total(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = _total(centred.square().sum((0, 2, 3))) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                share = self.momentum if self.momentum is not None else 0.1
                self.running_mean.lerp_(mean.to(self.running_mean), share)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), share)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        result = centred * scale[:, None, None]
        return (result if self.bias is None else result + self.bias[:, None, None]).to(input.dtype)


def _total(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)
    return total


class _Sum(torch.autograd.Function):
    """The sum over ranks; backwards, each rank's part is asked for by all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        asked = grads[0].contiguous().clone()
        dist.all_reduce(asked)
        return asked
