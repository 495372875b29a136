"""The JSON beside a CLIP, read and written: open_clip's open_clip_config.json, transformers' config.json."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from limner.convert.clip_sizes import Style
from limner.convert.fields import number, table
from limner.errors import CheckpointError
from limner.models.clip import CLIPConfig
from limner.models.clip_resnet import CLIPResNetConfig
from limner.models.layers import Activation
from limner.models.vit_config import ViTConfig

OPEN_CLIP_JSON: Final = "open_clip_config.json"
HF_JSON: Final = "config.json"

_HF_ACTIVATIONS: Final[dict[str, Activation]] = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}
HF_LEGACY_EOS: Final = 2

# Fields of open_clip that a plain CLIP may carry with any value: they size it, or matter in training alone.
_SIZES: Final = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "patch_dropout"}
_SIZES_TEXT: Final = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "pad_id"}
_ANY: Final = {"act_kwargs", "norm_kwargs", "output_tokens", "block_type", "pool_type", "eos_id"}
_ANY_TOKENIZER: Final = {"hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"}
_NEUTRAL: Final = {
    "proj_type": "linear",
    "pos_embed_type": "learnable",
    "attn_pooler_queries": 256,
    "attn_pooler_heads": 8,
    "hf_proj_type": "mlp",
    "hf_pooler_type": "mean_pooler",
    "hf_model_pretrained": True,
    "timm_pool": "avg",
    "timm_proj": "linear",
}


def open_clip_style(config: Mapping[str, Any]) -> Style:
    """What open_clip_config.json says that shapes do not.

    Args:
        config: parsed JSON.
    Raises: CheckpointError that names a field limner's CLIP cannot follow.
    """
    model = table(config, "model_cfg", OPEN_CLIP_JSON)
    vision, text = (table(model, f"{part}_cfg", OPEN_CLIP_JSON) for part in ("vision", "text"))
    if not vision or not text:
        raise CheckpointError(
            f"{OPEN_CLIP_JSON} has no model_cfg with vision_cfg and text_cfg",
            wanted="the JSON that open_clip writes beside its weights",
        )
    _refuse_strange("vision_cfg", vision, _SIZES | _ANY)
    _refuse_strange("text_cfg", text, _SIZES_TEXT | _ANY | _ANY_TOKENIZER)
    _word("vision_cfg.pool_type", vision.get("pool_type") or "tok", ("tok",), OPEN_CLIP_JSON)
    pool = text.get("pool_type") or "argmax"
    _word("text_cfg.pool_type", pool, ("argmax", "eos"), OPEN_CLIP_JSON)
    _refuse_foreign_tokenizer(text)
    quick = bool(model.get("quick_gelu", False))
    width = _whole(vision, "width", 768, OPEN_CLIP_JSON)
    head_width = _whole(vision, "head_width", 64, OPEN_CLIP_JSON)
    channels = 32 * width if isinstance(vision.get("layers"), (list, tuple)) else width
    return Style(
        vision_activation=_open_clip_activation("vision_cfg", vision, quick),
        text_activation=_open_clip_activation("text_cfg", text, quick),
        vision_heads=channels // max(1, head_width),
        text_heads=_whole(text, "heads", 8, OPEN_CLIP_JSON),
        image_size=_side(vision.get("image_size", 224)),
        vision_eps=number(table(vision, "norm_kwargs", OPEN_CLIP_JSON), "eps", 1e-5, OPEN_CLIP_JSON),
        text_eps=number(table(text, "norm_kwargs", OPEN_CLIP_JSON), "eps", 1e-5, OPEN_CLIP_JSON),
        eot_id=_whole(text, "eos_id", 2, OPEN_CLIP_JSON) if pool == "eos" else None,
    )


def open_clip_json(config: CLIPConfig) -> dict[str, Any]:
    """The `model_cfg` of these sizes; open_clip builds the same model from it."""
    text = config.text
    written: dict[str, Any] = {
        "context_length": text.context_length,
        "vocab_size": text.vocab_size,
        "width": text.width,
        "heads": text.num_heads,
        "layers": text.depth,
        "mlp_ratio": _ratio(text.width, text.mlp_dim),
        **_open_clip_options(text.activation, text.layer_norm_eps),
    }
    if text.eot_id is not None:
        written |= {"pool_type": "eos", "eos_id": text.eot_id}
    return {
        "embed_dim": config.embed_dim,
        "quick_gelu": text.activation == "quick_gelu",
        "vision_cfg": _open_clip_vision(config.vision),
        "text_cfg": written,
    }


def hf_style(config: Mapping[str, Any]) -> Style:
    """What transformers' config.json says that shapes do not, with the defaults of its `CLIPConfig`.

    Args:
        config: parsed JSON.
    Raises: CheckpointError when it is no CLIP's, or asks for an activation limner has not.
    """
    if config.get("model_type", "clip") != "clip":
        raise CheckpointError(
            f"{HF_JSON}: model_type is {config['model_type']!r}, but the tensors are named as a CLIP's",
            wanted='model_type "clip"',
        )
    text, vision = (_hf_tower(config, part) for part in ("text", "vision"))
    eos = _whole(text, "eos_token_id", 49407, HF_JSON)
    largest = _whole(text, "vocab_size", 49408, HF_JSON) - 1
    return Style(
        vision_activation=_hf_activation(vision),
        text_activation=_hf_activation(text),
        vision_heads=_whole(vision, "num_attention_heads", 12, HF_JSON),
        text_heads=_whole(text, "num_attention_heads", 8, HF_JSON),
        image_size=_side(vision.get("image_size", 224)),
        vision_eps=number(vision, "layer_norm_eps", 1e-5, HF_JSON),
        text_eps=number(text, "layer_norm_eps", 1e-5, HF_JSON),
        eot_id=None if eos in (HF_LEGACY_EOS, largest) else eos,
    )


def hf_json(config: CLIPConfig) -> dict[str, Any]:
    """The config.json that `CLIPModel.from_pretrained` opens. The sizes passed `check_hf`."""
    text, vision = config.text, config.vision
    assert isinstance(vision, ViTConfig)
    eos = text.eot_id
    if (
        eos is None
    ):  # both read at the largest id: the end of text in CLIP's own vocabulary, argmax in any other
        eos = 49407 if text.vocab_size == 49408 else HF_LEGACY_EOS
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": config.embed_dim,
        "logit_scale_init_value": 2.6592,
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": text.vocab_size,
            "max_position_embeddings": text.context_length,
            "bos_token_id": max(text.vocab_size - 2, 0),
            "eos_token_id": eos,
            **_hf_sizes(text, config.embed_dim),
        },
        "vision_config": {
            "model_type": "clip_vision_model",
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            **_hf_sizes(vision, config.embed_dim),
        },
    }


def _side(value: Any) -> int:
    sides = value if isinstance(value, (list, tuple)) else [value]
    if not sides or len(set(map(str, sides))) > 1 or not isinstance(sides[0], int):
        raise CheckpointError(f"image_size is {value!r}", wanted="a square, in whole pixels")
    return int(sides[0])


def _whole(fields: Mapping[str, Any], field: str, default: int, origin: str) -> int:
    value = fields.get(field)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise CheckpointError(f"{origin}: {field} is {value!r}", wanted=f"{field}: a whole number")
    return value


def _word(field: str, value: object, allowed: Iterable[str], origin: str) -> None:
    if value not in tuple(allowed):
        raise CheckpointError(
            f"{origin}: {field} is {value!r}, which limner's CLIP does not have", wanted=" or ".join(allowed)
        )


def _refuse_strange(part: str, fields: Mapping[str, Any], known: set[str]) -> None:
    for field, value in fields.items():
        if field not in known and value not in (None, False, 0, "", _NEUTRAL.get(field)):
            raise CheckpointError(
                f"{OPEN_CLIP_JSON}: {part}.{field} is {value!r}, which limner's CLIP does not have",
                wanted="a plain CLIP: a ViT or the modified ResNet, and CLIP's own text tower",
            )


def _refuse_foreign_tokenizer(text: Mapping[str, Any]) -> None:
    name = text.get("hf_tokenizer_name")
    if name and text.get("vocab_size", 49408) != 49408:
        raise CheckpointError(
            f"{OPEN_CLIP_JSON}: its texts are split by {name}, which limner does not have",
            wanted="CLIP's own vocabulary of 49,408 tokens",
        )


def _open_clip_activation(part: str, fields: Mapping[str, Any], quick: bool) -> Activation:
    options = dict(table(fields, "act_kwargs", OPEN_CLIP_JSON))
    if quick and not options:
        return "quick_gelu"
    approximate = options.pop("approximate", "none")
    if quick or options or approximate not in ("none", "tanh"):
        raise CheckpointError(
            f"{OPEN_CLIP_JSON}: {part}.act_kwargs is {fields['act_kwargs']!r}",
            wanted='nothing, or {"approximate": "tanh"} without quick_gelu',
        )
    return "gelu_tanh" if approximate == "tanh" else "gelu"


def _open_clip_options(activation: Activation, eps: float) -> dict[str, Any]:
    options: dict[str, Any] = {"act_kwargs": {"approximate": "tanh"}} if activation == "gelu_tanh" else {}
    return options | ({"norm_kwargs": {"eps": eps}} if eps != 1e-5 else {})


def _open_clip_vision(vision: ViTConfig | CLIPResNetConfig) -> dict[str, Any]:
    if isinstance(vision, CLIPResNetConfig):
        return {
            "image_size": vision.image_size,
            "layers": list(vision.depths),
            "width": vision.width,
            "head_width": vision.map_channels // vision.num_heads,
            "patch_size": None,
        }
    return {
        "image_size": vision.image_size,
        "layers": vision.depth,
        "width": vision.width,
        "head_width": vision.width // vision.num_heads,
        "mlp_ratio": _ratio(vision.width, vision.mlp_dim),
        "patch_size": vision.patch_size,
        **_open_clip_options(vision.activation, vision.layer_norm_eps),
    }


def _ratio(width: int, mlp_dim: int) -> float:
    """The ratio whose product with the width open_clip rounds down to exactly the hidden width."""
    ratio = mlp_dim / width
    return ratio if int(width * ratio) == mlp_dim else (mlp_dim + 0.5) / width


def _hf_tower(config: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """Old files say a tower twice; transformers lets the second, with its own defaults, win."""
    twice = config.get(f"{part}_config_dict")
    return table(config, f"{part}_config_dict" if twice is not None else f"{part}_config", HF_JSON)


def _hf_activation(tower: Mapping[str, Any]) -> Activation:
    word = tower.get("hidden_act") or "quick_gelu"
    _word("hidden_act", word, _HF_ACTIVATIONS, HF_JSON)
    return _HF_ACTIVATIONS[word]


def _hf_sizes(tower: Any, embed_dim: int) -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in reversed(_HF_ACTIVATIONS.items())}
    return {
        "hidden_size": tower.width,
        "intermediate_size": tower.mlp_dim,
        "num_hidden_layers": tower.depth,
        "num_attention_heads": tower.num_heads,
        "hidden_act": names[tower.activation],
        "layer_norm_eps": tower.layer_norm_eps,
        "projection_dim": embed_dim,
    }
