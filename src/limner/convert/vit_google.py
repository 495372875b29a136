"""Google's ViTs and hybrids, as Flax saved them in .npz: the paper's repository, AugReg, and big_vision.

The arrays are transposed, queries, keys and values lie apart with their heads, and the model is not quite the
one others run under the same name: GELU is the tanh form, and hybrids standardise with an epsilon outside the
root. The prefixes `opt/target/` and `params/` are off the keys when they come here.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import torch
from torch import Tensor

from limner.convert.augreg import AugReg, augreg
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.keymap import KeyMap, Line, same, transposed
from limner.convert.preprocessing import GOOGLE_VIT, GOOGLE_VIT_NOTE, at_size
from limner.convert.vit_shapes import (
    count,
    grid_side,
    known_labels,
    refuse_foreign_parts,
    shape_of,
    vit_config,
)
from limner.errors import CheckpointError
from limner.models.vit import ViTConfig

_QKV: Final = ("query", "key", "value")


class _Layout(NamedTuple):
    """How the keys are numbered.

    Args:
        attention: number behind MultiHeadDotProductAttention.
        mlp: number behind MlpBlock.
        norm2: number behind the second LayerNorm.
        positions: key of the position embedding.
        stacked: one array holds a tensor of all blocks.
        unit: name of a residual unit, given its number from 1.
    """

    attention: int = 1
    mlp: int = 3
    norm2: int = 2
    positions: str = "Transformer/posembed_input/pos_embedding"
    stacked: bool = False
    unit: str = "unit{}"


_FLAX: Final = _Layout()
_PADDED: Final = _Layout(unit="unit{:02d}")
_BIG_VISION: Final = _Layout(0, 0, 1, "pos_embedding")
_STACKED: Final = _Layout(0, 0, 1, "pos_embedding", stacked=True)


def _layout_of(tensors: Mapping[str, Tensor]) -> _Layout | None:
    if "embedding/kernel" not in tensors:
        return None
    if "Transformer/encoderblock/LayerNorm_0/scale" in tensors:
        return _STACKED
    if "Transformer/encoderblock_0/LayerNorm_0/scale" not in tensors:
        return None
    if "Transformer/encoderblock_0/MlpBlock_0/Dense_0/kernel" in tensors:
        return _BIG_VISION
    return _PADDED if any(re.match(r"block1/unit0\d/", key) for key in tensors) else _FLAX


def _block(layout: _Layout, number: int) -> str:
    return "Transformer/encoderblock" + ("" if layout.stacked else f"_{number}")


def _describe(weights: Weights, layout: _Layout) -> Description:
    tensors, origin = weights.tensors, weights.path.name
    refuse_foreign_parts(tensors, origin)
    config = vit_config(_sizes(weights, layout), origin)
    labels, named = known_labels((), config.num_classes)
    told = augreg(weights.path.name)
    spec = at_size(GOOGLE_VIT, config.image_size)
    task = "classification" if config.num_classes else "features"
    return Description(
        config, spec, task, labels, notes=(GOOGLE_VIT_NOTE, *named, *_said(told, config.image_size))
    )


def _sizes(weights: Weights, layout: _Layout) -> dict[str, object]:
    tensors, origin = weights.tensors, weights.path.name
    side, _, channels, width = shape_of(tensors, "embedding/kernel", 4, origin)
    stem = _stem(tensors, layout, origin)
    if stem is None and channels != 3:
        raise CheckpointError(f"{origin}: patches of {channels} channels", wanted="patches of RGB pixels")
    patch_size = side * (1 if stem is None else 4 * 2 ** max(len(stem) - 1, 0))
    if layout.positions not in tensors:
        raise CheckpointError(
            f"{origin}: no {layout.positions}: its positions are sines, which limner's ViT does not have",
            wanted="learned positions",
        )
    tokens = shape_of(tensors, layout.positions, 3, origin)[1]
    attention = f"{_block(layout, 0)}/MultiHeadDotProductAttention_{layout.attention}/query/kernel"
    heads = shape_of(tensors, attention, 3 + layout.stacked, origin)[-2]
    hidden = f"{_block(layout, 0)}/MlpBlock_{layout.mlp}/Dense_0/bias"
    norm = f"{_block(layout, 0)}/LayerNorm_0/scale"
    return {
        "image_size": patch_size * grid_side(tokens, "cls" in tensors, layout.positions, origin),
        "patch_size": patch_size,
        "width": width,
        "depth": shape_of(tensors, norm, 2, origin)[0]
        if layout.stacked
        else count(tensors, r"Transformer/encoderblock_(\d+)/", origin),
        "num_heads": heads,
        "mlp_dim": shape_of(tensors, hidden, 1 + layout.stacked, origin)[-1],
        "num_classes": shape_of(tensors, "head/bias", 1, origin)[0] if "head/bias" in tensors else 0,
        "activation": "gelu_tanh",
        "class_token": "cls" in tensors,
        "pool": "token" if "cls" in tensors else "gap",
        "representation_dim": len(tensors["pre_logits/bias"]) if "pre_logits/bias" in tensors else 0,
        "bit_stem": stem,
        "bit_width": shape_of(tensors, "conv_root/kernel", 4, origin)[-1] if stem is not None else 64,
        "bit_epsilon": "outside",
        "layer_norm_eps": 1e-6,
    }


def _stem(tensors: Mapping[str, Tensor], layout: _Layout, origin: str) -> tuple[int, ...] | None:
    if "conv_root/kernel" not in tensors:
        return None
    stages = len({match[1] for key in tensors if (match := re.match(r"block(\d+)/", key))})
    return tuple(
        len({match[1] for key in tensors if (match := re.match(rf"block{stage + 1}/unit(\d+)/", key))})
        for stage in range(stages)
    )


def _said(told: AugReg | None, image_size: int) -> tuple[str, ...]:
    if told is None:
        return ()
    told_so = f"trained {told.epochs} epochs on {told.data} with augmentation {told.augmentation}"
    if told.tuned_on:
        told_so += f", then {told.steps} steps on {told.tuned_on} at {told.resolution} pixels"
    if told.resolution != image_size:
        told_so += f"; but its positions are of {image_size} pixels, and those are believed"
    return (f"The file name says: {told_so}.",)


def _keymap(config: ViTConfig, layout: _Layout) -> KeyMap:
    lines = [
        _kernel("patch_embed.proj.weight", "embedding/kernel"),
        same("patch_embed.proj.bias", "embedding/bias"),
    ]
    if config.class_token:
        lines.append(same("cls_token", "cls"))
    lines.append(same("pos_embed", layout.positions))
    if config.bit_stem is not None:
        lines += _stem_lines(config, layout)
    for number in range(config.depth):
        block = _block_lines(config, layout, number)
        lines += [_picked(line, number) for line in block] if layout.stacked else block
    lines += _norm("norm", "Transformer/encoder_norm")
    if config.representation_dim:
        lines += _dense("pre_logits.fc", "pre_logits")
    if config.num_classes:
        lines += _dense("head", "head")
    return KeyMap(tuple(lines))


def _block_lines(config: ViTConfig, layout: _Layout, number: int) -> list[Line]:
    ours, theirs = f"blocks.{number}", _block(layout, number)
    attention = f"{theirs}/MultiHeadDotProductAttention_{layout.attention}"
    mlp = f"{theirs}/MlpBlock_{layout.mlp}"
    width, heads = config.width, config.num_heads
    return [
        *_norm(f"{ours}.norm1", f"{theirs}/LayerNorm_0"),
        _qkv_kernel(f"{ours}.attn.qkv.weight", attention, (width, heads, width // heads)),
        _qkv_bias(f"{ours}.attn.qkv.bias", attention, (heads, width // heads)),
        _out_kernel(f"{ours}.attn.proj.weight", f"{attention}/out/kernel", (heads, width // heads, width)),
        same(f"{ours}.attn.proj.bias", f"{attention}/out/bias"),
        *_norm(f"{ours}.norm2", f"{theirs}/LayerNorm_{layout.norm2}"),
        *_dense(f"{ours}.mlp.fc1", f"{mlp}/Dense_0"),
        *_dense(f"{ours}.mlp.fc2", f"{mlp}/Dense_1"),
    ]


def _stem_lines(config: ViTConfig, layout: _Layout) -> list[Line]:
    start = "patch_embed.backbone."
    depths = config.bit_stem or ()
    root = start + ("stem." if depths else "")
    lines = [_kernel(f"{root}conv.weight", "conv_root/kernel"), *_group_norm(f"{root}norm", "gn_root")]
    for stage, depth in enumerate(depths):
        for unit in range(depth):
            ours = f"{start}stages.{stage}.blocks.{unit}"
            theirs = f"block{stage + 1}/{layout.unit.format(unit + 1)}"
            for part in (1, 2, 3):
                lines.append(_kernel(f"{ours}.conv{part}.weight", f"{theirs}/conv{part}/kernel"))
                lines += _group_norm(f"{ours}.norm{part}", f"{theirs}/gn{part}")
            if unit == 0:
                lines.append(_kernel(f"{ours}.downsample.conv.weight", f"{theirs}/conv_proj/kernel"))
                lines += _group_norm(f"{ours}.downsample.norm", f"{theirs}/gn_proj")
    return lines


def _kernel(ours: str, theirs: str) -> Line:
    """A convolution: rows, columns, in, out there; out, in, rows, columns here."""
    return Line(
        ours,
        (theirs,),
        lambda t: t[0].permute(3, 2, 0, 1).contiguous(),
        lambda t: (t.permute(2, 3, 1, 0).contiguous(),),
    )


def _dense(ours: str, theirs: str) -> list[Line]:
    return [transposed(f"{ours}.weight", f"{theirs}/kernel"), same(f"{ours}.bias", f"{theirs}/bias")]


def _norm(ours: str, theirs: str) -> list[Line]:
    return [same(f"{ours}.weight", f"{theirs}/scale"), same(f"{ours}.bias", f"{theirs}/bias")]


def _group_norm(ours: str, theirs: str) -> list[Line]:
    """Stored over a whole map, (1, 1, 1, channels)."""
    return [
        Line(
            f"{ours}.{end}",
            (f"{theirs}/{name}",),
            lambda t: t[0].reshape(-1),
            lambda t: (t.view(1, 1, 1, -1),),
        )
        for end, name in (("weight", "scale"), ("bias", "bias"))
    ]


def _qkv_kernel(ours: str, attention: str, shape: tuple[int, int, int]) -> Line:
    def read(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.flatten(1).T for part in parts])

    def write(whole: Tensor) -> Sequence[Tensor]:
        return [part.T.reshape(shape).contiguous() for part in whole.chunk(3)]

    return Line(ours, tuple(f"{attention}/{name}/kernel" for name in _QKV), read, write)


def _qkv_bias(ours: str, attention: str, shape: tuple[int, int]) -> Line:
    def read(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.reshape(-1) for part in parts])

    def write(whole: Tensor) -> Sequence[Tensor]:
        return [part.reshape(shape).contiguous() for part in whole.chunk(3)]

    return Line(ours, tuple(f"{attention}/{name}/bias" for name in _QKV), read, write)


def _out_kernel(ours: str, theirs: str, shape: tuple[int, int, int]) -> Line:
    return Line(
        ours,
        (theirs,),
        lambda t: t[0].flatten(0, 1).T.contiguous(),
        lambda t: (t.T.reshape(shape).contiguous(),),
    )


def _picked(line: Line, number: int) -> Line:
    """The line's tensor of one block, out of arrays that hold all blocks."""

    def read(stacks: Sequence[Tensor]) -> Tensor:
        return line.read([stack[number] for stack in stacks]).clone()

    def write(whole: Tensor) -> Sequence[Tensor]:
        raise CheckpointError("limner does not write stacked big_vision files", wanted="another format")

    return line._replace(read=read, write=write)


def _dialect(name: str, layout: _Layout) -> Dialect:
    return Dialect(
        name,
        "vit",
        lambda weights: _layout_of(weights.tensors) == layout,
        partial(_describe, layout=layout),
        partial(_keymap, layout=layout),
    )


DIALECTS: Final = (
    _dialect("google", _FLAX),
    _dialect("google_padded", _PADDED),
    _dialect("big_vision", _BIG_VISION),
    _dialect("big_vision_stacked", _STACKED),
)
