"""Sharding (FSDP2): a process keeps its part of weights, gradients and optimiser, and gathers block by block.

Scalars, such as a logit scale, cannot be cut: every process has them whole, and their gradients are averaged
apart. A checkpoint holds whole tensors, so it is the same file as that of a run that is not sharded.

Source: Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054), stage 3; Zhao et al. 2023 (FSDP, arXiv 2304.11277).
"""

from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from limner import ranks
from limner.errors import ConfigError
from limner.models import bert
from limner.train.blocks import blocks
from limner.train.settings import MachineSettings, TrainSettings
from limner.train.steps import BLIPStep, CLIPStep, Step

_WHOLE = "--set machine.shard=false"


def sharded(step: Step, machine: MachineSettings, settings: TrainSettings) -> bool:
    """Whether a run is sharded: it was asked for, and there are several processes.

    Args:
        step: the task.
        machine: says `shard`.
        settings: precision.
    Raises: ConfigError for what cannot be sharded.
    """
    if not machine.shard:
        return False
    if settings.precision == "fp16":
        raise ConfigError(
            'machine.shard with train.precision "fp16", whose scaled gradients no process sees whole',
            wanted='"bf16" or "fp32"',
            hint=f'--set train.precision="bf16", or {_WHOLE}',
        )
    if isinstance(step, BLIPStep):
        _require_plain_blip(step)
    elif isinstance(step, CLIPStep) and step.settings.part:
        raise ConfigError(
            f"machine.shard with objective.part {step.settings.part}, which goes through all blocks twice",
            wanted="objective.part = 0; activations may be made again block by block",
            hint=f"--set objective.part=0 --set machine.recompute=true, or {_WHOLE}",
        )
    elif step.sparing:
        raise ConfigError(
            f"machine.shard with {type(step).__name__}: a process may leave out blocks that others gather",
            wanted="a task that takes every batch through the same blocks",
            hint=_WHOLE,
        )
    return ranks.size() > 1


def _require_plain_blip(step: BLIPStep) -> None:
    """Check that a BLIP takes every batch through the same blocks, and that nothing follows its weights.

    Raises: ConfigError that says which terms to leave out.
    """
    if step.settings.teacher == "momentum" and step.settings.itc:
        raise ConfigError(
            'machine.shard with objective.teacher "momentum", which follows whole weights at every step',
            wanted='"none": ITC contrasts within the batch of all processes',
            hint=f'--set objective.teacher="none", or {_WHOLE}',
        )
    if step.settings.qa:
        raise ConfigError(
            f"machine.shard with objective.qa {step.settings.qa}: a process whose rows ask nothing leaves "
            "out blocks that others gather",
            wanted="objective.qa = 0",
            hint=f"--set objective.qa=0, or {_WHOLE}",
        )


def shard(forward: nn.Module) -> None:
    """Cut a model's weights over all processes, in place; a block is gathered when its turn comes.

    What is in no block is gathered for the whole step, and so are the attentions of BLIP's text towers, parts
    of which are used outside their forward pass.

    Args:
        forward: the whole forward pass, the same on every process.
    """
    parameters = list(forward.parameters())
    mesh = init_device_mesh(parameters[0].device.type, (ranks.size(),))
    scalars = {parameter for parameter in parameters if not parameter.ndim}
    for block in blocks(forward):
        if not isinstance(block, (bert.SelfAttention, bert.CrossAttention)):
            fully_shard(block, mesh=mesh, ignored_params=scalars)
    fully_shard(forward, mesh=mesh, ignored_params=scalars)


def average_scalars(parameters: Iterable[Tensor]) -> None:
    """Average, over processes, the gradients of what is not cut; in place."""
    for parameter in parameters:
        if parameter.grad is not None and not isinstance(parameter, DTensor):
            dist.all_reduce(parameter.grad)
            parameter.grad /= ranks.size()


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], largest: float) -> Tensor:
    """Scale all gradients so that their joint norm is at most `largest`, in place.

    Args:
        parameters: cut ones and whole ones.
        largest: > 0.
    Returns: the norm before, the same on every process.
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    cut, rest = ([g for g in grads if isinstance(g, DTensor) is kind] for kind in (True, False))
    norms = [whole(nn.utils.get_total_norm(kind)) for kind in (cut, rest) if kind]
    total: Tensor = torch.stack(norms or [torch.zeros(())]).norm()
    share = (largest / (total + 1e-6)).clamp(max=1.0)
    for grad in grads:
        local(grad).mul_(share)
    return total


# ---- whole tensors and parts of them


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor; one that is not cut as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """A tensor gathered from all processes; one that is not cut as it is. Every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def saved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors gathered one by one, for the first process, on its CPU; the others keep none that was cut."""
    kept = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, DTensor):
            kept[name] = tensor
            continue
        gathered = whole(tensor)
        if ranks.rank() == 0:
            kept[name] = gathered.cpu()
    return kept


def cut_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, which every process has, cut as another one is."""
    if not isinstance(like, DTensor):
        return tensor
    on_device = tensor.to(like.device)
    return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)
