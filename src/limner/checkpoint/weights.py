"""Weights of a module as a plain table of tensors, and back: copied in place, or taken over as they are."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from limner.config import Config
from limner.errors import CheckpointError
from limner.models import ARCHITECTURES, architecture_of

Precision = Literal["fp32", "fp16", "bf16"]
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def stored_weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, a tied one once (under its first name), contiguous."""
    named = module.state_dict(keep_vars=True)  # the very Parameter objects, so that ties show
    first = {id(tensor): name for name, tensor in reversed(named.items())}
    return {name: tensor.detach().contiguous() for name, tensor in named.items() if first[id(tensor)] == name}


@torch.no_grad()
def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy tensors into a module, in place; half precision is widened.

    Args:
        module: takes the values; keeps its dtype, device and ties.
        tensors: as `stored_weights` gives.
        origin: file name, for the message.
    Raises: CheckpointError when a key is missing or unexpected, or a shape differs.
    """
    named = module.state_dict(keep_vars=True)
    for name in _agreed(module, tensors, origin):
        named[name].detach().copy_(tensors[name])


def built_with(config: Config, tensors: dict[str, Tensor], origin: str) -> nn.Module:
    """Make a model of given weights; nothing is drawn by chance and the weights are in memory once.

    Args:
        config: of the model.
        tensors: as `stored_weights` gives; floating ones are widened to fp32. Is emptied on the way, so that
            what has been widened can go.
        origin: file name, for the message.
    Returns: the model, in eval mode.
    Raises: CheckpointError when a key is missing or unexpected, or a shape differs.
    """
    with torch.device("meta"):
        model = ARCHITECTURES[architecture_of(config)].build(config)
    _take_over(model, tensors, origin)
    hollow = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if tensor.is_meta]
    if hollow:
        raise CheckpointError(
            f"{origin} has no values for {hollow[:3]}", wanted=f"all tensors of {type(model).__name__}"
        )
    return model.eval()


def _take_over(model: nn.Module, tensors: dict[str, Tensor], origin: str) -> None:
    """Put tensors in the place of a model's own, the same one wherever a weight is tied."""
    named = model.state_dict(keep_vars=True)
    wanted = _agreed(model, tensors, origin)
    seen: set[int] = set()
    filled: dict[int, Tensor] = {}
    for name in wanted:
        old, new = named[name], _apart(tensors.pop(name).detach().to(named[name].dtype).contiguous(), seen)
        filled[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
    for owner in model.modules():
        for name, tensor in (*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)):
            if id(tensor) in filled:
                setattr(owner, name, filled[id(tensor)])


def _apart(tensor: Tensor, seen: set[int]) -> Tensor:
    """The tensor, or a copy when its memory is another's too: two weights of a model are tied by it alone."""
    place = tensor.untyped_storage().data_ptr()
    result = tensor.clone() if place in seen else tensor
    seen.add(place)
    return result


def _agreed(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> list[str]:
    """Names of the module's weights, once the tensors are found to be exactly them.

    Raises: CheckpointError when a key is missing or unexpected, or a shape or the kind of number differs.
    """
    named = module.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(named.items())}
    wanted = [name for name, tensor in named.items() if first[id(tensor)] == name]
    missing, unexpected = sorted(set(wanted) - tensors.keys()), sorted(tensors.keys() - set(wanted))
    if missing or unexpected:
        raise CheckpointError(
            f"{origin}: {len(missing)} missing keys {missing[:3]}, {len(unexpected)} others {unexpected[:3]}",
            wanted=f"exactly the {len(wanted)} weights of {type(module).__name__}",
        )
    for name in wanted:
        if named[name].shape != tensors[name].shape:
            raise CheckpointError(
                f"{origin}: {name} has shape {tuple(tensors[name].shape)}",
                wanted=str(tuple(named[name].shape)),
            )
        if named[name].is_floating_point() != tensors[name].is_floating_point():
            raise CheckpointError(
                f"{origin}: {name} holds {tensors[name].dtype}", wanted=str(named[name].dtype)
            )
    return wanted


def narrowed(tensor: Tensor, dtype: Precision) -> Tensor:
    """A floating tensor in a storage precision; others as they are.

    Raises: CheckpointError when a value does not fit.
    """
    if not tensor.is_floating_point():
        return tensor
    result = tensor.to(_DTYPES[dtype])
    if not torch.equal(result.isfinite(), tensor.isfinite()):
        raise CheckpointError(
            f"a weight of {float(tensor[tensor.isfinite()].abs().max()):.3g} does not fit {dtype}",
            wanted="weights within its range, 65504 for fp16",
            hint="--dtype bf16 or --dtype fp32",
        )
    return result
