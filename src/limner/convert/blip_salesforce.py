"""The `.pth` files of BLIP's authors (salesforce/BLIP, and LAVIS, which has the same): read and written.

A file is {"model": state dict, …}. Which model it is shows in its keys, its sizes in its shapes;
preprocessing is the released evaluation's. Tensors that encoder and decoder share stand there under both
names: they must be equal. Momentum copies, queues and `position_ids` hold nothing of the model.
Checked against: the key lists and outputs of the released code.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from limner.config import Config, build
from limner.convert import preprocessing
from limner.convert.blip_text import (
    HEAD_WIDTH,
    layers,
    lm_head,
    refuse_other_text,
    refuse_other_vision,
    shape,
    shared,
    text_sizes,
    tower,
    twin_cross_attention,
    vision_sizes,
)
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.keymap import KeyMap, Line, nested, renamed, same
from limner.errors import CheckpointError
from limner.models.bert import PARTS, BertConfig
from limner.models.blip import DECODER_OWN, BLIPConfig, GroundedConfig, Head
from limner.models.blip_nlvr2 import BLIPNLVR2Config
from limner.models.blip_vqa import BLIPVQAConfig

TASKS: dict[tuple[Head, ...], str] = {
    ("lm",): "captioning",
    ("itc", "itm"): "retrieval",
    ("itc", "itm", "lm"): "pretraining",
}
"""What a BLIP with these heads is for; other sets of heads were never released."""

_NAME = "salesforce"
_ENCODER, _DECODER = "text_encoder.", "text_decoder.bert."
_PREDICTIONS = "text_decoder.cls.predictions"
_WORDS = "embeddings.word_embeddings.weight"
_TWIN = f"{_ENCODER}encoder.layer.0.crossattention.self0.query.weight"
_DROPPED = (
    r"(visual_encoder|vision_proj|text_encoder|text_proj)_m\..*",
    r"(image|text|idx)_queue|queue_ptr|ptr_queue",
    r".*\.embeddings\.position_ids",
)
_STALE_BIAS = (
    f"{_PREDICTIONS}.bias is of another vocabulary than {_PREDICTIONS}.decoder.bias, which the model uses; "
    "it was left behind when the vocabulary grew."
)


def _recognises(weights: Weights) -> bool:
    keys = weights.tensors
    return "visual_encoder.cls_token" in keys and (_ENCODER + _WORDS in keys or _DECODER + _WORDS in keys)


def _is_nlvr2(weights: Weights) -> bool:
    return _recognises(weights) and _TWIN in weights.tensors


def _is_vqa(weights: Weights) -> bool:
    keys = weights.tensors
    both = _ENCODER + _WORDS in keys and _DECODER + _WORDS in keys
    return _recognises(weights) and both and not {"itm_head.weight", "vision_proj.weight"} & keys.keys()


def _is_blip(weights: Weights) -> bool:
    return _recognises(weights) and not _is_nlvr2(weights) and not _is_vqa(weights)


def _sizes(tensors: Mapping[str, Tensor], drop_path: float, memory_key: str) -> dict[str, Any]:
    """What all three kinds have; heads and tokens as in the released ones."""
    vision = vision_sizes(
        tensors,
        "visual_encoder.patch_embed.proj.weight",
        "visual_encoder.pos_embed",
        "visual_encoder.blocks.",
        "mlp.fc1.weight",
    )
    text = text_sizes(tensors, _ENCODER if _ENCODER + _WORDS in tensors else _DECODER, memory_key)
    for name, width in (("image", vision["width"]), ("text", text["width"])):
        if width % HEAD_WIDTH:
            raise CheckpointError(
                f"the {name} width is {width}", wanted=f"a multiple of {HEAD_WIDTH}, the width of one head"
            )
    rate = 0.1 if vision["depth"] >= 24 else drop_path
    words = text["vocab_size"]
    return {
        "vision": {**vision, "drop_path": rate},
        "text": text,
        "dec_id": words - 2,
        "enc_id": words - 1,
    }


def _described(config: GroundedConfig, task: str, notes: tuple[str, ...] = ()) -> Description:
    image_spec = preprocessing.at_size(preprocessing.BLIP, config.vision.image_size)
    return Description(config, image_spec, task, tokenizer="bert", notes=notes)


def _bias_notes(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    old, used = (tensors.get(f"{_PREDICTIONS}.{name}") for name in ("bias", "decoder.bias"))
    return (_STALE_BIAS,) if old is not None and used is not None and old.shape != used.shape else ()


def _describe_blip(weights: Weights) -> Description:
    tensors = weights.tensors
    found = {"itc": "vision_proj.weight", "itm": "itm_head.weight", "lm": f"{_PREDICTIONS}.decoder.bias"}
    heads = tuple(head for head, key in found.items() if key in tensors)
    if heads not in TASKS:
        raise CheckpointError(
            f"{weights.path}: a BLIP with the heads {list(heads)}",
            wanted=" or ".join(str(list(known)) for known in TASKS),
            hint="the towers alone are a part of blip_base: open a pre-trained, captioning or ITM file",
        )
    values = _sizes(tensors, 0.0, "crossattention.self.key.weight") | {"heads": heads}
    if "itc" in heads:
        values["embed_dim"] = shape(tensors, "vision_proj.weight")[0]
    if heads == ("itc", "itm", "lm"):
        values["sharing"] = _sharing(tensors, values["text"]["depth"])
    config = build(values, BLIPConfig, str(weights.path))
    return _described(config, TASKS[config.heads], _bias_notes(tensors))


def _sharing(tensors: Mapping[str, Tensor], depth: int) -> str:
    """Tell which matrices are the same in encoder and decoder; `read` then checks norms and biases too."""
    own = tuple(part for part in PARTS if not _same_in_both(tensors, part, depth))
    for sharing, parts in DECODER_OWN.items():
        if parts == own:
            return sharing
    raise CheckpointError(
        f"encoder and decoder differ in {', '.join(own)}",
        wanted=" or ".join(", ".join(parts) or "nothing" for parts in DECODER_OWN.values()),
        hint="the file is damaged, or is no BLIP of Table 3",
    )


def _same_in_both(tensors: Mapping[str, Tensor], part: str, depth: int) -> bool:
    keys = [key for line in tower(depth, (part,)) for key in line.theirs]
    matrices = [key for key in keys if len(shape(tensors, _ENCODER + key)) > 1]
    same_there = [torch.equal(tensors[_ENCODER + key], tensors[_DECODER + key]) for key in matrices]
    if any(same_there) and not all(same_there):
        odd = matrices[same_there.index(False)]
        raise CheckpointError(
            f"{_ENCODER}{odd} is not {_DECODER}{odd}, but others of its kind are the same",
            wanted="all shared or none",
            hint="the file is damaged",
        )
    return all(same_there)


def _describe_vqa(weights: Weights) -> Description:
    values = _sizes(weights.tensors, 0.1, "crossattention.self.key.weight")
    config = build(values, BLIPVQAConfig, str(weights.path))
    return _described(config, "vqa", _bias_notes(weights.tensors))


def _describe_nlvr2(weights: Weights) -> Description:
    tensors = weights.tensors
    values = _sizes(tensors, 0.1, "crossattention.self0.key.weight")
    depth = layers(tensors, f"{_ENCODER}encoder.layer.")
    merged = sum(key.endswith("crossattention.output.merge_layer.weight") for key in tensors)
    values["merge_from"] = None if depth - merged == depth // 2 else depth - merged
    return _described(build(values, BLIPNLVR2Config, str(weights.path)), "nlvr2")


def _vision(depth: int) -> list[Line]:
    lines = [same("cls_token", "cls_token"), same("pos_embed", "pos_embed")]
    names = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    for name in ("patch_embed.proj", *(f"blocks.{i}.{name}" for i in range(depth) for name in names), "norm"):
        lines += renamed(name, name)
    return nested(lines, "vision.", "visual_encoder.")


def _head() -> list[Line]:
    return [*lm_head(_PREDICTIONS), _bias(same("lm_head.bias", f"{_PREDICTIONS}.decoder.bias"))]


def _bias(line: Line) -> Line:
    """The bias stands twice; only the decoder's counts where the other is of a smaller vocabulary."""
    both = shared(line, [f"{_PREDICTIONS}.bias"])

    def read(tensors: Any) -> Tensor:
        return both.read(tensors) if len({len(tensor) for tensor in tensors}) == 1 else line.read(tensors[:1])

    return both._replace(read=read)


def _decoder(depth: int, parts: Iterable[str], ours: str = "text_decoder.") -> list[Line]:
    """Lines of some parts of the decoder; its words are also the last matrix of the prediction head."""
    lines = nested(tower(depth, tuple(parts)), ours, _DECODER)
    return [
        shared(line, [f"{_PREDICTIONS}.decoder.weight"]) if line.theirs == (_DECODER + _WORDS,) else line
        for line in lines
    ]


def _with_decoder(depth: int, own: tuple[str, ...]) -> list[Line]:
    """Lines of an encoder and of a decoder that has only some parts for itself."""
    lines = _decoder(depth, [part for part in PARTS if part in own])
    for line in nested(tower(depth), _ENCODER, _ENCODER):
        if line.ours.split(".")[1] in own:
            lines.append(line)
            continue
        others = [_DECODER + key.removeprefix(_ENCODER) for key in line.theirs]
        words = [f"{_PREDICTIONS}.decoder.weight"] if line.theirs == (_ENCODER + _WORDS,) else []
        lines.append(shared(line, [*others, *words]))
    return lines


def _positions(text: BertConfig, *towers: str) -> dict[str, Tensor]:
    ids = torch.arange(text.max_positions)[None]
    return {f"{prefix}embeddings.position_ids": ids.clone() for prefix in towers}


def _keys_blip(config: BLIPConfig) -> KeyMap:
    depth, lines, towers = config.text.depth, _vision(config.vision.depth), []
    fills = {"temperature": torch.tensor(0.07)} if "itc" in config.heads else {}
    if config.heads == ("lm",):
        lines += _decoder(depth, PARTS)
    elif "lm" in config.heads:
        lines += _with_decoder(depth, DECODER_OWN[config.sharing])
    else:
        lines += nested(tower(depth), _ENCODER, _ENCODER)
    if "lm" in config.heads:
        lines += _head()
        towers.append(_DECODER)
    if config.heads != ("lm",):
        for name in ("vision_proj", "text_proj", "itm_head"):
            lines += renamed(name, name)
        lines.append(same("temperature", "temp"))
        towers.append(_ENCODER)
    return KeyMap(tuple(lines), _DROPPED, fills, _positions(config.text, *towers))


def _keys_vqa(config: BLIPVQAConfig) -> KeyMap:
    depth = config.text.depth
    lines = [
        *_vision(config.vision.depth),
        *nested(tower(depth), _ENCODER, _ENCODER),
        *_decoder(depth, PARTS),
        *_head(),
    ]
    return KeyMap(tuple(lines), _DROPPED, {}, _positions(config.text, _ENCODER, _DECODER))


def _keys_nlvr2(config: BLIPNLVR2Config) -> KeyMap:
    depth = config.text.depth
    alone = tower(depth, ("embeddings", "self_attention", "mlp"))
    twins = twin_cross_attention(depth, config.average_layers)
    lines = [
        *_vision(config.vision.depth),
        *nested([*alone, *twins], _ENCODER, _ENCODER),
        *renamed("cls_head.0", "cls_head.0"),
        *renamed("cls_head.2", "cls_head.2"),
    ]
    return KeyMap(tuple(lines), _DROPPED, {}, _positions(config.text, _ENCODER))


def _checks(config: GroundedConfig) -> None:
    """Raise CheckpointError when the file could not say what the model is."""
    refuse_other_vision(config.vision, _NAME)
    refuse_other_text(config.text, _NAME)
    words = config.text.vocab_size
    for name, value, wanted in (
        ("vision.num_heads", config.vision.num_heads * HEAD_WIDTH, config.vision.width),
        ("text.num_heads", config.text.num_heads * HEAD_WIDTH, config.text.width),
        ("pad_id, cls_id, sep_id", (config.pad_id, config.cls_id, config.sep_id), (0, 101, 102)),
        ("dec_id, enc_id", (config.dec_id, config.enc_id), (words - 2, words - 1)),
    ):
        if value != wanted:
            heads = f" heads of {HEAD_WIDTH}" if "heads" in name else ""
            raise CheckpointError(
                f"{name}: {value}{heads}, which {_NAME}'s files cannot say", wanted=str(wanted)
            )
    if isinstance(config, BLIPConfig) and (config.heads not in TASKS or config.num_classes):
        raise CheckpointError(
            f"a BLIP with the heads {list(config.heads)} and num_classes {config.num_classes}",
            wanted="no classifier, and the heads " + " or ".join(str(list(known)) for known in TASKS),
        )


def _sides(config: Config, description: Description) -> dict[str, Any]:
    return {}


DIALECTS: tuple[Dialect, ...] = (
    Dialect(_NAME, "blip", _is_blip, _describe_blip, _keys_blip, _sides, _checks),
    Dialect(_NAME, "blip_vqa", _is_vqa, _describe_vqa, _keys_vqa, _sides, _checks),
    Dialect(_NAME, "blip_nlvr2", _is_nlvr2, _describe_nlvr2, _keys_nlvr2, _sides, _checks),
)
