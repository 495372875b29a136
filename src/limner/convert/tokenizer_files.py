"""The tokenizer of a checkpoint: from its folder, or the public one of its family; and back to files."""

import json
from pathlib import Path
from typing import Any, Final

from torch import nn

from limner.checkpoint.bundle import AnyTokenizer
from limner.convert.dialect import Description
from limner.data.bpe import ClipDialect, CLIPTokenizer
from limner.data.bpe_vocabulary import CLIP_MERGES
from limner.data.ngram_dictionary import NGramDictionary
from limner.data.tokenizers import Cleaning, WordPiece
from limner.errors import CheckpointError
from limner.models.clip import CLIP, CLIPConfig

_PUBLIC_WORDS: Final = {"clip": 49_408, "clip_hf": 49_408, "bert": 30_524}


def tokenizer_beside(
    folder: Path, description: Description, dialect: str
) -> tuple[AnyTokenizer | None, tuple[str, ...]]:
    """The tokenizer of a checkpoint.

    Args:
        folder: where its weights lie.
        description: of the checkpoint.
        dialect: whose layout it has.
    Returns: the tokenizer, None for a model that reads no text or whose vocabulary nobody knows; what had to
        be assumed, one sentence each.
    Raises: CheckpointError when it does not fit the model; DataError when a file of it cannot be read.
    """
    kind = description.tokenizer
    if not kind:
        return None, ()
    text = description.config.text  # type: ignore[attr-defined]
    notes: tuple[str, ...] = ()
    if _has_files(folder, kind):
        found = _of_folder(folder, kind, dialect, text)
    elif text.vocab_size == _PUBLIC_WORDS[kind]:
        found = _public(kind, dialect, text)
        notes = (f"No tokenizer lies beside the file: {_FAMILY[kind]}'s public one is taken.",)
    else:
        return None, (
            f"No tokenizer lies beside the file, and {text.vocab_size} words are not those of "
            f"{_FAMILY[kind]}: name one with tokenizer=.",
        )
    _check_fits(found, text.vocab_size, folder)
    return found, notes


_FAMILY: Final = {"clip": "CLIP", "clip_hf": "CLIP", "bert": "BERT"}


def given_tokenizer(path: Path, model: nn.Module) -> AnyTokenizer:
    """A tokenizer that the user names.

    Args:
        path: tokenizer.json, a vocab.txt, CLIP's merges, or a folder with the files of transformers.
        model: that will read with it.
    Raises: CheckpointError when the model reads no text, or has another vocabulary; DataError when it cannot
        be read.
    """
    config = model.config
    text = getattr(config, "text", None)
    if text is None:
        raise CheckpointError(f"a tokenizer for a {type(model).__name__}", wanted="a model that reads texts")
    if not path.exists():
        raise CheckpointError(f"no tokenizer at {path}", wanted="a file or a folder")
    found = _clip_at(path, text) if isinstance(model, CLIP) else _bert_at(path)
    _check_fits(found, text.vocab_size, path)
    return found


def _clip_at(path: Path, text: Any) -> CLIPTokenizer:
    if path.is_dir():
        return CLIPTokenizer.from_folder(path, context_length=text.context_length)
    if path.suffix == ".json":
        return CLIPTokenizer.from_json(path.read_text(encoding="utf-8"))
    return CLIPTokenizer.from_merges(path, context_length=text.context_length, vocab_size=text.vocab_size)


def _bert_at(path: Path) -> WordPiece:
    if path.is_dir():
        return WordPiece.from_folder(path)
    if path.suffix == ".json":
        return WordPiece.from_json(path.read_text(encoding="utf-8"))
    return WordPiece.from_vocabulary(path)


def _has_files(folder: Path, kind: str) -> bool:
    if (folder / "tokenizer.json").is_file():
        return True
    names = ("vocab.txt",) if kind == "bert" else ("vocab.json", "merges.txt")
    return all((folder / name).is_file() for name in names)


def _of_folder(folder: Path, kind: str, dialect: str, text: Any) -> AnyTokenizer:
    if kind == "bert":
        return WordPiece.from_folder(folder, _cleaning(dialect))
    return CLIPTokenizer.from_folder(folder, _clip_dialect(kind, dialect), text.context_length)


def _public(kind: str, dialect: str, text: Any) -> AnyTokenizer:
    if kind == "bert":
        return WordPiece.from_vocabulary(cleaning=_cleaning(dialect))
    return CLIPTokenizer.from_merges(
        CLIP_MERGES, _clip_dialect(kind, dialect), context_length=text.context_length
    )


def _cleaning(dialect: str) -> Cleaning:
    """transformers' processor cleans less than BLIP's own code does."""
    return "bert" if dialect.startswith("hf") else "pre_caption"


def _clip_dialect(kind: str, dialect: str) -> ClipDialect:
    if kind == "clip_hf":
        return "hf"
    return "open_clip" if dialect.startswith("open_clip") else "openai"


def _check_fits(tokenizer: AnyTokenizer, words: int, path: Path) -> None:
    """More words than the model has would be read past its end; a few less is a padded table."""
    if tokenizer.vocab_size > words:
        raise CheckpointError(
            f"the tokenizer at {path} has {tokenizer.vocab_size} words, the model {words}",
            wanted="the tokenizer that the model was trained with",
            hint="name it with tokenizer=PATH",
        )


def tokenizer_files(tokenizer: AnyTokenizer | None, to: str, config: Any) -> dict[str, str]:
    """Text files that hold a tokenizer in another library's words, by name.

    Args:
        tokenizer: None gives no files.
        to: name of the dialect.
        config: of the model.
    Raises: CheckpointError when that library can only use its own and this is another.
    """
    if tokenizer is None or isinstance(tokenizer, NGramDictionary):  # no other library has a dictionary
        return {}
    if to == "hf":
        return _hf_clip(tokenizer) if isinstance(tokenizer, CLIPTokenizer) else _hf_bert(tokenizer)
    public = (
        CLIPTokenizer.from_merges().tokens
        if isinstance(config, CLIPConfig)
        else WordPiece.from_vocabulary().tokens
    )
    special = 2 if isinstance(config, CLIPConfig) else 0  # each dialect spells CLIP's last two in its way
    if tokenizer.tokens[: len(public) - special] != public[: len(public) - special]:
        raise CheckpointError(
            f"{to}'s files hold no tokenizer, and this model has one of its own",
            wanted="the public vocabulary",
            hint="--to hf or --to limner keep it",
        )
    return {}


def _hf_bert(tokenizer: WordPiece) -> dict[str, str]:
    options = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": 512,
        "additional_special_tokens": ["[ENC]"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    }
    return {"vocab.txt": "\n".join(tokenizer.tokens) + "\n", "tokenizer_config.json": _json(options)}


def _hf_clip(tokenizer: CLIPTokenizer) -> dict[str, str]:
    facts = json.loads(tokenizer.to_json())
    first, last = "<|startoftext|>", "<|endoftext|>"
    ids = {token: place for place, token in enumerate(tokenizer.tokens)}
    spelt = {tokenizer.tokens[tokenizer.sot_id]: first, tokenizer.tokens[tokenizer.eot_id]: last}
    vocabulary = {spelt.get(token, token): place for token, place in ids.items()}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in facts["model"]["merges"]]
    options = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": tokenizer.context_length,
        "bos_token": first,
        "eos_token": last,
        "unk_token": last,
        "pad_token": spelt.get(tokenizer.tokens[tokenizer.pad_id], tokenizer.tokens[tokenizer.pad_id]),
    }
    return {
        "vocab.json": _json(vocabulary),
        "merges.txt": "#version: 0.2\n" + "\n".join(merges) + "\n",
        "tokenizer_config.json": _json(options),
    }


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"
