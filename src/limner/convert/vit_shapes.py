"""Sizes of a ViT from the shapes of its tensors, and the parts of its relatives that limner does not hold."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from torch import Tensor

from limner.convert.labels import IMAGENET_1K
from limner.errors import CheckpointError
from limner.models.vit_config import ViTConfig

_HEADS_OF_WIDTH: Final = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
_FOREIGN_PARTS: Final = {
    r".*(\.ls[12]\.gamma|\.gamma_[12]|layer_scale[12]?(\.lambda1)?|\.lambda_[12])": "LayerScale",
    r".*(rel_pos|relative_position|rel_embed).*": "an attention with relative positions",
    r"(.*\.)?(reg_token|register_tokens?|storage_tokens)": "register tokens",
    r".*mlp\.(w12|w[123]|fc1_g|fc1_x|gate_proj|weights_(in|out)).*": "a gated MLP (SwiGLU)",
    r".*\.(q_norm|k_norm|query_norm|key_norm)\..*": "an attention that norms queries and keys",
    r".*(q_bias|v_bias)": "separate query and value biases (BEiT)",
    r".*(attn_pool|MAPHead_0|attention_pool).*": "attention pooling (SigLIP)",
    r".*rope.*": "rotary positions",
    r"(.*\.)?(decoder|decoder_blocks|decoder_embed|lm_head|cls\.predictions)\b.*": "a decoder",
    r"blocks_token_only\..*|.*class_attn.*": "class attention (CaiT)",
    r".*\.(attns|ffns)\.\d+\..*": "parallel branches in a block",
    r"(.*\.)?detection_tokens|(.*\.)?mid_position_embeddings": "detection tokens (YOLOS)",
}


def refuse_foreign_parts(keys: Iterable[str], origin: Path | str) -> None:
    """Raise CheckpointError when a key belongs to a part that limner's ViT does not have.

    Args:
        keys: of the file.
        origin: file name, for the message.
    """
    for key in sorted(keys):
        for pattern, part in _FOREIGN_PARTS.items():
            if re.fullmatch(pattern, key):
                raise CheckpointError(
                    f"{origin}: {key} is of {part}, which limner's ViT does not have",
                    wanted="a ViT of Dosovitskiy et al., a hybrid, or a DeiT",
                    hint="open it with the library that made it",
                )


def shape_of(tensors: Mapping[str, Tensor], key: str, axes: int, origin: Path | str) -> tuple[int, ...]:
    """Return a tensor's shape.

    Raises: CheckpointError when it is not there or has another number of axes.
    """
    if key not in tensors:
        raise CheckpointError(f"{origin}: {key} is missing", wanted="a whole checkpoint of a ViT")
    shape = tuple(tensors[key].shape)
    if len(shape) != axes or 0 in shape:
        raise CheckpointError(f"{origin}: {key} has the shape {shape}", wanted=f"{axes} axes")
    return shape


def count(keys: Iterable[str], pattern: str, origin: Path | str) -> int:
    """Count layers by the number in their keys.

    Args:
        keys: of the file.
        pattern: regular expression that matches the start of a key; its first group is the number.
        origin: file name, for the message.
    Raises: CheckpointError when a number is left out.
    """
    found = {int(match[1]) for key in keys if (match := re.match(pattern, key))}
    absent = next((number for number in range(len(found)) if number not in found), None)
    if absent is not None:
        raise CheckpointError(
            f"{origin}: layer {absent} is missing, layer {max(found)} is there", wanted="every layer"
        )
    return len(found)


def grid_side(tokens: int, prefix: int, key: str, origin: Path | str) -> int:
    """Patches along one side of the square that so many positions stand for.

    Raises: CheckpointError when they make no square.
    """
    side = math.isqrt(max(tokens - prefix, 0))
    if side == 0 or side * side != tokens - prefix:
        square = math.isqrt(tokens) ** 2 == tokens
        why = "positions of the patches alone (no_embed_class)" if square else "no square of patches"
        raise CheckpointError(
            f"{origin}: {key} has {tokens} positions and {prefix} tokens stand before the patches: {why}",
            wanted=f"{prefix} positions and a square number of them",
        )
    return side


def head_count(width: int, origin: Path | str) -> tuple[int, tuple[str, ...]]:
    """Heads that a ViT of this width is known to have: shapes do not tell.

    Returns: heads; a note when they were assumed from nothing but 64 channels a head.
    Raises: CheckpointError when 64 does not divide the width.
    """
    if width in _HEADS_OF_WIDTH:
        return _HEADS_OF_WIDTH[width], ()
    if width % 64:
        raise CheckpointError(
            f"{origin}: nothing says how many heads a ViT {width} wide has",
            wanted="num_heads in a config.json beside the file",
        )
    known = width in (192, 384, 768, 1024)
    return width // 64, () if known else (f"{width // 64} heads were assumed, 64 channels each.",)


def image_side(grid: int, patch_size: int, told: int | None, origin: Path | str, stride: int = 1) -> int:
    """Side of the input, pixels: what the JSON says, held against the positions; else whole patches.

    Args:
        grid: patches along one side, from the positions.
        patch_size: side of one patch, pixels.
        told: what the JSON says; None when it is silent.
        origin: file name, for the message.
        stride: of the stem before the patches; its map is rounded up.
    Raises: CheckpointError when JSON and positions disagree.
    """
    if told is not None and -(-told // stride) // (patch_size // stride) != grid:
        raise CheckpointError(
            f"{origin}: the JSON says pictures of {told} pixels, the positions are of "
            f"{grid} by {grid} patches of {patch_size}",
            wanted=f"pictures of {grid * patch_size} pixels",
        )
    return grid * patch_size if told is None else told


def vit_config(fields: dict[str, Any], origin: Path | str) -> ViTConfig:
    """Return the config of these sizes, or an error in words of the file."""
    try:
        return ViTConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{origin}: {field} {first['msg']}", wanted="sizes of a ViT") from error


def known_labels(labels: tuple[str, ...], num_classes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels that were found, or ImageNet's for 1000 classes nobody names; and a note of the second."""
    if labels or num_classes != len(IMAGENET_1K):
        return labels, ()
    return IMAGENET_1K, ("The 1000 classes were taken for ImageNet's, in their usual order.",)


def unwritable(library: str, what: str) -> CheckpointError:
    """Return the error for a model that a library's format cannot hold."""
    return CheckpointError(
        f"{library} has no {what}", wanted="a model it can hold", hint="keep it as a limner bundle"
    )
