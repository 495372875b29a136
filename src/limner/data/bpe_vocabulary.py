"""The vocabulary of a CLIP tokenizer, from the files it comes in: merges alone, or as transformers keeps it.

Source: CLIP's bpe_simple_vocab_16e6.txt.gz (merges by line, the ids follow from their order); transformers'
    vocab.json and merges.txt, and tokenizer.json with the merges as text (old) or as pairs (new).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from limner.data.vocabulary_files import read_json, read_text
from limner.errors import DataError

CONTEXT: Final = 77
"""Tokens CLIP reads, the first and the last one included."""

CLIP_MERGES: Final = Path(__file__).resolve().parents[1] / "assets" / "vocabularies" / "clip_merges.txt"
"""CLIP's 48,894 merges."""

_GZIP: Final = b"\x1f\x8b"


class Vocabulary(NamedTuple):
    """What a byte-pair encoding is made of, and what its files say of its use.

    Args:
        ids: of each token.
        merges: in the order they were learnt.
        pad_id: fills short texts; None when nobody says.
        context_length: most tokens of a text.
    """

    ids: dict[str, int]
    merges: list[tuple[str, str]]
    pad_id: int | None = None
    context_length: int = CONTEXT


def vocabulary_from_merges(
    source: str | Path, special: Sequence[str], vocab_size: int, context_length: int = CONTEXT
) -> Vocabulary:
    """Number 256 bytes, the same at a word's end, the merges, and the special tokens.

    Args:
        source: a file of merges, plain or gzipped, or its text; the first line is a heading.
        special: tokens that come last.
        vocab_size: merges past it are left out.
        context_length: most tokens of a text.
    Raises: DataError when the file cannot be read, or a line is no merge.
    """
    room = max(vocab_size - 2 * 256 - len(special), 0)
    merges = _merges(source if isinstance(source, str) and "\n" in source else read_text(Path(source)))[:room]
    letters = byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += [left + right for left, right in merges] + list(special)
    return Vocabulary({token: place for place, token in enumerate(tokens)}, merges, None, context_length)


def vocabulary_from_folder(folder: str | Path) -> Vocabulary:
    """Read tokenizer.json, or vocab.json and merges.txt; tokenizer_config.json tells padding and length.

    Raises: DataError when they are missing, or hold another kind of tokenizer.
    """
    folder = Path(folder)
    options = (
        read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    )
    if (folder / "tokenizer.json").is_file():
        ids, merges = _tokenizer_json(read_json(folder / "tokenizer.json"))
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        ids, merges = read_json(folder / "vocab.json"), _merges(read_text(folder / "merges.txt"))
    else:
        raise DataError(f"no tokenizer in {folder}", wanted="tokenizer.json, or vocab.json and merges.txt")
    pad, length = options.get("pad_token"), options.get("model_max_length")
    pad = pad.get("content") if isinstance(pad, dict) else pad
    return Vocabulary(
        ids, merges, ids.get(str(pad)), length if isinstance(length, int) and length < 10**6 else CONTEXT
    )


def byte_letters() -> list[str]:
    """The sign that stands for each byte, in CLIP's order: the printable bytes first, as themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(256 - len(printable))]


def _merges(text: str) -> list[tuple[str, str]]:
    """The merges of a file's text, without the heading."""
    merges = []
    for number, line in enumerate(text.split("\n")[1:], 2):
        pair = line.split()
        if len(pair) == 2:
            merges.append((pair[0], pair[1]))
        elif pair:
            raise DataError(f"line {number} of the merges is {line[:60]!r}", wanted="two tokens and a space")
    return merges


def _tokenizer_json(facts: dict[str, Any]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = facts.get("model") or {}
    if model.get("end_of_word_suffix") != "</w>" or not {"vocab", "merges"} <= model.keys():
        raise DataError(f"a tokenizer.json of {model.get('type')!r}", wanted="BPE with </w>, as CLIP has")
    if "Lowercase" not in json.dumps(facts.get("normalizer")):
        raise DataError("a tokenizer.json that keeps capital letters", wanted="CLIP's, which lower-cases")
    ids = dict(model["vocab"])
    ids.update({token["content"]: token["id"] for token in facts.get("added_tokens", ())})
    pairs = [tuple(merge.split() if isinstance(merge, str) else merge) for merge in model["merges"]]
    return ids, [(left, right) for left, right in pairs]
