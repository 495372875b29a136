"""The running average of the weights, which is evaluated and shipped.

Source: Polyak & Juditsky 1992 (SIAM J. Control Optim. 30), for averages of weights.
"""

import copy

import torch
from torch import Tensor, nn

from limner.train.sharding import cut_like, local, whole


class WeightAverage:
    """The exponential running average of a model's weights, and of the statistics of its batch norms.

    Of a model that is cut over processes, each process averages its part; `model` gathers the parts.

    Args:
        model: the model in training, before it is cut.
        decay: share of the average that a step keeps, [0, 1); it rises from .1 as (1 + step) / (10 + step).
            With 0 the average is the model as it is when it is asked for, and steps cost nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._source, self._copy = model, copy.deepcopy(model).eval().requires_grad_(False)
        self._parts: list[Tensor] = list(self._copy.parameters())
        self.decay = decay

    def cut(self) -> None:
        """Average in parts from now on, as the model has been cut; they begin with what the copy holds."""
        pairs = zip(self._copy.parameters(), self._source.parameters(), strict=True)
        self._parts = [cut_like(own, like) for own, like in pairs]

    @property
    def model(self) -> nn.Module:
        """A copy that holds the average, in eval mode; every process must ask."""
        if not self.decay:
            self._follow(self._source, 1.0)
        self._gather()
        return self._copy

    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model after optimiser step `step` (counted from 0)."""
        if self.decay:
            self._follow(model, 1 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def _follow(self, model: nn.Module, share: float) -> None:
        torch._foreach_lerp_([*map(local, self._parts)], [*map(local, model.parameters())], share)
        for own, other in zip(self._copy.buffers(), model.buffers(), strict=True):
            if own.is_floating_point():  # statistics of weights that are averages
                own.lerp_(other, share)
            else:
                own.copy_(other)

    @torch.no_grad()
    def _gather(self) -> None:
        for own, part in zip(self._copy.parameters(), self._parts, strict=True):
            if own is not part:
                own.copy_(whole(part))
