"""Faults of texts: each is found where it was put, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.report.scrub_texts import SHARED, Repeat, judge_texts, word_count


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nan", "null_word"),
        (" ", "empty"),
        ("row-0", "file_name"),
        ("IMG_2041", "file_name"),
        ("flower_01.svg", "file_like"),
        ("blue_square_button", "file_like"),
        ("a <b>red</b> ball", "markup"),
        ("fish &amp; chips", "markup"),
        ("see www.example.org for more", "address"),
        ("gramastar", "one_word"),
        ("word " * 61, "long"),
        ("b'\\xff\\xd8'", "not_text"),
    ],
)
def test_each_fault_is_found(text, fault):
    found = judge_texts([[text], ["a red ball on grass"]], ["row-0", "row-1"])
    counts = {fault.name: fault.count for fault in found.faults}
    assert counts[fault] == 1
    assert judge_texts([["a red ball on grass"]], ["row-1"]).faults == []


def test_repeats_name_their_pictures():
    texts = [["flat icon"]] * SHARED + [["a dog", "a cat"], [], None]
    found = judge_texts(texts, [f"row-{i}" for i in range(len(texts))])
    assert found.repeats == [Repeat("flat icon", SHARED, [0, 1, 2])]
    assert found.shared == SHARED / (SHARED + 2)
    assert found.per_picture == {0: 2, 1: SHARED, 2: 1}
    assert {f.name: f.count for f in found.faults} == {"shared": SHARED, "no_text": 2}
    assert (found.count, found.distinct) == (SHARED + 2, 3)


def test_words_are_counted_in_any_script():
    assert word_count("a dog's ball, red") == 4
    assert word_count("两只狗") == 3
    assert word_count("") == word_count("!?") == 0


@given(st.lists(st.lists(st.text(), max_size=3) | st.none(), max_size=8))
def test_any_texts_are_judged(texts):
    found = judge_texts(texts, [f"k{i}" for i in range(len(texts))])
    assert found.count == sum(len(own or ()) for own in texts) == len(found.words)
