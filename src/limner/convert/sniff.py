"""Tells checkpoints apart: which library wrote a file, and which of the four families it holds."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from limner.convert import blip, clip, resnet, vit
from limner.convert.dialect import Description, Dialect, Weights
from limner.errors import CheckpointError

DIALECTS: Final[tuple[Dialect, ...]] = (
    *resnet.DIALECTS,
    *vit.DIALECTS,
    *clip.DIALECTS,
    *blip.DIALECTS,
)
"""All that limner reads. At most one of them recognises a file."""


class Stranger(NamedTuple):
    """What a file that no dialect recognises may be.

    Args:
        pattern: found in one of its keys.
        looks: what it is.
        hint: what to do.
    """

    pattern: str
    looks: str
    hint: str


_WHOLE: Final = "open the whole model's file; a part of it cannot be told from its keys"
_NONE: Final = "limner opens ResNets, ViTs, CLIPs and BLIPs: docs/checkpoints.md lists them"
_STRANGERS: Final = tuple(
    Stranger(*row)
    for row in (
        (r"lora_[AB]|lora_(up|down)", "a LoRA adapter", "merge it into its model first, and open the result"),
        (r"[Qq]former|query_tokens", "a BLIP-2 or InstructBLIP", _NONE),
        (r"logit_bias", "a SigLIP", _NONE),
        (r"^(exp_avg|state\.\d|optimizer)", "the state of an optimiser", "open the weights beside it"),
        (
            r"^(model\.)?diffusion_model|^down_blocks|quant_conv",
            "a diffusion model or its autoencoder",
            _NONE,
        ),
        (r"model\.layers\.\d+\.self_attn|lm_head\.weight|^transformer\.h\.\d", "a language model", _NONE),
        (
            r"relative_position_(bias|index)|\.w_msa|layers\.\d+\.blocks\.\d+\.norm",
            "a Swin transformer",
            _NONE,
        ),
        (r"blocks\.\d+\.(ls1|ls2|gamma_1)|layer_scale", "a ViT with layer scale (DINOv2, BEiT, CaiT)", _NONE),
        (r"^(stages|features|blocks)\.\d+\.\d+\.", "a convolutional network of another family", _NONE),
        (r"bert\.encoder\.layer|roberta\.", "a text encoder alone", _NONE),
        (r"^text_model\.", "a part of transformers' CLIP", _WHOLE),
        (r"^vision_model\.", "a part of transformers' CLIP or BLIP", _WHOLE),
        (r"^visual\.|^transformer\.resblocks", "a part of a CLIP, or a CLIP with other towers", _WHOLE),
        (r"^visual_encoder\.|^text_(en|de)coder\.", "a part of a BLIP", _WHOLE),
        (r"^(vit|encoder|blocks|cls_token|pos_embed|patch_embed)", "a part of a ViT, or a kin of it", _WHOLE),
        (r"^layer\d\.\d+\.|^conv1\.|^resnet\.", "a part of a ResNet, or a kin of it", _WHOLE),
    )
)
_SHOWN: Final = 6


def sniff(weights: Weights, dialects: Iterable[Dialect] = DIALECTS) -> tuple[Dialect, Description]:
    """Tell what a checkpoint is.

    Args:
        weights: as read.
        dialects: those to ask.
    Returns: the one dialect that recognises it, and what that finds out.
    Raises: CheckpointError when none does, with what it looks like; when two do; when sizes cannot be told.
    """
    found = [dialect for dialect in dialects if dialect.recognises(weights)]
    if not found:
        raise stranger(weights)
    if len(found) > 1:
        both = " and ".join(f"{dialect.name} {dialect.architecture}" for dialect in found)
        raise CheckpointError(
            f"{weights.path} is taken for {both}",
            wanted="one of them: this is a mistake of limner's",
            hint="report it, with the output of limner inspect --json",
        )
    return found[0], found[0].describe(weights)


def stranger(weights: Weights) -> CheckpointError:
    """What to say of a file that no dialect recognises."""
    keys = list(weights.tensors)
    shown = ", ".join(key[:80] for key in keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
    like = next((s for s in _STRANGERS if any(re.search(s.pattern, key) for key in keys)), None)
    kind = str((weights.sides.get("config.json") or {}).get("model_type") or "")
    looks = f"looks like {like.looks}" if like else "is like nothing that limner knows"
    said = f"; its config.json calls it {kind!r}" if kind else ""
    return CheckpointError(
        f"{weights.path} {looks}{said}; its {len(keys)} keys begin with {shown}",
        wanted="a ResNet, a ViT, a CLIP or a BLIP in a layout that limner reads",
        hint=like.hint if like else _NONE,
    )
