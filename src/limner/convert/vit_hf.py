"""transformers' ViT and DeiT: the classes that save them, and the names on disk and in memory.

The keys tell the class: a prefix `vit.` or `deit.` where there is a classifier, none where the bare model was
saved. transformers 5 keeps other names in memory than it writes to disk; a state dict that somebody saved by
hand has those. Only config.json knows the heads, the activation and the epsilon (1e-12 by default).
"""

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor

from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.fields import number, one_of, side, table
from limner.convert.keymap import KeyMap, Line, fused, renamed, same
from limner.convert.labels import id2label, labels_from
from limner.convert.preprocessing import GOOGLE_VIT, at_size, from_hf, to_hf
from limner.convert.vit_shapes import (
    count,
    grid_side,
    head_count,
    image_side,
    refuse_foreign_parts,
    shape_of,
    unwritable,
    vit_config,
)
from limner.errors import CheckpointError
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

_ACTIVATIONS: Final = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
_MODEL_TYPES: Final = ("vit", "deit", "vit_msn")
_TASK_CLASSES: Final = {
    ("", False): "ViTModel",
    ("", True): "DeiTModel",
    ("classifier", False): "ViTForImageClassification",
    ("teacher", True): "DeiTForImageClassificationWithTeacher",
}

Head = Literal["", "classifier", "teacher", "student"]
Kind = Literal["whole", "student", "headless"]


class _Names(NamedTuple):
    """Names inside a layer.

    Args:
        layers: key of the first half of a layer, up to its number.
        qkv: keys of queries, keys and values.
        out: key of the attention's output.
        fc1: key of the first linear layer.
        fc2: key of the second.
    """

    layers: str
    qkv: tuple[str, str, str]
    out: str
    fc1: str
    fc2: str


_DISK: Final = _Names(
    "encoder.layer",
    ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_MEMORY: Final = _Names(
    "layers",
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "attention.o_proj",
    "mlp.fc1",
    "mlp.fc2",
)


class _Layout(NamedTuple):
    """What the keys tell.

    Args:
        prefix: "vit.", "deit." or nothing, before every key of the encoder.
        head: "classifier" on the class token; "teacher" a second one on the distillation token; "student" a
            distillation token without a classifier of its own; "" none.
        distilled: there is a distillation token.
        names: inside a layer.
    """

    prefix: str
    head: Head
    distilled: bool
    names: _Names


def _layout_of(keys: Iterable[str]) -> _Layout | None:
    keys = set(keys)
    prefix = next(
        (
            start
            for start in ("", "vit.", "deit.")
            if f"{start}embeddings.patch_embeddings.projection.weight" in keys
        ),
        None,
    )
    if prefix is None:
        return None
    names = next(
        (names for names in (_DISK, _MEMORY) if f"{prefix}{names.layers}.0.{names.qkv[0]}.weight" in keys),
        None,
    )
    if names is None:
        return None
    distilled = f"{prefix}embeddings.distillation_token" in keys
    head: Head = "teacher" if "cls_classifier.weight" in keys else ""
    if "classifier.weight" in keys:
        head = "student" if distilled else "classifier"
    return _Layout(prefix, head, distilled, names)


def _layout(kind: Kind, distilled: bool, classifies: bool, names: _Names = _DISK) -> _Layout:
    """The layout that a class of transformers saves."""
    start = "deit." if distilled else "vit."
    if kind == "headless":
        return _Layout(start, "", distilled, names)
    if kind == "student":
        return _Layout(start, "student", distilled, names)
    head: Head = ("teacher" if distilled else "classifier") if classifies else ""
    return _Layout(start if head else "", head, distilled, names)


def _describe(weights: Weights) -> Description:
    layout = _layout_of(weights.tensors)
    assert layout is not None, "only files that a dialect of this module recognises are described"
    tensors, origin = weights.tensors, weights.path.name
    refuse_foreign_parts(tensors, origin)
    told = table(weights.sides, "config.json", origin)
    if told:
        one_of(told, "model_type", "vit", _MODEL_TYPES, "config.json")
        one_of(told, "pooler_act", "tanh", ("tanh",), "config.json")
    fields, notes = _sizes(weights, layout, told)
    grid = fields.pop("grid")
    size = side(told["image_size"], "image_size", "config.json") if told.get("image_size") else None
    fields["image_size"] = image_side(grid, fields["patch_size"], size, origin)
    config = vit_config(fields, origin)
    spec, more = _images(weights, told, config.image_size)
    task = "classification" if config.num_classes else "features"
    labels = labels_from(told, config.num_classes) if config.num_classes else ()
    return Description(config, spec, task, labels, notes=(*notes, *more))


def _sizes(weights: Weights, layout: _Layout, told: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    tensors, origin = weights.tensors, weights.path.name
    start = layout.prefix
    width, _, patch_size, _ = shape_of(
        tensors, f"{start}embeddings.patch_embeddings.projection.weight", 4, origin
    )
    positions = f"{start}embeddings.position_embeddings"
    layer = f"{start}{layout.names.layers}"
    head = {"classifier": "classifier", "student": "classifier", "teacher": "cls_classifier"}.get(layout.head)
    heads = told.get("num_attention_heads")
    notes: tuple[str, ...] = ()
    if heads is None:
        heads, notes = head_count(width, origin)
    if not told:
        silent = "No config.json lies beside the file: exact GELU and epsilon 1e-12 were assumed."
        notes = (*notes, silent)
    pooler = f"{start}pooler.dense.bias"
    kept = pooler in tensors and not layout.head and not layout.distilled
    if pooler in tensors and not kept:
        notes = (*notes, "The pooler is left out: this model does not use it.")
    return {
        "grid": grid_side(
            shape_of(tensors, positions, 3, origin)[1], 1 + layout.distilled, positions, origin
        ),
        "patch_size": patch_size,
        "width": width,
        "depth": count(tensors, re.escape(layer) + r"\.(\d+)\.", origin),
        "num_heads": heads,
        "mlp_dim": shape_of(tensors, f"{layer}.0.{layout.names.fc1}.weight", 2, origin)[0],
        "num_classes": shape_of(tensors, f"{head}.weight", 2, origin)[0] if head else 0,
        "activation": _ACTIVATIONS[one_of(told, "hidden_act", "gelu", _ACTIVATIONS, "config.json")],
        "distilled": layout.distilled,
        "representation_dim": shape_of(tensors, pooler, 1, origin)[0] if kept else 0,
        "layer_norm_eps": number(told, "layer_norm_eps", 1e-12, "config.json"),
    }, notes


def _images(weights: Weights, told: Any, size: int) -> tuple[ImageSpec, tuple[str, ...]]:
    processor = weights.sides.get("preprocessor_config.json")
    if not processor:
        note = "No preprocessor_config.json lies beside the file: pictures are prepared as for Google's ViT."
        return at_size(GOOGLE_VIT, size), (note,)
    spec = from_hf(processor, str(told.get("model_type", "vit")))
    if spec.size != size:
        raise CheckpointError(
            f"{weights.path.name}: preprocessor_config.json makes pictures of {spec.size} pixels, "
            f"the model reads {size}",
            wanted="the same size in both",
        )
    return spec, ()


def _keymap(config: ViTConfig, kind: Kind = "whole", names: _Names = _DISK) -> KeyMap:
    layout = _layout(kind, config.distilled, config.num_classes > 0, names)
    start = layout.prefix
    lines: list[Line] = [
        same("cls_token", f"{start}embeddings.cls_token"),
        same("pos_embed", f"{start}embeddings.position_embeddings"),
        *renamed("patch_embed.proj", f"{start}embeddings.patch_embeddings.projection"),
        *renamed("norm", f"{start}layernorm"),
    ]
    if config.distilled:
        lines.append(same("dist_token", f"{start}embeddings.distillation_token"))
    for index in range(config.depth):
        lines += _layer_lines(f"blocks.{index}", f"{start}{names.layers}.{index}", names)
    if config.representation_dim:
        lines += renamed("pre_logits.fc", f"{start}pooler.dense")
    fills: dict[str, Tensor] = {}
    if layout.head == "student":
        lines += [_doubled(f"head.{end}", f"classifier.{end}") for end in ("weight", "bias")]
        fills = {
            "head_dist.weight": torch.zeros(config.num_classes, config.width),
            "head_dist.bias": torch.zeros(config.num_classes),
        }
    elif layout.head == "teacher":
        lines += [*renamed("head", "cls_classifier"), *renamed("head_dist", "distillation_classifier")]
    elif layout.head:
        lines += renamed("head", "classifier")
    droppable = [re.escape(start) + r"embeddings\.mask_token"]
    if not config.representation_dim:
        droppable.append(re.escape(start) + r"pooler\.dense\.(weight|bias)")
    return KeyMap(tuple(lines), tuple(droppable), fills)


def _layer_lines(ours: str, theirs: str, names: _Names) -> list[Line]:
    return [
        *renamed(f"{ours}.norm1", f"{theirs}.layernorm_before"),
        *(
            fused(f"{ours}.attn.qkv.{end}", [f"{theirs}.{name}.{end}" for name in names.qkv])
            for end in ("weight", "bias")
        ),
        *renamed(f"{ours}.attn.proj", f"{theirs}.{names.out}"),
        *renamed(f"{ours}.norm2", f"{theirs}.layernorm_after"),
        *renamed(f"{ours}.mlp.fc1", f"{theirs}.{names.fc1}"),
        *renamed(f"{ours}.mlp.fc2", f"{theirs}.{names.fc2}"),
    ]


def _doubled(ours: str, theirs: str) -> Line:
    """The one classifier of a DeiT that averages two: twice its value beside zeros, which is exact."""

    def read(t: Sequence[Tensor]) -> Tensor:
        return t[0] * 2

    return Line(ours, (theirs,), read, lambda t: (t / 2,))


def _checks(config: ViTConfig) -> None:
    for wrong, what in (
        (
            config.position != "1d" or config.position_at != "stem",
            "positions but a vector a token, added once",
        ),
        (not config.class_token or config.pool != "token", f"pooling {config.pool!r}"),
        (config.pre_norm, "norm before the blocks"),
        (not config.patch_bias, "patches without a bias"),
        (config.stem or config.bit_stem is not None, "stem before the patches"),
        (config.representation_dim and config.num_classes, "pooler before a classifier"),
    ):
        if wrong:
            raise unwritable("transformers' ViT", what)


def _companions(config: ViTConfig, description: Description) -> dict[str, Any]:
    head = _layout("whole", config.distilled, config.num_classes > 0).head
    labels = description.labels or tuple(f"LABEL_{index}" for index in range(config.num_classes))
    activation = {"gelu_tanh": "gelu_pytorch_tanh"}.get(config.activation, config.activation)
    written = {
        "architectures": [_TASK_CLASSES[head, config.distilled]],
        "model_type": "deit" if config.distilled else "vit",
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_dim,
        "hidden_act": activation,
        "layer_norm_eps": config.layer_norm_eps,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_channels": 3,
        "qkv_bias": True,
        "pooler_output_size": config.representation_dim or config.width,
        "pooler_act": "tanh",
        **id2label(labels),
    }
    return {"config.json": written, "preprocessor_config.json": to_hf(description.image_spec)}


def _dialect(name: str, kind: Kind, names: _Names) -> Dialect:
    def recognises(weights: Weights) -> bool:
        found = _layout_of(weights.tensors)
        return found is not None and found == _layout(kind, found.distilled, bool(found.head), names)

    return Dialect(name, "vit", recognises, _describe, partial(_keymap, kind=kind, names=names))


DIALECTS: Final = (
    _dialect("hf", "whole", _DISK)._replace(companions=_companions, checks=_checks),
    _dialect("hf_memory", "whole", _MEMORY),
    _dialect("hf_student", "student", _DISK),
    _dialect("hf_student_memory", "student", _MEMORY),
    _dialect("hf_headless", "headless", _DISK),
)
