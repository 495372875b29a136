"""What is done block by block: activations made again instead of kept, and compilation of what repeats.

A block is a residual block of a ResNet, a transformer block, or an attention or MLP of BLIP's text towers.
Names of parameters stay as they are.

Source: Chen et al. 2016 (arXiv 1604.06174) for activations that are made again.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from limner.models import bert, bit, clip_resnet, layers, resnet
from limner.train.steps.task import statistics_kept

BLOCKS = (
    layers.Block,
    resnet.BasicBlock,
    resnet.Bottleneck,
    clip_resnet.AntialiasedBottleneck,
    bit.BitBottleneck,
    bert.SelfAttention,
    bert.CrossAttention,
    bert.MLP,
)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model, each once."""
    return [module for module in model.modules() if isinstance(module, BLOCKS)]


def recompute(model: nn.Module) -> None:
    """Keep a block's input alone; what is inside it is made again for the gradient, with the same dropout."""
    for block in blocks(model):
        block.forward = partial(_again, block, block.forward)


def _again(block: nn.Module, forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    if not block.training:
        return forward(*inputs, **named)
    return checkpoint(
        forward,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), statistics_kept(block)),
        **named,
    )


def compile_blocks(model: nn.Module) -> None:
    """Compile what repeats, which takes seconds where a whole model takes minutes; shapes may vary."""
    for block in blocks(model):
        block.compile(dynamic=None)
