"""Texts that say nothing of a picture: found by reading the text alone, before any model looks.

The vocabulary test needs care. WordPiece never answers [UNK] to letters it has seen, it spells a strange
word out of scraps ("bicicleta" → bi ##ci ##cl ##et ##a), so counting [UNK] finds only foreign scripts. A
word counts as known when it is one piece, or pieces of `LETTERS_PER_PIECE` letters or more on average; a
text is outside the vocabulary when more than half of its words are not known. This catches gibberish and
most foreign words, names no language, and lets a text through when in doubt: image-text matching judges it
next.
"""

import re
from collections.abc import Sequence

from limner.data.languages import UNKNOWN, language
from limner.data.tokenizers import WordPiece

LETTERS_PER_PIECE = 2.5
"""A word spelled in shorter pieces than this is not one the tokenizer learnt."""

_PLACEHOLDER = re.compile(  # what databases, spreadsheets and upload forms write when nobody wrote anything
    "nan|null|nil|none|n ?a|undefined|unknown|untitled|(no )?(title|text|caption|description|alt text)|"
    "image|photo|todo|tbd|test|placeholder|lorem ipsum|true|false"
)
_EXTENSION = re.compile(
    r"\S+\.(jpe?g|jfif|png|gif|bmp|webp|tiff?|hei[cf]|avif|svg|raw|cr2|nef|dng|mp4|mov)", re.I
)
_CAMERA = re.compile(
    r"(img|image|dsc[nf]?|dcim|pict?|picture|photo|file|scan|screen ?shot|untitled|mvi|vid|pxl|_mg)"
    r"[-_ ]?\d[-_ .:()\d]*"
    r"|(p|gp|wp|gopr|sam|cimg|kimg)[-_]?\d{4,}|[0-9a-f]{16,}",
    re.I,
)
_URL = re.compile(r"(https?://|www\.)\S+|\b[\w-]+(\.[\w-]+)*\.(com|org|net|io)\b(/\S*)?", re.I)
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u3040-\u30ff\u3400-\u9fff]+")


def junk_reason(
    text: str | None, tokenizer: WordPiece | None = None, languages: Sequence[str] = ()
) -> str | None:
    """Say why a text is junk.

    Args:
        text: as people wrote it.
        tokenizer: of the model that would read it; without one its vocabulary is not tested.
        languages: codes such as "en"; a text that is surely in another one is junk, a short one never.
    Returns: None for a text worth scoring, or "junk:" and one of empty, placeholder, url, file_name,
        no_letters, language, vocabulary.
    """
    text = (text or "").strip()
    if not text:
        return "junk:empty"
    if _PLACEHOLDER.fullmatch(" ".join(re.findall(r"\w+", text.lower()))):
        return "junk:placeholder"
    if not (rest := _URL.sub(" ", text).strip(" \t<>()[]|,;:-")):
        return "junk:url"
    if _EXTENSION.fullmatch(text) or _CAMERA.fullmatch(rest):
        return "junk:file_name"
    if not any(character.isalpha() for character in rest):
        return "junk:no_letters"
    if languages and language(rest) not in (UNKNOWN, *languages):
        return "junk:language"
    if tokenizer is not None and unknown_share(rest, tokenizer) > 0.5:
        return "junk:vocabulary"
    return None


def unknown_share(text: str, tokenizer: WordPiece) -> float:
    """Share of a text's words that the vocabulary does not know, [0, 1]; an ideograph counts as a word."""
    words = _WORD.findall(text.lower())
    return sum(not _is_known(word, tokenizer) for word in words) / max(1, len(words))


def _is_known(word: str, tokenizer: WordPiece) -> bool:
    pieces = tokenizer.encode(word, max_tokens=len(word) + 2)[1:-1]
    return tokenizer.unk_id not in pieces and (
        len(pieces) == 1 or len(word) >= LETTERS_PER_PIECE * len(pieces)
    )
