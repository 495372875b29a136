"""A text tower to start from: BERT's words, positions and layers, out of a file of transformers.

Any uncased BERT or distilled sentence encoder of its layout will do (bert-base-uncased, MiniLM). Its first
layers are taken, as many as the tower has. BLIP's towers have no token types: those of the first text are
added to the positions, so that the tower gives BERT's own states, where BLIP's code drops them.
Checked against: transformers' `BertModel`, its states; `BertForMaskedLM`, its predictions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from limner.convert.blip_text import lm_head, text_sizes, tower
from limner.convert.dialect import Weights
from limner.convert.fields import number, one_of
from limner.convert.hub import resolve
from limner.convert.keymap import KeyMap, leftovers, read, same
from limner.convert.weights import read_weights
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.models.bert import Bert
from limner.models.blip import BLIP

_WORDS: Final = "embeddings.word_embeddings.weight"
_POSITIONS: Final = "embeddings.position_embeddings.weight"
_TYPES: Final = "embeddings.token_type_embeddings.weight"
_PREDICTIONS: Final = "cls.predictions"
_PARTS: Final = ("embeddings", "self_attention", "mlp")
_DROPPED: Final = (r"embeddings\.position_ids", rf"{_PREDICTIONS}\.decoder\.(weight|bias)")


class TextStart(NamedTuple):
    """A BERT, ready to be put into the text towers of a BLIP.

    Args:
        sizes: fields of `BertConfig`; `vocab_size` is the tokenizer's.
        tensors: by the keys of a `Bert`, and of a BLIP's `lm_head` where the file has one.
        tokenizer: its vocabulary with BLIP's [DEC] and [ENC].
        unused: keys of the file that no tower has a place for.
        sha256: of the file, 64 hex digits.
    """

    sizes: dict[str, Any]
    tensors: dict[str, Tensor]
    tokenizer: WordPiece
    unused: list[str]
    sha256: str


def read_text_start(name: str | Path, depth: int = 0) -> TextStart:
    """Read a BERT.

    Args:
        name: folder or file with config.json and the vocabulary beside it, or `hub:ORG/NAME`.
        depth: how many of its layers; 0 is all.
    Raises: CheckpointError when it is no BERT, lacks tensors, layers or its config.json; DataError when its
        vocabulary is not that of an uncased BERT.
    """
    weights = read_weights(resolve(name))
    tensors = _bare(weights)
    sizes = _sizes(weights, tensors, depth)
    keymap = _keymap(tensors, sizes["depth"])
    _, unused = leftovers(tensors, keymap)
    ours = read({key: tensors[key] for key in tensors.keys() - set(unused)}, keymap, str(weights.path))
    if _TYPES in tensors:
        ours["embeddings.positions.weight"] = ours["embeddings.positions.weight"] + tensors[_TYPES][0]
        unused.remove(_TYPES)
    tokenizer = _tokenizer(weights.path.parent, sizes["vocab_size"])
    return TextStart(sizes | {"vocab_size": tokenizer.vocab_size}, ours, tokenizer, unused, weights.sha256)


@torch.no_grad()
def start_text(model: BLIP, start: TextStart) -> list[str]:
    """Put a BERT into the text towers of a BLIP, in place.

    Args:
        model: of the start's sizes; words that BERT lacks keep the values they have.
        start: what was read.
    Returns: what stays fresh: the first part of its parameters' names.
    """
    touched = set()
    for name in ("text_encoder", "text_decoder"):
        if isinstance(bert := getattr(model, name, None), Bert):
            touched |= {f"{name}.{key}" for key in _fill(bert, start.tensors)}
    if "lm" in model.config.heads and "lm_head.bias" in start.tensors:
        head = model.lm_head.state_dict()
        touched |= {f"lm_head.{key}" for key in head}
        for key, value in head.items():
            _lay(value, start.tensors[f"lm_head.{key}"])
    texts = ("text_encoder", "text_decoder", "lm_head")
    fresh = [name for name, _ in model.named_parameters() if name.startswith(texts) and name not in touched]
    return sorted({".".join(name.split(".")[: 1 if name.startswith("lm_head") else 2]) for name in fresh})


def _fill(bert: Bert, tensors: Mapping[str, Tensor]) -> list[str]:
    """Lay the tensors over those of a tower, whoever they are registered with; their keys."""
    filled = []
    for part in _PARTS:
        for key, value in getattr(bert, part).state_dict().items():
            _lay(value, tensors[f"{part}.{key}"])
            filled.append(f"{part}.{key}")
    return filled


def _lay(ours: Tensor, theirs: Tensor) -> None:
    """Copy; where ours has more rows, words that BERT lacks, those stay."""
    ours[: len(theirs)].copy_(theirs)


def _plain(key: str) -> str:
    """Without prefix; layer norms of the oldest files have gamma and beta."""
    key = key.removeprefix("bert.")
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _bare(weights: Weights) -> dict[str, Tensor]:
    """The tensors without the prefix that classes with a head put before BERT's own.

    Raises: CheckpointError when it is no BERT, or one of BLIP's.
    """
    tensors = {_plain(key): value for key, value in weights.tensors.items()}
    key = "encoder.layer.0.attention.self.query.weight"
    if _WORDS not in tensors or key not in tensors or any(".crossattention." in name for name in tensors):
        raise CheckpointError(
            f"{weights.path} is no BERT: its keys begin with {', '.join(sorted(tensors)[:3])}",
            wanted=f"transformers' BertModel or BertForMaskedLM, with {_WORDS}",
            hint="model.start opens whole BLIPs",
        )
    return tensors


def _sizes(weights: Weights, tensors: Mapping[str, Tensor], depth: int) -> dict[str, Any]:
    sizes: dict[str, Any] = text_sizes(tensors, "", "attention.self.query.weight")
    del sizes["memory_width"]
    fields, origin = weights.sides.get("config.json"), f"{weights.path}: config.json"
    if fields is None:
        raise CheckpointError(
            f"no config.json beside {weights.path}",
            wanted="the one it came with: nothing else tells how many attention heads it has",
            hint=f"put it into {weights.path.parent}",
        )
    one_of(fields, "hidden_act", "gelu", ("gelu",), origin)
    one_of(fields, "position_embedding_type", "absolute", ("absolute",), origin)
    if depth > sizes["depth"]:
        raise CheckpointError(
            f"{weights.path} has {sizes['depth']} layers, and {depth} are asked for",
            wanted="as many or fewer",
            hint=f"--set model.settings.text.depth={sizes['depth']}",
        )
    told = {
        "num_heads": int(number(fields, "num_attention_heads", float(sizes["num_heads"]), origin)),
        "layer_norm_eps": number(fields, "layer_norm_eps", 1e-12, origin),
    }
    return sizes | told | {"depth": depth or sizes["depth"]}


def _keymap(tensors: Mapping[str, Tensor], depth: int) -> KeyMap:
    lines = tower(depth, _PARTS)
    if f"{_PREDICTIONS}.transform.dense.weight" in tensors:
        lines += [*lm_head(_PREDICTIONS), same("lm_head.bias", f"{_PREDICTIONS}.bias")]
    return KeyMap(tuple(lines), _DROPPED)


def _tokenizer(folder: Path, words: int) -> WordPiece:
    """The vocabulary beside the weights, or BERT's public one.

    Raises: CheckpointError when it is not that of the weights.
    """
    beside = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
    found = WordPiece.from_folder(folder, "pre_caption") if beside else WordPiece.from_vocabulary()
    if not words <= found.vocab_size <= words + 2:
        raise CheckpointError(
            f"the tokenizer at {folder} has {found.vocab_size} words, the weights {words}",
            wanted="the one they were trained with",
            hint=f"put its vocab.txt into {folder}",
        )
    return found
