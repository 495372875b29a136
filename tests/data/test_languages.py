"""Languages by script and by letters, and silence where a text is too short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data import languages
from limner.data.languages import UNKNOWN, language, language_counts


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("两只狗在草地上奔跑", "zh"),
        ("草の上を走る二匹の犬", "ja"),
        ("잔디 위를 달리는 개", "ko"),
        ("Две собаки бегут по зелёной траве", "ru"),
        ("Δύο σκυλιά", "el"),
        ("שני כלבים", "he"),
        ("สุนัขสองตัว", "th"),
        ("Two dogs run over the green grass of the park", "en"),
        ("ZWEI HUNDE LAUFEN ÜBER DAS GRÜNE GRAS", "de"),
        ("Deux chiens courent sur l'herbe verte du parc", "fr"),
        ("Dos perros corren por la hierba verde del parque", "es"),
        ("Due cani corrono sull'erba verde del parco", "it"),
    ],
)
def test_sentences_are_told(text, code):
    assert language(text) == code


@pytest.mark.parametrize(
    "text", ["", "   ", "12345 !!", "dog", "gramastar", "собака", "ab 狗 cd 犬", "🐟🐟🐟"]
)
def test_what_is_short_or_no_language_is_unknown(text):
    assert language(text) == UNKNOWN


def test_counts_weigh_every_text():
    texts = ["a dog runs on the beach with a ball"] * 3 + ["两只狗在草地上奔跑", "x"]
    assert language_counts(texts) == {"en": 3, "zh": 1, UNKNOWN: 1}
    assert language_counts([]) == {}


@given(st.text())
def test_any_text_gets_an_answer(text):
    assert language(text)


def test_every_language_that_is_told_apart_has_a_name() -> None:
    told = {code for codes in languages._SHARED_SCRIPT.values() for code in codes}
    assert told <= languages.NAMES.keys()
