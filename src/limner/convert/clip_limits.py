"""What each format of CLIP can hold, and whether the JSON beside a file belongs to it."""

from collections.abc import Mapping
from typing import Any, Final

from limner.convert.clip_json import HF_JSON, HF_LEGACY_EOS, OPEN_CLIP_JSON, hf_json, open_clip_json
from limner.convert.fields import table
from limner.errors import CheckpointError
from limner.models.clip import CLIPConfig
from limner.models.clip_resnet import CLIPResNetConfig
from limner.models.vit_config import ViTConfig

_OPEN_CLIP_PARTS: Final = {
    "vision_cfg": ("layers", "width", "patch_size"),
    "text_cfg": ("layers", "width", "heads", "context_length", "vocab_size"),
}
_HF_SIZES: Final = ("hidden_size", "intermediate_size", "num_hidden_layers")
_HF_PARTS: Final = {
    "vision_config": (*_HF_SIZES, "patch_size"),
    "text_config": (*_HF_SIZES, "vocab_size", "max_position_embeddings"),
}


def check_open_clip_json(config: CLIPConfig, given: Mapping[str, Any]) -> None:
    """Raise CheckpointError when open_clip_config.json tells other sizes than the tensors."""
    model = table(given, "model_cfg", OPEN_CLIP_JSON)
    _agree(open_clip_json(config), model, _OPEN_CLIP_PARTS, OPEN_CLIP_JSON)


def check_hf_json(config: CLIPConfig, given: Mapping[str, Any]) -> None:
    """Raise CheckpointError when transformers' config.json tells other sizes than the tensors."""
    parts = {part: given.get(f"{part}_dict") or given.get(part) for part in _HF_PARTS}
    _agree(hf_json(config), parts, _HF_PARTS, HF_JSON)


def _agree(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], parts: Mapping[str, tuple[str, ...]], origin: str
) -> None:
    for part, fields in parts.items():
        said = table(theirs, part, origin)
        for field in fields:
            if said.get(field) is not None and said[field] != ours[part][field]:
                raise CheckpointError(
                    f"{origin}: {part}.{field} is {said[field]}, the tensors have {ours[part][field]}",
                    wanted="the JSON of the same model",
                )


def check_hf(config: CLIPConfig) -> None:
    """Raise CheckpointError when transformers' `CLIPModel` cannot be this model."""
    if isinstance(config.vision, CLIPResNetConfig):
        raise _cannot_hold(
            "transformers' CLIPModel has no ResNet tower", "a CLIP with a ViT", "--to open_clip"
        )
    check_plain_vit(config.vision, "transformers' CLIPModel")
    if config.text.eot_id == HF_LEGACY_EOS:
        raise _cannot_hold(
            "transformers takes an end-of-text id of 2 to mean the largest id", "any other eot_id"
        )


def check_open_clip(config: CLIPConfig) -> None:
    """Raise CheckpointError when open_clip's `CLIP` cannot be this model."""
    if isinstance(config.vision, CLIPResNetConfig):
        return
    check_plain_vit(config.vision, "open_clip's CLIP")
    if config.vision.activation != config.text.activation:
        given = f"vision {config.vision.activation}, text {config.text.activation}"
        raise _cannot_hold(
            f"open_clip gives both towers one activation, here are two: {given}", "one for both"
        )


def check_openai(config: CLIPConfig) -> None:
    """Raise CheckpointError when OpenAI's format, which stores neither heads nor activation, cannot."""
    vision, text = config.vision, config.text
    wrong = {
        "text.activation is not quick_gelu": text.activation != "quick_gelu",
        "text.num_heads is not width / 64": text.num_heads * 64 != text.width,
        "text.mlp_dim is not 4 times the width": text.mlp_dim != 4 * text.width,
        "text.layer_norm_eps is not 1e-5": text.layer_norm_eps != 1e-5,
        "text.eot_id is given": text.eot_id is not None,
    }
    if isinstance(vision, ViTConfig):
        check_plain_vit(vision, "OpenAI's format")
        wrong |= {
            "vision.activation is not quick_gelu": vision.activation != "quick_gelu",
            "vision.num_heads is not width / 64": vision.num_heads * 64 != vision.width,
            "vision.mlp_dim is not 4 times the width": vision.mlp_dim != 4 * vision.width,
            "vision.layer_norm_eps is not 1e-5": vision.layer_norm_eps != 1e-5,
            "vision.image_size is no whole number of patches": vision.image_size % vision.patch_size != 0,
        }
    else:
        wrong |= {
            "vision.num_heads is not width / 2": 2 * vision.num_heads != vision.width,
            "vision.image_size is not a multiple of 32": vision.image_size % 32 != 0,
        }
    if any(wrong.values()):
        reason = next(words for words, is_so in wrong.items() if is_so)
        raise _cannot_hold(
            f"OpenAI's format stores shapes alone, and {reason}", "sizes it can tell", "--to open_clip"
        )


def check_plain_vit(vision: ViTConfig, library: str) -> None:
    """Raise CheckpointError when the vision tower has parts that no library's CLIP has."""
    free = {"image_size", "patch_size", "width", "depth", "num_heads", "mlp_dim", "activation"}
    free |= {"layer_norm_eps", "init_std", "drop_path", "dropout"}
    sizes = vision.model_dump()
    usual = ViTConfig.model_validate({**{k: sizes[k] for k in free}, "pre_norm": True, "patch_bias": False})
    strange = [key for key, value in usual.model_dump().items() if sizes[key] != value]
    if strange:
        key = strange[0]
        raise _cannot_hold(f"{library} has no vision.{key} {sizes[key]!r}", "a plain CLIP ViT")


def _cannot_hold(given: str, wanted: str, hint: str = "") -> CheckpointError:
    return CheckpointError(given, wanted=wanted, hint=hint)
