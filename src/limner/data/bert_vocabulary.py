"""BERT's vocabulary from the files it comes in, with BLIP's two words at its end.

Source: Devlin et al. 2018 (bert-base-uncased's vocab.txt, 30,522 words); BLIP's `init_tokenizer`, which adds
    [DEC] (30522) and then [ENC] (30523).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from limner.data.vocabulary_files import read_json, read_text
from limner.errors import DataError

BERT_UNCASED: Final = Path(__file__).resolve().parents[1] / "assets" / "vocabularies" / "bert_uncased.txt"
"""The words of bert-base-uncased, one a line."""

BERT_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BLIP_TOKENS: Final = ("[DEC]", "[ENC]")


def bert_ids(source: str | Path | Iterable[str]) -> dict[str, int]:
    """Number the words of a vocabulary; [DEC] and [ENC] follow the last word where they are missing.

    Args:
        source: a vocab.txt, or its lines, or a folder with vocab.txt or tokenizer.json.
    Raises: DataError when it cannot be read, or is no vocabulary of an uncased BERT.
    """
    if not isinstance(source, (str, Path)):
        ids = _numbered(source)
    elif Path(source).is_dir():
        ids = _of_folder(Path(source))
    else:
        ids = _numbered(read_text(Path(source)).split("\n"))
    if missing := [token for token in BERT_TOKENS if token not in ids]:
        raise DataError(
            f"a vocabulary of {len(ids)} words without {missing[0]}", wanted="BERT's, one word a line"
        )
    for token in _BLIP_TOKENS:
        ids.setdefault(token, len(ids))
    return ids


def _numbered(lines: Iterable[str]) -> dict[str, int]:
    words = [line.rstrip("\r\n") for line in lines]
    while words and not words[-1]:
        words.pop()
    return {word: place for place, word in enumerate(words)}


def _of_folder(folder: Path) -> dict[str, int]:
    if (folder / "tokenizer.json").is_file():
        return _of_json(folder / "tokenizer.json")
    if not (folder / "vocab.txt").is_file():
        raise DataError(f"no tokenizer in {folder}", wanted="vocab.txt or tokenizer.json")
    options = (
        read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    )
    _refuse_cased(folder, options.get("do_lower_case", True))
    return _numbered(read_text(folder / "vocab.txt").split("\n"))


def _of_json(path: Path) -> dict[str, int]:
    facts = read_json(path)
    model = facts.get("model") or {}
    if not isinstance(model.get("vocab"), dict) or model.get("continuing_subword_prefix", "##") != "##":
        raise DataError(f"{path} holds a {model.get('type')!r} tokenizer", wanted="BERT's WordPiece")
    _refuse_cased(path, (facts.get("normalizer") or {}).get("lowercase", False))
    ids = dict(model["vocab"])
    ids.update({token["content"]: token["id"] for token in facts.get("added_tokens", ())})
    return dict(sorted(ids.items(), key=lambda pair: pair[1]))


def _refuse_cased(path: Path, lower: bool) -> None:
    if not lower:
        raise DataError(f"{path} keeps capital letters", wanted="the tokenizer of an uncased BERT")
