"""AdamW and SGD, their schedules, which weights learn and how fast.

Differs from BLIP: the cosine falls per step, unless `stair_steps` is an epoch; biases, norms, positions and
the temperature are not decayed unless `decay_all` says so (BLIP's code and He et al. decay everything).

Source: Loshchilov & Hutter 2019 (arXiv 1711.05101); Loshchilov & Hutter 2017 (arXiv 1608.03983), eq. 5;
Clark et al. 2020 (arXiv 2003.10555), section 3.1, for layer decay;
Kumar et al. 2022 (LP-FT, arXiv 2202.10054) for a head that learns before the rest.
"""

import math
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any, ClassVar, Final, Literal, NamedTuple

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from limner.config import Config
from limner.errors import CheckpointError, ConfigError
from limner.train.sharding import cut_like


class OptimSettings(Config):
    """[optim]: optimiser, schedule, and what learns.

    Args:
        name: "adamw", or "sgd" with momentum, whose weight decay is part of the gradient.
        lr: peak learning rate.
        schedule: after the warm-up: "cosine"; "linear"; "exponential", the same factor each step; "step",
            times `gamma` at each milestone; "constant".
        final_lr: learning rate at the last step, as a fraction of `lr`; of the first three schedules.
        stair_steps: those three fall every so many steps, an epoch in BLIP's code, and stand still in
            between: after k stairs they are where k / (all stairs) of the run is, so `final_lr` is one
            stair behind the last. 0 falls at every step.
        milestones: of "step", as fractions of the run.
        gamma: of "step".
        warmup_steps: steps of linear rise.
        warmup_from: where the rise begins, as a fraction of `lr`.
        weight_decay: on matrices and filters only.
        decay_all: decay biases, norms and positions too.
        beta1: decay of AdamW's first moment.
        beta2: decay of AdamW's second moment.
        eps: added to the root of AdamW's second moment.
        momentum: of SGD.
        nesterov: SGD looks ahead.
        clip_norm: largest norm of the whole gradient; 0 does not clip.
        layer_decay: learning rate of a layer as a fraction of the next one's, (0, 1]; 1 is one rate for all.
        only: parameters that learn, as patterns such as "head.*" or "text_*"; empty is all of them.
        only_steps: steps for which `only` holds, after which all learn (LP-FT); 0 is the whole run.
        average: decay of the running average of the weights, which is evaluated and shipped; 0 is no average.
    """

    LATER: ClassVar = frozenset(
        {
            "name",
            "schedule",
            "milestones",
            "gamma",
            "warmup_from",
            "decay_all",
            "momentum",
            "nesterov",
            "layer_decay",
            "only",
            "only_steps",
            "stair_steps",
        }
    )

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "linear", "exponential", "step", "constant"] = "cosine"
    final_lr: float = Field(default=0.01, ge=0, le=1)
    stair_steps: int = Field(default=0, ge=0)
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = Field(default=0.1, gt=0, le=1)
    warmup_steps: int = Field(default=200, ge=0)
    warmup_from: float = Field(default=0.0, ge=0, le=1)
    weight_decay: float = Field(default=0.05, ge=0)
    decay_all: bool = False
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    clip_norm: float = Field(default=1.0, ge=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    only: tuple[str, ...] = ()
    only_steps: int = Field(default=0, ge=0)
    average: float = Field(default=0.999, ge=0, lt=1)

    @field_validator("milestones")
    @classmethod
    def _in_the_run(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if list(milestones) != sorted(milestones) or not all(0 < part < 1 for part in milestones):
            raise ValueError(f"milestones {milestones}: give rising fractions of the run, each in (0, 1)")
        return milestones


def lr_at(step: int, settings: OptimSettings, steps: int) -> float:
    """Learning rate of a step: linear warm-up, then the schedule.

    Args:
        step: optimiser steps taken before this one, [0, steps).
        settings: the schedule.
        steps: length of the run.
    Source: SGDR eq. 5 for the cosine.
    """
    if step < settings.warmup_steps:
        risen = (step + 1) / settings.warmup_steps
        return settings.lr * (settings.warmup_from + (1 - settings.warmup_from) * risen)
    if stair := settings.stair_steps:
        through = (step - step % stair) / steps
    else:
        through = (step - settings.warmup_steps) / max(1, steps - 1 - settings.warmup_steps)
    return settings.lr * _share(step / steps, min(1.0, through), settings)


def _share(of_run: float, through: float, settings: OptimSettings) -> float:
    """Share of the peak learning rate."""
    final = settings.final_lr
    match settings.schedule:
        case "cosine":
            return final + (1 - final) * (1 + math.cos(math.pi * through)) / 2
        case "linear":
            return final + (1 - final) * (1 - through)
        case "exponential":
            return float(max(final, 1e-12) ** through)
        case "step":
            return float(settings.gamma) ** sum(of_run >= milestone for milestone in settings.milestones)
    return 1.0


# ---- what learns, and how fast


_LAYER: Final = re.compile(r"(?:^|\.)(?:(?:blocks|self_attention|cross_attention|mlp)\.(\d+)\.|layer(\d+)\.)")
_FIRST: Final = re.compile(
    r"(?:^|\.)(?:cls_token|dist_token|pos_embed|patch_embed|norm_pre|embeddings|words|positions|"
    r"stem|mask_token|(?:conv|bn)\d+\.)"
)


def layer_of(name: str) -> int | None:
    """Which layer of its tower a parameter is in: 0 before the first block; None behind the last."""
    if found := _LAYER.search(name):
        return int(found[1]) + 1 if found[1] else int(found[2])
    return 0 if _FIRST.search(name) else None


def lr_scales(names: Sequence[str], decay: float) -> dict[str, float]:
    """Learning rate of each parameter as a fraction of the head's.

    Args:
        names: of all parameters; what stands before a layer's number tells towers apart.
        decay: from a layer to the one before it, (0, 1].
    Source: ELECTRA section 3.1; BEiT and MAE fine-tune so.
    """
    layers = {name: layer_of(name) for name in names}
    deepest: dict[str, int] = {}
    for name, layer in layers.items():
        deepest[_tower(name)] = max(deepest.get(_tower(name), 0), layer or 0)
    return {
        name: 1.0 if layer is None else decay ** (deepest[_tower(name)] + 1 - layer)
        for name, layer in layers.items()
    }


def _tower(name: str) -> str:
    first = name.partition(".")[0]
    return first if first in ("vision", "text", "text_encoder", "text_decoder") else ""


def learning(model: nn.Module, only: Sequence[str]) -> list[str]:
    """Names of the parameters that learn.

    Args:
        model: those it has frozen itself never learn.
        only: patterns; empty is all.
    Raises: ConfigError for a pattern that names no parameter.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = sorted({name.partition(".")[0] for name in names})
            raise ConfigError(
                f"optim.only = {pattern!r} names no parameter of {type(model).__name__}",
                wanted=f"a pattern of names that begin with {', '.join(parts)}",
                hint=f'--set optim.only=["{parts[0]}*"]',
            )
    return [name for name in names if not only or any(fnmatchcase(name, pattern) for pattern in only)]


class Group(NamedTuple):
    """How a parameter learns.

    Args:
        lr_scale: of the schedule's learning rate.
        weight_decay: as the optimiser takes it.
        cut: whether it is cut over processes; optimisers take one kind at a time.
    """

    lr_scale: float
    weight_decay: float
    cut: bool = False


def param_groups(model: nn.Module, settings: OptimSettings) -> list[dict[str, Any]]:
    """The trainable parameters in groups of one weight decay and one `lr_scale`.

    Parameters with one axis or none do not decay, nor those whose name tells of a position or a class token.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    scales = lr_scales([name for name, _ in named], settings.layer_decay)

    def group(item: tuple[str, Tensor]) -> Group:
        decays = settings.decay_all or _decays(*item)
        return Group(scales[item[0]], settings.weight_decay if decays else 0.0, isinstance(item[1], DTensor))

    ordered = sorted(named, key=group, reverse=True)
    return [
        {"params": [parameter for _, parameter in items], **how._asdict()}
        for how, items in groupby(ordered, key=group)
    ]


def _decays(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and not any(word in name for word in ("position", "pos_embed", "cls_token"))


def build_optimizer(model: nn.Module, settings: OptimSettings) -> torch.optim.Optimizer:
    """The fused optimiser over the model's parameter groups; `set_lr` gives it the rate of every step."""
    groups, lr = param_groups(model, settings), settings.lr
    if settings.name == "sgd":
        momentum, nesterov = settings.momentum, settings.nesterov
        whole = not any(group["cut"] for group in groups)  # torch has no fused SGD for tensors that are cut
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=whole)
    betas = settings.beta1, settings.beta2
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=settings.eps, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give each group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


class Learners:
    """Which parameters of a model learn at a step; what does not learn keeps its statistics still too.

    Args:
        model: in training.
        settings: `only` and `only_steps`.
    """

    def __init__(self, model: nn.Module, settings: OptimSettings) -> None:
        self.model, self.until = model, settings.only_steps
        chosen = set(learning(model, settings.only))
        self.resting = [
            parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and name not in chosen
        ]
        if not self.until:  # for the whole run: no gradient is ever made
            for parameter in self.resting:
                parameter.requires_grad_(False)

    def settle(self, step: int) -> None:
        """Before a forward pass: train mode, but eval mode for modules all of whose parameters rest."""
        self.model.train()
        if self._resting(step):
            resting = {id(parameter) for parameter in self.resting}
            for module in self.model.modules():
                own = [id(parameter) for parameter in module.parameters()]
                if own and resting.issuperset(own):
                    module.eval()

    def rest(self, step: int) -> None:
        """After a backward pass: what rests has no gradient."""
        if self._resting(step):
            for parameter in self.resting:
                parameter.grad = None

    def _resting(self, step: int) -> bool:
        return bool(self.resting) and (not self.until or step < self.until)


# ---- its state


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
        like = parameters[name]
        fresh = torch.empty_like(like, dtype=tensor.dtype) if tensor.shape == like.shape else None
        # laid out in memory as its parameter is, which fused optimisers expect
        optimizer.state[like][key] = (
            tensor.to(like.device, copy=True) if fresh is None else fresh.copy_(cut_like(tensor, like))
        )
