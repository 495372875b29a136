"""Captions that say nothing: found, counted and shown, and never learnt.

A value that is no text (bytes, numbers, NaN, objects, binary junk) never becomes one: no table ever holds
the word "nan" because a cell was empty.
"""

import os
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

LOST: Final = {
    "empty": "nothing in it",
    "null_word": 'a word for nothing, such as "null"',
    "file_name": "only the name of the file",
    "repeated": "said already of the same picture",
    "not_text": "bytes, a number or an object",
}
"""Reasons not to keep a caption."""

_NULL_WORDS: Final = frozenset({"nan", "null", "none", "n/a", "na", "nil", "undefined", "#n/a", "-", "?"})
_CAMERA_NAME: Final = re.compile(r"(img|dsc|dscn|dscf|pict?|image|photo|screenshot)[\s_-]*\d+", re.IGNORECASE)
_PRINTED_BYTES: Final = re.compile(r"""b(['"]).*\1""", re.DOTALL)
_SHOWN: Final = 60


class Judged(NamedTuple):
    """What is left of the captions of one picture.

    Args:
        kept: stripped, each once, in order.
        lost: reason from `LOST` and the beginning of each other one.
    """

    kept: list[str]
    lost: list[tuple[str, str]]


def useful_texts(texts: Iterable[Any], name: str) -> Judged:
    """The texts that say something, and why the others do not.

    Args:
        texts: as a source holds them; anything that is no string is no text.
        name: of the picture's file; a caption that only repeats it says nothing.
    """
    kept: dict[str, None] = {}
    lost: list[tuple[str, str]] = []
    for value in texts:
        text = writable(value).strip() if isinstance(value, str) else ""
        reason = _no_string(value) or _useless(text, name) or ("repeated" if text in kept else "")
        if reason:
            lost.append((reason, shown(value)))
        else:
            kept[text] = None
    return Judged(list(kept), lost)


def shared_texts(texts: pa.ChunkedArray, least: int = 3, most: int = 5) -> tuple[int, list[tuple[str, int]]]:
    """Captions that stand on many pictures: how many they are in all, and the commonest with their counts.

    Args:
        texts: of all pictures, one string each.
        least: pictures that make "many".
        most: examples given.
    """
    counts = pc.value_counts(texts)
    if not len(counts):
        return 0, []
    many = counts.filter(pc.greater_equal(counts.field("counts"), least))
    order = pc.sort_indices(many.field("counts"), sort_keys=[("", "descending")])[:most]
    pairs = many.take(order).to_pylist()
    examples = [(shown(pair["values"]), int(pair["counts"])) for pair in pairs]
    return int(pc.sum(many.field("counts")).as_py() or 0), examples


def shown(value: Any) -> str:
    """The beginning of a caption, whatever it is, on one line."""
    text = value if isinstance(value, str) else "" if value is None else repr(value)
    line = " ".join(writable(text[: 4 * _SHOWN]).split())
    line = "".join(character if character.isprintable() else "\ufffd" for character in line)
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def writable(text: str) -> str:
    """Text that any table can hold: halves of surrogate pairs are left out."""
    return text.encode("utf-8", "ignore").decode("utf-8")


def _no_string(value: Any) -> str:
    if value is None:
        return "empty"
    return "" if isinstance(value, str) else "not_text"


def _useless(text: str, name: str) -> str:
    if _is_junk(text):
        return "not_text"
    if not any(character.isalnum() or ord(character) > 0x2000 for character in text):
        return "null_word" if text in _NULL_WORDS else "empty"
    if text.lower() in _NULL_WORDS:
        return "null_word"
    file_name = os.path.basename(name).lower()
    if text.lower() in (name.lower(), file_name, os.path.splitext(file_name)[0]):
        return "file_name"
    if _CAMERA_NAME.fullmatch(text if " " in text else os.path.splitext(os.path.basename(text))[0]):
        return "file_name"
    return ""


def _is_junk(text: str) -> bool:
    """Bytes read as text: a null byte, or more than one character in ten that no one writes."""
    if "\0" in text or _PRINTED_BYTES.fullmatch(text):
        return True
    if text.isascii() and text.isprintable():
        return False
    odd = sum(map(_is_odd, text))
    return odd * 10 > len(text)


def _is_odd(character: str) -> bool:
    if character in "\n\r\t":
        return False
    return character == "\ufffd" or unicodedata.category(character) in ("Cc", "Co", "Cn")
