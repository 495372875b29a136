"""The processes of a run: which of them this one is, and what they tell each other.

Everything here is the plain thing when there is one process, so that losses and the loop are written once.
Gradients are averaged over ranks by the loop; a loss that is a mean over the ranks' samples is therefore what
each rank returns for its own.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), section 2.5, for similarities sharded over ranks.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor

_ALONE: list[bool] = []
"""One entry a block of `alone`."""

_PATIENCE = timedelta(hours=4)
"""How long a rank waits for the others: an evaluation on one of them takes its time."""


def size() -> int:
    """How many processes share each batch; 1 outside `joined`, and within `alone`."""
    if _ALONE or not (dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size()


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def local_rank() -> int:
    """Which of those on this machine, as `torchrun` says."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def joined(device: str = "auto") -> Iterator[None]:
    """Be one of the processes that `torchrun` started; nothing where it did not, or they are joined already.

    Args:
        device: "cpu" talks by gloo; with CUDA tensors go by NCCL.
    """
    wanted = int(os.environ.get("WORLD_SIZE", "1"))
    if wanted == 1 or dist.is_initialized():
        yield
        return
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank())
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Be one process for a while: what one rank measures is not the others' business."""
    _ALONE.append(True)
    try:
        yield
    finally:
        _ALONE.pop()


def wait() -> None:
    """Until every rank is here."""
    if size() > 1:
        dist.barrier()


def agreed(value: int) -> int:
    """The largest of the ranks' values, the same on all."""
    if size() == 1:
        return value
    told = torch.tensor([value])
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return int(told)


def told(value: Any) -> Any:
    """What rank 0 has, on every rank; plain values only."""
    if size() == 1:
        return value
    text = json.dumps(value if rank() == 0 else None).encode()
    length = agreed(len(text) if rank() == 0 else 0)
    buffer = torch.zeros(length, dtype=torch.uint8)
    if rank() == 0:
        buffer = torch.frombuffer(bytearray(text), dtype=torch.uint8).clone()
    dist.broadcast(buffer, 0)
    return json.loads(bytes(buffer.tolist()))


@torch.no_grad()
def mean(values: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """The mean over ranks of each value."""
    if size() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / size()


def mean_of(total: Float[Tensor, ""], count: Tensor | int) -> Float[Tensor, ""]:
    """A mean over what all ranks have counted, as the share this rank returns.

    Args:
        total: sum over this rank's tokens, pairs or rows.
        count: of them.
    Returns: what averaged over ranks is the mean over all; the sum itself, times 0, where nobody has any.
    """
    everybody = torch.as_tensor(count, dtype=torch.float32, device=total.device).detach()
    if size() > 1:
        everybody = everybody.clone()
        dist.all_reduce(everybody)
    return total * (size() / everybody.clamp(min=1.0))


def gathered(x: Shaped[Tensor, "b ..."]) -> Shaped[Tensor, "n ..."]:
    """The rows of all ranks in their order; gradients flow back to the rank that brought a row.

    Args:
        x: of one shape on all ranks; see `padded` for texts.
    """
    if size() == 1:
        return x
    if x.dtype.is_floating_point and torch.is_grad_enabled():
        everywhere: Tensor = _Gather.apply(x)
        return everywhere
    return _all(x)


def padded(ids: Shaped[Tensor, "b t"], value: int | bool = 0) -> Shaped[Tensor, "b u"]:
    """Texts as wide as the widest of any rank, so that they can be `gathered`.

    Args:
        ids: padded on the right.
        value: of the padding.
    """
    longest = agreed(ids.shape[1])
    return torch.nn.functional.pad(ids, (0, longest - ids.shape[1]), value=value)


def own(x: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "b ..."]:
    """This rank's rows of what was `gathered`."""
    return x.chunk(size())[rank()]


def _all(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x) for _ in range(size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """All-gather; backwards, each rank sums what all ranks ask of its rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _all(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        asked = grads[0].contiguous().clone()
        dist.all_reduce(asked)
        return own(asked).contiguous()
