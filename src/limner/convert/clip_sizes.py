"""Sizes of a CLIP from the shapes of its tensors, and what no shape tells: activation, heads, epsilon."""

import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from torch import Tensor

from limner.errors import CheckpointError
from limner.models.clip import CLIPConfig
from limner.models.clip_variants import VARIANTS
from limner.models.layers import Activation
from limner.models.vit_config import ViTConfig

HEAD_WIDTH: Final = 64


class Names(NamedTuple):
    """Where one library keeps the tensors that tell sizes.

    Args:
        patch: weight of the patch projection.
        vision_positions: one row a token.
        vision_block: pattern of the blocks' keys, with the block's number.
        words: the token embedding.
        text_positions: one row a token.
        text_block: pattern of the blocks' keys, with the block's number.
        hidden: the first layer of the MLP, inside a block.
        embed: a tensor whose last axis, or first, is the joint space.
        embed_axis: which of them.
    """

    patch: str
    vision_positions: str
    vision_block: str
    words: str
    text_positions: str
    text_block: str
    hidden: str
    embed: str
    embed_axis: int


OPENAI: Final = Names(
    "visual.conv1.weight",
    "visual.positional_embedding",
    "visual.transformer.resblocks.{}.",
    "token_embedding.weight",
    "positional_embedding",
    "transformer.resblocks.{}.",
    "mlp.c_fc.weight",
    "text_projection",
    1,
)
CUSTOM_TEXT: Final = OPENAI._replace(
    words="text.token_embedding.weight",
    text_positions="text.positional_embedding",
    text_block="text.transformer.resblocks.{}.",
    embed="text.text_projection",
)
HF: Final = Names(
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.embeddings.position_embedding.weight",
    "vision_model.encoder.layers.{}.",
    "text_model.embeddings.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight",
    "text_model.encoder.layers.{}.",
    "mlp.fc1.weight",
    "text_projection.weight",
    0,
)


class Style(NamedTuple):
    """What shapes do not tell.

    Args:
        vision_activation: of a ViT.
        text_activation: of the text tower.
        vision_heads: of a ViT's attention or a ResNet's attention pool; None: not said.
        text_heads: of the text tower; None: not said.
        image_size: pixels; None: as many as the patches cover.
        vision_eps: of a ViT's layer norms.
        text_eps: of the text tower's layer norms.
        eot_id: where a text is read; see `CLIPTextConfig`.
    """

    vision_activation: Activation
    text_activation: Activation
    vision_heads: int | None = None
    text_heads: int | None = None
    image_size: int | None = None
    vision_eps: float = 1e-5
    text_eps: float = 1e-5
    eot_id: int | None = None


def plain(activation: Activation) -> Style:
    """The style of a file with nothing beside it: both towers alike, everything else as OpenAI has it."""
    return Style(activation, activation)


def config_from(tensors: Mapping[str, Tensor], names: Names, style: Style, origin: PurePath) -> CLIPConfig:
    """Put shapes and style together.

    Args:
        tensors: of the file.
        names: where they are.
        style: what shapes do not tell.
        origin: the file, for messages.
    Raises: CheckpointError when a tensor that tells a size is not there, or sizes do not fit together.
    """
    embed_dim = _shape(tensors, names.embed, origin)[names.embed_axis]
    vocab_size, text_width = _shape(tensors, names.words, origin)
    text = {
        "vocab_size": vocab_size,
        "context_length": _shape(tensors, names.text_positions, origin)[0],
        "width": text_width,
        **_stack(tensors, names.text_block, names.hidden, origin),
        "num_heads": style.text_heads or text_width // HEAD_WIDTH,
        "activation": style.text_activation,
        "layer_norm_eps": style.text_eps,
        "eot_id": style.eot_id,
    }
    read = _resnet if is_resnet(tensors) else _vit
    vision = read(tensors, names, style, origin)
    if is_resnet(tensors):
        vision["embed_dim"] = embed_dim
    try:
        return CLIPConfig.model_validate({"vision": vision, "text": text, "embed_dim": embed_dim})
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckpointError(
            f"{origin}: sizes do not fit: {'.'.join(str(p) for p in first['loc'])}: {first['msg']}",
            wanted="a CLIP whose tensors, and the JSON beside it, belong together",
        ) from error


def is_resnet(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the vision tower is the modified ResNet, in OpenAI's keys."""
    return "visual.attnpool.positional_embedding" in tensors


def assumed_heads(config: CLIPConfig, style: Style) -> tuple[str, ...]:
    """A sentence when the heads of a ViT were neither said by its file nor known from a published size."""
    vision = config.vision
    if (
        style.vision_heads
        or not isinstance(vision, ViTConfig)
        or _published_heads(vision.width, vision.depth)
    ):
        return ()
    return (f"Heads are taken to be {HEAD_WIDTH} wide: nothing beside the file says otherwise.",)


def _published_heads(width: int, depth: int) -> int | None:
    """H, g, bigG and e have wider heads than the rest, and their tensors do not show it."""
    towers = (line.config.vision for line in VARIANTS.values() if isinstance(line.config, CLIPConfig))
    heads = {t.num_heads for t in towers if isinstance(t, ViTConfig) and (t.width, t.depth) == (width, depth)}
    return heads.pop() if len(heads) == 1 else None


def _vit(tensors: Mapping[str, Tensor], names: Names, style: Style, origin: PurePath) -> dict[str, Any]:
    width, _, patch_size, _ = _shape(tensors, names.patch, origin, axes=4)
    stack = _stack(tensors, names.vision_block, names.hidden, origin)
    grid = _square(_shape(tensors, names.vision_positions, origin)[0] - 1, names.vision_positions, origin)
    return {
        "image_size": style.image_size or grid * patch_size,
        "patch_size": patch_size,
        "width": width,
        **stack,
        "num_heads": style.vision_heads or _published_heads(width, stack["depth"]) or width // HEAD_WIDTH,
        "activation": style.vision_activation,
        "pre_norm": True,
        "patch_bias": False,
        "layer_norm_eps": style.vision_eps,
    }


def _resnet(tensors: Mapping[str, Tensor], names: Names, style: Style, origin: PurePath) -> dict[str, Any]:
    key = "visual.attnpool.positional_embedding"
    cells, channels = _shape(tensors, key, origin)
    return {
        "depths": tuple(_depth(tensors, f"visual.layer{n}.{{}}.", origin) for n in (1, 2, 3, 4)),
        "width": _shape(tensors, "visual.layer1.0.conv1.weight", origin, axes=4)[0],
        "image_size": style.image_size or 32 * _square(cells - 1, key, origin),
        "num_heads": style.vision_heads or channels // HEAD_WIDTH,
    }


def _stack(tensors: Mapping[str, Tensor], block: str, hidden: str, origin: PurePath) -> dict[str, int]:
    depth = _depth(tensors, block, origin)
    return {"depth": depth, "mlp_dim": _shape(tensors, block.format(0) + hidden, origin)[0]}


def _depth(tensors: Mapping[str, Tensor], block: str, origin: PurePath) -> int:
    before, after = (re.escape(part) for part in block.split("{}"))
    found = {int(match[1]) for key in tensors if (match := re.match(rf"{before}(\d+){after}", key))}
    if not found or found != set(range(len(found))):
        raise _incomplete(block.format("0 …"), origin)
    return len(found)


def _shape(tensors: Mapping[str, Tensor], key: str, origin: PurePath, axes: int = 2) -> tuple[int, ...]:
    if key not in tensors or tensors[key].ndim != axes or 0 in tensors[key].shape:
        raise _incomplete(key, origin)
    return tuple(tensors[key].shape)


def _square(cells: int, key: str, origin: PurePath) -> int:
    side = math.isqrt(max(cells, 0))
    if side < 1 or side * side != cells:
        raise CheckpointError(
            f"{origin}: {key} has {cells} + 1 rows", wanted="a square of patches and one more"
        )
    return side


def _incomplete(key: str, origin: PurePath) -> CheckpointError:
    return CheckpointError(
        f"{origin}: {key} is not there, or has no shape that a CLIP gives it",
        wanted="a whole CLIP, both towers",
        hint="limner inspect FILE lists its keys",
    )
