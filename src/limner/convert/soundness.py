"""Whether weights look like those of a trained model: finite, alive, tied where they must be."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import nn

from limner.checkpoint import Bundle
from limner.convert.check import Check
from limner.models import ARCHITECTURES, architecture_of

_AGAIN = "the file is damaged or was never filled: fetch it again"


def weight_checks(bundle: Bundle) -> Iterator[Check]:
    """Check every tensor of a model.

    Args:
        bundle: the model.
    """
    tensors = bundle.model.state_dict()
    broken = [name for name, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]
    yield _none("finite weights", broken, _AGAIN)
    tables = {name: t for name, t in tensors.items() if t.ndim > 1 and t.numel() > 1}
    dead = [name for name, tensor in tables.items() if not tensor.any()]
    yield _none("no matrix of zeros", dead, "nothing was learnt there, or it was lost: is this a fresh head?")
    flat = [name for name, t in tables.items() if name not in dead and bool((t == t.flatten()[0]).all())]
    yield _none("no matrix of one number", flat, _AGAIN)
    variances = [name for name, t in tensors.items() if name.endswith("running_var") and bool((t < 0).any())]
    if any(name.endswith("running_var") for name in tensors):
        yield _none("no variance below zero", variances, _AGAIN)
    yield from _ties(bundle.model)


def _none(name: str, found: list[str], hint: str) -> Check:
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return Check(name, "none", (", ".join(found[:3]) + more) or "none", not found, hint)


def _ties(model: nn.Module) -> Iterator[Check]:
    with torch.device("meta"):
        fresh = ARCHITECTURES[architecture_of(model.config)].build(model.config)  # type: ignore[arg-type]
    wanted, found = _groups(fresh), _groups(model)
    hint = "weights that must be one have become two, or two one: open the file anew"
    if wanted or found:
        yield Check("tied weights", f"{len(wanted)}", f"{len(found)}", wanted == found, hint)


def _groups(model: nn.Module) -> set[tuple[str, ...]]:
    """Names that share one tensor."""
    by_tensor: defaultdict[int, list[str]] = defaultdict(list)
    for name, tensor in model.state_dict(keep_vars=True).items():
        by_tensor[id(tensor)].append(name)
    return {tuple(names) for names in by_tensor.values() if len(names) > 1}
