"""AdamW with no-decay groups, a cosine schedule with warm-up, and the running average of the weights.

Differs from BLIP: the cosine falls per step, not per epoch; biases, norms, positions and the temperature are
not decayed (BLIP's code decays everything).

Source: Loshchilov & Hutter 2019 (arXiv 1711.05101); Loshchilov & Hutter 2017 (arXiv 1608.03983), eq. 5;
Polyak & Juditsky 1992 for the average.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.config import Config
from limner.errors import CheckpointError


class OptimSettings(Config):
    """[optim]: AdamW and its schedule.

    Args:
        lr: peak learning rate.
        final_lr: learning rate at the last step, as a fraction of `lr`.
        warmup_steps: steps of linear rise from near 0.
        weight_decay: decoupled, on matrices only.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        eps: added to the root of the second moment.
        clip_norm: largest norm of the whole gradient; 0 does not clip.
        average: decay of the running average of the weights, which is evaluated and shipped; 0 is no average.
    """

    lr: float = Field(default=1e-3, gt=0)
    final_lr: float = Field(default=0.01, ge=0, le=1)
    warmup_steps: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.05, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    clip_norm: float = Field(default=1.0, ge=0)
    average: float = Field(default=0.999, ge=0, lt=1)


def lr_at(step: int, settings: OptimSettings, steps: int) -> float:
    """Learning rate of a step: linear warm-up, then half a cosine down to `final_lr · lr`.

    Args:
        step: optimiser steps taken before this one, [0, steps).
        settings: the schedule.
        steps: length of the run.
    Source: SGDR eq. 5.
    """
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    through = (step - settings.warmup_steps) / max(1, steps - 1 - settings.warmup_steps)
    cosine = (1 + math.cos(math.pi * min(1.0, through))) / 2
    return settings.lr * (settings.final_lr + (1 - settings.final_lr) * cosine)


def param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters into those that decay (matrices, filters) and those that do not.

    Parameters with one axis or none do not decay, nor those whose name tells of a position or a class token.
    """
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (decayed if _decays(name, parameter) else kept).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def _decays(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and not any(word in name for word in ("position", "pos_embed", "cls_token"))


def build_optimizer(model: nn.Module, settings: OptimSettings) -> torch.optim.AdamW:
    """Fused AdamW over the model's parameter groups; the loop sets the learning rate of every step."""
    return torch.optim.AdamW(
        param_groups(model, settings.weight_decay),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=True,
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state by parameter name: `text.embed.weight/exp_avg`."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises: CheckpointError when a tensor belongs to no parameter of the model.
    """
    parameters = dict(model.named_parameters())
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition("/")
        if name not in parameters:
            raise CheckpointError(
                f"optimizer state of {name!r}", wanted=f"a parameter of {type(model).__name__}"
            )
        optimizer.state[parameters[name]][key] = tensor.to(parameters[name].device, copy=True)


class WeightAverage:
    """The exponential running average of a model's weights; buffers follow the model as they are.

    Args:
        model: the model in training; a copy of it holds the average, in eval mode.
        decay: share of the average that a step keeps, [0, 1); it rises from .1 as (1 + step) / (10 + step).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model after optimiser step `step` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for own, other in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(other)
