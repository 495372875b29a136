"""transformers' BLIP: BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering.

Which class it is shows in the keys. config.json tells heads, layer norms and token ids; without it they are
what transformers takes by default, but for the text heads (below). BlipModel, and towers saved alone, are
refused with the reason; pre-trained BLIPs and NLVR2 have no class there.
Not the same as transformers: limner puts [ENC] and [DEC] in place of token 0 itself, there the caller does;
    `pooler_output`, which passes the last layer norm twice, is not kept.
Checked against: the three classes, numbers and generated texts; strict loading of what is written.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner.config import build
from limner.convert import preprocessing
from limner.convert.blip_text import (
    HEAD_WIDTH,
    expect_twins,
    lm_head,
    refuse_other_vision,
    shape,
    text_sizes,
    tower,
    vision_sizes,
)
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.fields import number, one_of, table
from limner.convert.keymap import KeyMap, Line, nested, renamed, same
from limner.errors import CheckpointError
from limner.models.bert import PARTS
from limner.models.blip import BLIPConfig, GroundedConfig
from limner.models.blip_nlvr2 import BLIPNLVR2Config
from limner.models.blip_vqa import BLIPVQAConfig
from limner.shapes import ImageSpec

_NAME = "transformers"
_JSON, _IMAGES = "config.json", "preprocessor_config.json"
_ENCODER, _DECODER, _PREDICTIONS = "text_encoder.", "text_decoder.bert.", "text_decoder.cls.predictions"
_VISION = "vision_model."
_WORDS = "embeddings.word_embeddings.weight"
_QKV = "encoder.layers.0.self_attn.qkv.weight"
_CROSS = "encoder.layer.0.crossattention.self.query.weight"
_DROPPED = (r"(.*\.)?embeddings\.position_ids", rf"{_PREDICTIONS}\.decoder\.(weight|bias)")
_REFUSED = {
    f"text_model.{_CROSS}": "BlipModel, whose projections of pooled states no released BLIP has trained",
    f"bert.{_CROSS}": "BlipTextLMHeadModel, a text tower without its image encoder",
    _CROSS: "BlipTextModel, a text tower without its image encoder",
    _QKV: "BlipVisionModel, an image encoder without its text tower",
}
_DEFAULT_HEADS = 8
"""What transformers takes when config.json does not name the text heads; every released BLIP has 12."""

_SILENT = (
    f"There is no {_JSON}: heads of {HEAD_WIDTH}, layer norms and token ids are those of released models."
)

_CLASSES = {
    "captioning": "BlipForConditionalGeneration",
    "retrieval": "BlipForImageTextRetrieval",
    "vqa": "BlipForQuestionAnswering",
}


def _is_vqa(weights: Weights) -> bool:
    keys = weights.tensors
    return all(key in keys for key in (_VISION + _QKV, _ENCODER + _CROSS, _DECODER + _CROSS))


def _is_blip(weights: Weights) -> bool:
    keys = weights.tensors
    if _VISION + _QKV not in keys:
        return any(key in keys for key in _REFUSED)
    texts = (_ENCODER + _CROSS, _DECODER + _CROSS, f"text_model.{_CROSS}")
    return any(key in keys for key in texts) and not _is_vqa(weights)


def _is_none(weights: Weights) -> bool:
    """No file of transformers holds NLVR2; its dialect only says why it cannot be written."""
    return False


def _describe_blip(weights: Weights) -> Description:
    tensors = weights.tensors
    for key, what in _REFUSED.items():
        if key in tensors:
            raise CheckpointError(
                f"{weights.path} is a {what}",
                wanted=" or ".join(_CLASSES.values()),
                hint="open the whole checkpoint it came from",
            )
    if "itm_head.weight" not in tensors:
        return _described(weights, {"heads": ("lm",)}, BLIPConfig, "captioning")
    values = {"heads": ("itc", "itm"), "embed_dim": shape(tensors, "vision_proj.weight")[0]}
    return _described(weights, values, BLIPConfig, "retrieval")


def _describe_vqa(weights: Weights) -> Description:
    return _described(weights, {}, BLIPVQAConfig, "vqa")


def _described(
    weights: Weights, values: dict[str, Any], schema: type[BLIPConfig | BLIPVQAConfig], task: str
) -> Description:
    tensors, origin = weights.tensors, f"{weights.path}: {_JSON}"
    fields = table(weights.sides, _JSON, str(weights.path))
    for name, twin in (("bias", f"{_PREDICTIONS}.bias"), ("weight", _DECODER + _WORDS)):
        key = f"{_PREDICTIONS}.decoder.{name}"
        if key in tensors and twin in tensors:
            expect_twins(key, tensors[key], twin, tensors[twin])
    text, notes = _text(tensors, table(fields, "text_config", origin), bool(fields), origin)
    values |= {"vision": _vision(tensors, table(fields, "vision_config", origin), origin), **text}
    config = build(values, schema, origin)
    size = config.vision.image_size
    image_spec = preprocessing.at_size(preprocessing.BLIP, size)
    if images := table(weights.sides, _IMAGES, str(weights.path)):
        image_spec = preprocessing.from_hf(images, "blip", f"{weights.path}: {_IMAGES}")
        if image_spec.size != size:
            notes = (*notes, f"{_IMAGES} says {image_spec.size} px, the positions are for {size} px: {size}.")
            image_spec = preprocessing.at_size(image_spec, size)
        if image_spec.crop == "squash":  # nothing is cut, so it does not matter where
            image_spec = image_spec.model_copy(update={"crop_offset": "round"})
    return Description(config, image_spec, task, tokenizer="bert", notes=notes)


def _vision(tensors: Mapping[str, Tensor], fields: Mapping[str, Any], origin: str) -> dict[str, Any]:
    sizes: dict[str, Any] = vision_sizes(
        tensors,
        f"{_VISION}embeddings.patch_embedding.weight",
        f"{_VISION}embeddings.position_embedding",
        f"{_VISION}encoder.layers.",
        "mlp.fc1.weight",
    )
    one_of(fields, "hidden_act", "gelu", ("gelu",), origin)
    told = _whole(fields, "image_size", sizes["image_size"], origin)
    if told // sizes["patch_size"] == sizes["image_size"] // sizes["patch_size"]:
        sizes["image_size"] = told  # with a margin that no patch covers
    sizes["num_heads"] = _whole(fields, "num_attention_heads", sizes["num_heads"], origin)
    sizes["layer_norm_eps"] = number(fields, "layer_norm_eps", 1e-5, origin)
    sizes["drop_path"] = 0.1 if sizes["depth"] >= 24 else 0.0
    return sizes


def _text(
    tensors: Mapping[str, Tensor], fields: Mapping[str, Any], told: bool, origin: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Sizes and token ids of the text, and what had to be assumed."""
    prefix = _ENCODER if _ENCODER + _WORDS in tensors else _DECODER
    sizes: dict[str, Any] = text_sizes(tensors, prefix, "crossattention.self.key.weight")
    one_of(fields, "hidden_act", "gelu", ("gelu",), origin)
    width, likely = sizes["width"], sizes["num_heads"]
    heads = _whole(fields, "num_attention_heads", _DEFAULT_HEADS if told else likely, origin)
    notes: tuple[str, ...] = () if told else (_SILENT,)
    if told and width == 768 and heads == _DEFAULT_HEADS:
        heads = likely
        notes = (
            f"{_JSON} says {_DEFAULT_HEADS} text heads, or nothing, which transformers takes for the same: a "
            f"fault of files from before April 2023. All released BLIPs have {likely}, so {likely} it is.",
        )
    dropout = number(fields, "hidden_dropout_prob", 0.0 if told else 0.1, origin)
    sizes |= {
        "num_heads": heads,
        "dropout": dropout,
        "layer_norm_eps": number(fields, "layer_norm_eps", 1e-12, origin),
    }
    dec_id = _whole(fields, "bos_token_id", sizes["vocab_size"] - 2, origin)
    ids = {
        "pad_id": _whole(fields, "pad_token_id", 0, origin),
        "cls_id": _whole(fields, "cls_token_id", 101, origin),
        "sep_id": _whole(fields, "sep_token_id", 102, origin),
        "dec_id": dec_id,
        "enc_id": _whole(fields, "enc_token_id", dec_id + 1, origin),
    }
    return {"text": sizes, **ids}, notes


def _whole(fields: Mapping[str, Any], field: str, default: int | float, origin: str) -> int | float:
    """A whole number of a JSON; another is left for the config to refuse."""
    value = number(fields, field, float(default), origin)
    return int(value) if value == int(value) else value


def _vision_lines(depth: int) -> list[Line]:
    names = {
        "norm1": "layer_norm1",
        "attn.qkv": "self_attn.qkv",
        "attn.proj": "self_attn.projection",
        "norm2": "layer_norm2",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    lines = [
        same("cls_token", "embeddings.class_embedding"),
        same("pos_embed", "embeddings.position_embedding"),
        *renamed("patch_embed.proj", "embeddings.patch_embedding"),
        *renamed("norm", "post_layernorm"),
    ]
    for layer in range(depth):
        for ours, theirs in names.items():
            lines += renamed(f"blocks.{layer}.{ours}", f"encoder.layers.{layer}.{theirs}")
    return nested(lines, "vision.", _VISION)


def _decoder(depth: int) -> list[Line]:
    return [
        *nested(tower(depth, PARTS), "text_decoder.", _DECODER),
        *lm_head(_PREDICTIONS),
        same("lm_head.bias", f"{_PREDICTIONS}.bias"),
    ]


def _keys_blip(config: BLIPConfig) -> KeyMap:
    lines = _vision_lines(config.vision.depth)
    if config.heads == ("lm",):
        return KeyMap((*lines, *_decoder(config.text.depth)), _DROPPED)
    lines += nested(tower(config.text.depth), _ENCODER, _ENCODER)
    for name in ("vision_proj", "text_proj", "itm_head"):
        lines += renamed(name, name)
    return KeyMap(tuple(lines), _DROPPED, {"temperature": torch.tensor(0.07)})


def _keys_vqa(config: BLIPVQAConfig) -> KeyMap:
    encoder = nested(tower(config.text.depth), _ENCODER, _ENCODER)
    lines = [*_vision_lines(config.vision.depth), *encoder, *_decoder(config.text.depth)]
    return KeyMap(tuple(lines), _DROPPED)


def _keys_none(config: BLIPNLVR2Config) -> KeyMap:
    return KeyMap(())


def _checks(config: GroundedConfig) -> None:
    """Raise CheckpointError when transformers has no class for such a model."""
    if isinstance(config, BLIPNLVR2Config):
        raise CheckpointError(
            "transformers has no class for NLVR2", wanted=" or ".join(_CLASSES.values()), hint=_FORMATS
        )
    if isinstance(config, BLIPConfig) and (
        config.heads not in (("lm",), ("itc", "itm")) or config.num_classes
    ):
        raise CheckpointError(
            f"transformers has no class for a BLIP with the heads {list(config.heads)}"
            + (" and a classifier" if config.num_classes else ""),
            wanted='["lm"] or ["itc", "itm"]',
            hint="limner.models.blip.with_heads(model, heads) cuts one out; " + _FORMATS,
        )
    if isinstance(config, BLIPVQAConfig) and config.vision.width != config.text.width:
        raise CheckpointError(
            f"an image width of {config.vision.width} and a text width of {config.text.width}",
            wanted="equal widths: transformers has one width for what question and answer read",
            hint=_FORMATS,
        )
    refuse_other_vision(config.vision, _NAME, free=("layer_norm_eps", "image_size"))


_FORMATS = "the salesforce format holds it"


def _sides(config: GroundedConfig, description: Description) -> dict[str, Any]:
    return {_JSON: to_json(config), _IMAGES: _images(description.image_spec)}


def _images(spec: ImageSpec) -> dict[str, Any]:
    return preprocessing.to_hf(spec, "BlipImageProcessor")


def to_json(config: GroundedConfig) -> dict[str, Any]:
    """Return transformers' config.json of a captioner, a retrieval model or a question answerer."""
    vision, text = config.vision, config.text
    task = "vqa" if not isinstance(config, BLIPConfig) else "captioning"
    if isinstance(config, BLIPConfig) and "itm" in config.heads:
        task = "retrieval"
    joint = config.embed_dim if isinstance(config, BLIPConfig) else 256
    return {
        "architectures": [_CLASSES[task]],
        "model_type": "blip",
        "image_text_hidden_size": joint,
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "blip_text_model",
            "vocab_size": text.vocab_size,
            "hidden_size": text.width,
            "encoder_hidden_size": text.memory_width,
            "intermediate_size": text.mlp_dim,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.num_heads,
            "max_position_embeddings": text.max_positions,
            "hidden_act": "gelu",
            "layer_norm_eps": text.layer_norm_eps,
            "hidden_dropout_prob": text.dropout,
            "attention_probs_dropout_prob": text.dropout,
            "bos_token_id": config.dec_id,
            "eos_token_id": config.sep_id,
            "sep_token_id": config.sep_id,
            "pad_token_id": config.pad_id,
            "cls_token_id": config.cls_id,
            "enc_token_id": config.enc_id,
        },
        "vision_config": {
            "model_type": "blip_vision_model",
            "hidden_size": vision.width,
            "intermediate_size": vision.mlp_dim,
            "num_hidden_layers": vision.depth,
            "num_attention_heads": vision.num_heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "hidden_act": "gelu",
            "layer_norm_eps": vision.layer_norm_eps,
        },
    }


DIALECTS: tuple[Dialect, ...] = (
    Dialect("hf", "blip", _is_blip, _describe_blip, _keys_blip, _sides, _checks),
    Dialect("hf", "blip_vqa", _is_vqa, _describe_vqa, _keys_vqa, _sides, _checks),
    Dialect("hf", "blip_nlvr2", _is_none, _describe_vqa, _keys_none, _sides, _checks),
)
