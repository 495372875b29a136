"""The text towers of BLIP in the words of BERT, which the released code and transformers both use.

One table serves both: query, key and value are apart there and one projection here, as are key and value of
cross-attention. Also what both files tell by their shapes alone.
"""

from collections.abc import Mapping, Sequence
from math import isqrt

import torch
from torch import Tensor

from limner.convert.keymap import Line, fused, renamed
from limner.errors import CheckpointError
from limner.models.bert import PARTS, BertConfig
from limner.models.vit_config import ViTConfig

HEAD_WIDTH = 64
"""Width of one attention head in all released BLIPs; files do not say it."""

_ENDS = ("weight", "bias")


def tower(depth: int, parts: Sequence[str] = PARTS) -> list[Line]:
    """Lines of some parts of a `Bert` of so many layers, without prefixes."""
    lines: list[Line] = []
    for part in parts:
        lines += _embeddings() if part == "embeddings" else []
        for layer in range(depth if part != "embeddings" else 0):
            lines += _LAYERS[part](layer)
    return lines


def _embeddings() -> list[Line]:
    words = renamed("embeddings.words", "embeddings.word_embeddings", ("weight",))
    positions = renamed("embeddings.positions", "embeddings.position_embeddings", ("weight",))
    return [*words, *positions, *renamed("embeddings.norm", "embeddings.LayerNorm")]


def _self_attention(layer: int) -> list[Line]:
    ours, theirs = f"self_attention.{layer}", f"encoder.layer.{layer}.attention"
    return [
        *_joined(f"{ours}.qkv", f"{theirs}.self", ("query", "key", "value")),
        *renamed(f"{ours}.out", f"{theirs}.output.dense"),
        *renamed(f"{ours}.norm", f"{theirs}.output.LayerNorm"),
    ]


def _cross_attention(layer: int) -> list[Line]:
    ours, theirs = f"cross_attention.{layer}", f"encoder.layer.{layer}.crossattention"
    return [
        *renamed(f"{ours}.query", f"{theirs}.self.query"),
        *_joined(f"{ours}.kv", f"{theirs}.self", ("key", "value")),
        *renamed(f"{ours}.out", f"{theirs}.output.dense"),
        *renamed(f"{ours}.norm", f"{theirs}.output.LayerNorm"),
    ]


def _mlp(layer: int) -> list[Line]:
    ours, theirs = f"mlp.{layer}", f"encoder.layer.{layer}"
    return [
        *renamed(f"{ours}.fc1", f"{theirs}.intermediate.dense"),
        *renamed(f"{ours}.fc2", f"{theirs}.output.dense"),
        *renamed(f"{ours}.norm", f"{theirs}.output.LayerNorm"),
    ]


_LAYERS = {"self_attention": _self_attention, "cross_attention": _cross_attention, "mlp": _mlp}


def twin_cross_attention(depth: int, average_layers: int) -> list[Line]:
    """Lines of NLVR2's cross-attentions to two pictures, without prefixes."""
    lines: list[Line] = []
    for layer in range(depth):
        ours, theirs = f"cross_attention.{layer}", f"encoder.layer.{layer}.crossattention"
        for side in (0, 1):
            lines += renamed(f"{ours}.query{side}", f"{theirs}.self{side}.query")
            lines += _joined(f"{ours}.kv{side}", f"{theirs}.self{side}", ("key", "value"))
            lines += renamed(f"{ours}.out{side}", f"{theirs}.output.dense{side}")
        if layer >= average_layers:
            lines += renamed(f"{ours}.merge", f"{theirs}.output.merge_layer")
        lines += renamed(f"{ours}.norm", f"{theirs}.output.LayerNorm")
    return lines


def _joined(ours: str, theirs: str, parts: Sequence[str]) -> list[Line]:
    return [fused(f"{ours}.{end}", [f"{theirs}.{part}.{end}" for part in parts]) for end in _ENDS]


def lm_head(theirs: str) -> list[Line]:
    """Lines of the prediction head but its bias; its last matrix is the word embedding."""
    return [
        *renamed("lm_head.dense", f"{theirs}.transform.dense"),
        *renamed("lm_head.norm", f"{theirs}.transform.LayerNorm"),
    ]


def shared(line: Line, others: Sequence[str]) -> Line:
    """A line whose tensor the file holds several times; reading makes sure that they are the same.

    Args:
        line: with the keys that count.
        others: the same keys under other names; a whole number of times as many.
    """
    keys = (*line.theirs, *others)
    size = len(line.theirs)

    def read(tensors: Sequence[Tensor]) -> Tensor:
        for place in range(size, len(keys)):
            expect_twins(keys[place], tensors[place], keys[place % size], tensors[place % size])
        return line.read(tensors[:size])

    def write(tensor: Tensor) -> Sequence[Tensor]:
        parts = list(line.write(tensor))
        return [part.clone() if place >= size else part for place, part in _cycle(parts, len(keys))]

    return Line(line.ours, keys, read, write)


def _cycle(parts: Sequence[Tensor], count: int) -> list[tuple[int, Tensor]]:
    return [(place, parts[place % len(parts)]) for place in range(count)]


def expect_twins(key: str, tensor: Tensor, twin: str, other: Tensor) -> None:
    """Make sure that two tensors that a model ties are the same.

    Raises: CheckpointError that names both.
    """
    if not torch.equal(tensor, other):
        raise CheckpointError(
            f"{key} {tuple(tensor.shape)} is not {twin} {tuple(other.shape)}",
            wanted="equal tensors: the model holds one where the file has both names",
            hint="the file is damaged, or was trained with weights untied that BLIP ties",
        )


def vision_sizes(
    tensors: Mapping[str, Tensor], patches: str, positions: str, block: str, fc1: str
) -> dict[str, int]:
    """Sizes of a ViT by its shapes.

    Args:
        tensors: of the file.
        patches: key of the patch projection's weight.
        positions: key of the positions.
        block: prefix of the blocks, before their number.
        fc1: what follows that number in the weight of an MLP's first layer.
    Raises: CheckpointError when one is missing or the positions are no square grid.
    """
    width, _, patch_size, _ = shape(tensors, patches)
    cells = shape(tensors, positions)[1] - 1
    grid = isqrt(cells)
    if grid * grid != cells:
        raise CheckpointError(f"{positions} has {cells} patches", wanted="a square grid and one class token")
    return {
        "image_size": grid * patch_size,
        "patch_size": patch_size,
        "width": width,
        "depth": layers(tensors, block),
        "num_heads": heads_of(width),
        "mlp_dim": shape(tensors, f"{block}0.{fc1}")[0],
    }


def text_sizes(tensors: Mapping[str, Tensor], prefix: str, memory_key: str) -> dict[str, int]:
    """Sizes of a text tower by its shapes.

    Args:
        tensors: of the file.
        prefix: of the tower.
        memory_key: a weight of layer 0 whose second axis is what cross-attention reads.
    Raises: CheckpointError when one is missing.
    """
    vocab_size, width = shape(tensors, f"{prefix}embeddings.word_embeddings.weight")
    return {
        "vocab_size": vocab_size,
        "width": width,
        "depth": layers(tensors, f"{prefix}encoder.layer."),
        "num_heads": heads_of(width),
        "mlp_dim": shape(tensors, f"{prefix}encoder.layer.0.intermediate.dense.weight")[0],
        "max_positions": shape(tensors, f"{prefix}embeddings.position_embeddings.weight")[0],
        "memory_width": shape(tensors, f"{prefix}encoder.layer.0.{memory_key}")[1],
    }


def shape(tensors: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    """Shape of a tensor of the file.

    Raises: CheckpointError when it is not there.
    """
    if key not in tensors:
        raise CheckpointError(f"no {key} in this file", wanted="a whole BLIP")
    return tuple(tensors[key].shape)


def layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Layers under a prefix that ends before their number."""
    return len({key[len(prefix) :].split(".", 1)[0] for key in tensors if key.startswith(prefix)})


def heads_of(width: int) -> int:
    """Attention heads of a width; at least one."""
    return max(1, width // HEAD_WIDTH)


def refuse_other_vision(vision: ViTConfig, library: str, free: Sequence[str] = ()) -> None:
    """Make sure that an image encoder is the plain ViT that BLIP's formats hold.

    Args:
        vision: sizes.
        library: its name, for the message.
        free: fields that may have any value, besides sizes and what only training needs; "image_size" where
            the format can say one that patches do not cover.
    Raises: CheckpointError that names the first field which the format cannot say.
    """
    free = (*free, "drop_path", "dropout", "init_std")
    for name, field in ViTConfig.model_fields.items():
        value = getattr(vision, name)
        if not field.is_required() and name not in free and value != field.default:
            raise CheckpointError(
                f"vision.{name} is {value!r}, which {library}'s BLIP cannot be", wanted=repr(field.default)
            )
    if "image_size" not in free and vision.image_size % vision.patch_size:
        raise CheckpointError(
            f"vision.image_size {vision.image_size} is no multiple of patch_size {vision.patch_size}",
            wanted=f"{vision.grid_size * vision.patch_size}, which has the same patches",
        )


def refuse_other_text(text: BertConfig, library: str) -> None:
    """Make sure that a text tower's layer norms are BERT's, which files do not say.

    Raises: CheckpointError when they are not.
    """
    if text.layer_norm_eps != 1e-12:
        raise CheckpointError(
            f"text.layer_norm_eps is {text.layer_norm_eps}, which {library}'s files cannot say",
            wanted="1e-12",
        )
