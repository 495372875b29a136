"""Captions: what says something is kept, and nothing becomes the word "nan"."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data.captions import LOST, shared_texts, shown, useful_texts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "empty"),
        ("  \n", "empty"),
        ("...", "empty"),
        (float("nan"), "not_text"),
        (7, "not_text"),
        (True, "not_text"),
        (b"a cat", "not_text"),
        ({"text": "a cat"}, "not_text"),
        (["a cat"], "not_text"),
        ("b'a cat'", "not_text"),
        ("\x89PNG\r\n\x1a\n\0\0\0", "not_text"),
        ("\ufffd\ufffdJFIF\ufffd\x01\x02", "not_text"),
        ("\x01\x02\x03", "not_text"),
        ("NaN", "null_word"),
        ("None", "null_word"),
        ("n/a", "null_word"),
        ("-", "null_word"),
        ("cat.JPG", "file_name"),
        ("cat", "file_name"),
        ("pets/cat.jpg", "file_name"),
        ("DSC00012.JPG", "file_name"),
        ("IMG 20340101", "file_name"),
    ],
)
def test_what_says_nothing_is_lost_for_a_reason(text: object, reason: str) -> None:
    judged = useful_texts([text], "pets/cat.jpg")
    assert judged.kept == []
    assert [lost for lost, _ in judged.lost] == [reason]
    assert reason in LOST


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        "dog",
        "猫",
        "🐈",
        "👨\u200d👩\u200d👧",
        "2034",
        "photo of 2 cats",
        "\ud800broken",
        "l'été\tà 5 €",
        "b'",
    ],
)
def test_what_says_something_is_kept(text: str) -> None:
    judged = useful_texts([text], "pets/cat.jpg")
    assert judged.lost == []
    assert judged.kept == [text.replace("\ud800", "")]


def test_texts_are_stripped_and_kept_once() -> None:
    judged = useful_texts(["  a cat ", "a cat", "A cat"], "x.jpg")
    assert judged.kept == ["a cat", "A cat"]
    assert judged.lost == [("repeated", "a cat")]


def test_lost_captions_are_shown_short_and_on_one_line() -> None:
    assert shown("a\nb\0" + "c" * 100) == "a b\ufffd" + "c" * 55 + "…"
    assert shown(None) == ""
    assert shown(b"\xff") == "b'\\xff'"


def test_captions_on_many_pictures_are_counted() -> None:
    texts = pa.chunked_array([["a photo"] * 4 + ["a cat"], ["a cat", "image", "image", "image"]])
    assert shared_texts(texts) == (7, [("a photo", 4), ("image", 3)])
    assert shared_texts(texts, most=1) == (7, [("a photo", 4)])
    assert shared_texts(pa.chunked_array([[]], pa.string())) == (0, [])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(anything, max_size=5), st.text(max_size=12))
def test_only_strings_become_texts_and_each_value_is_accounted_for(values: list[object], name: str) -> None:
    judged = useful_texts(values, name)
    assert len(judged.kept) + len(judged.lost) == len(values)
    said = {value.encode("utf-8", "ignore").decode().strip() for value in values if isinstance(value, str)}
    assert set(judged.kept) <= said
    assert not {"nan", "none", "null", ""} & {text.lower() for text in judged.kept}
    for text in judged.kept:
        text.encode("utf-8")
    assert all(len(example) <= 60 for _, example in judged.lost)


@given(st.sampled_from([math.nan, math.inf, None]), st.text(max_size=5))
def test_an_empty_cell_never_becomes_the_word_nan(cell: object, name: str) -> None:
    assert useful_texts([cell], name).kept == []
