"""What is wrong with the texts of a table: faults with examples, repeats, lengths."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from limner.data.captions import LOST, shown, useful_texts

SHARED: Final = 5
"""A text on so many pictures says nothing of any of them."""
LONG_WORDS: Final = 60
"""CLIP reads 77 tokens, about 60 words; what comes later is cut off."""
_EXAMPLES: Final = 4

_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['’][^\W_]+)*")
_FILE: Final = re.compile(r"\S+\.(jpe?g|png|gif|svg|webp|tiff?|bmp|avif)|[^\W_]*(_[^\W_]*)+", re.IGNORECASE)
_MARKUP: Final = re.compile(r"</?[a-z][^<>]*>|&(#\d+|[a-z]{2,8});", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"https?://|www\.|\S@\S+\.\w", re.IGNORECASE)

_JUDGED: Final[dict[str, tuple[str, Callable[[str], bool]]]] = {
    "file_like": ("looks like the name of a file", lambda text: bool(_FILE.fullmatch(text))),
    "markup": ("HTML in it", lambda text: bool(_MARKUP.search(text))),
    "address": ("a web or mail address in it", lambda text: bool(_ADDRESS.search(text))),
    "one_word": ("a single word", lambda text: word_count(text) == 1),
    "long": (f"more than {LONG_WORDS} words", lambda text: word_count(text) > LONG_WORDS),
}
_MEANINGS: Final = (
    LOST
    | {name: meaning for name, (meaning, _) in _JUDGED.items()}
    | {
        "no_text": "no text at all",
        "shared": f"the same text on {SHARED} pictures or more",
    }
)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with texts.

    Args:
        name: short, for JSON.
        meaning: in words.
        count: texts (pictures, for "no_text") that have it.
        examples: beginnings of a few of them, the commonest first.
    """

    name: str
    meaning: str
    count: int
    examples: list[str]


@dataclass(frozen=True)
class Repeat:
    """A text that stands on several pictures.

    Args:
        text: its beginning.
        count: pictures that have it.
        rows: positions of a few of them.
    """

    text: str
    count: int
    rows: list[int]


@dataclass(frozen=True)
class Texts:
    """What there is to say about the texts of a table.

    Args:
        count: texts in all.
        distinct: different ones.
        faults: those that occur, the most frequent first.
        repeats: most repeated texts.
        words: number of words of each text.
        per_picture: number of texts → pictures that have so many.
        shared: share of the texts that stand on `SHARED` pictures or more.
    """

    count: int
    distinct: int
    faults: list[Fault]
    repeats: list[Repeat]
    words: list[int]
    per_picture: dict[int, int]
    shared: float


def word_count(text: str) -> int:
    """Words of a text; a Chinese, Japanese or Korean character is a word."""
    return sum(1 for _ in _WORD.finditer(text))


def judge_texts(texts: Sequence[Sequence[str] | None], keys: Sequence[str], repeats: int = 12) -> Texts:
    """Look at every text of a table.

    Args:
        texts: of each row.
        keys: of each row; a text that only repeats it says nothing.
        repeats: most repeated texts to give.
    """
    found: dict[str, Counter[str]] = {name: Counter() for name in _MEANINGS}
    places: dict[str, list[int]] = {}
    for row, (own, key) in enumerate(zip(texts, keys, strict=True)):
        judged = useful_texts(own or (), key)
        for why, text in judged.lost:
            found[why][text] += 1
        for text in judged.kept:
            places.setdefault(text, []).append(row)
        if not own:
            found["no_text"][""] += 1
    for text, rows in places.items():
        for name in _faults_of(text):
            found[name][text] += len(rows)
        if len(rows) >= SHARED:
            found["shared"][text] += len(rows)
    flat = [text for own in texts for text in own or ()]
    often = sorted(places.items(), key=lambda item: -len(item[1]))[:repeats]
    return Texts(
        count=len(flat),
        distinct=len(set(flat)),
        faults=_told(found),
        repeats=[Repeat(shown(text), len(rows), rows[:3]) for text, rows in often if len(rows) > 1],
        words=[word_count(text) for text in flat],
        per_picture=dict(sorted(Counter(len(own or ()) for own in texts).items())),
        shared=found["shared"].total() / max(1, len(flat)),
    )


def _faults_of(text: str) -> list[str]:
    return [name for name, (_, has) in _JUDGED.items() if has(text)]


def _told(found: dict[str, Counter[str]]) -> list[Fault]:
    faults = [
        Fault(
            name,
            _MEANINGS[name],
            counts.total(),
            [shown(text) for text, _ in counts.most_common(_EXAMPLES) if text],
        )
        for name, counts in found.items()
        if counts
    ]
    return sorted(faults, key=lambda fault: -fault.count)
