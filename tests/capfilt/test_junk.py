"""Texts that say nothing are found; texts that say something, however odd, go on to the model."""

import pytest

from limner.capfilt.junk import junk_reason, unknown_share
from limner.data.tokenizers import WordPiece

ENGLISH = [
    "a red bus on a blue ground",
    "two bicycles left of an elephant",
    "a photograph of the skateboarder above some strawberries",
    "three yellow stars, one umbrella and the moon",
]


@pytest.fixture(scope="module")
def english() -> WordPiece:
    return WordPiece.from_texts(ENGLISH * 4, vocab_size=400, min_count=2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \n\t", "empty"),
        ("nan", "placeholder"),
        ("NULL", "placeholder"),
        ("<none>", "placeholder"),
        ("N/A", "placeholder"),
        ("Untitled", "placeholder"),
        ("no caption", "placeholder"),
        ("IMG_2034", "file_name"),
        ("img 2034", "file_name"),
        ("DSC00012.jpg", "file_name"),
        ("DSCN1234.JPG", "file_name"),
        ("P1010034", "file_name"),
        ("PXL_20231104_101010", "file_name"),
        ("Screenshot 2024-01-05 10.20.30", "file_name"),
        ("sunset_final(2).png", "file_name"),
        ("photo 17", "file_name"),
        ("d41d8cd98f00b204e9800998ecf8427e", "file_name"),
        ("https://example.org/a/b?c=1", "url"),
        ("www.example.com", "url"),
        ("example.com/pictures/7", "url"),
        ("2034", "no_letters"),
        ("--- 12:30 ---", "no_letters"),
        ("😀😀", "no_letters"),
    ],
)
def test_junk_is_named(text: str | None, reason: str) -> None:
    assert junk_reason(text) == f"junk:{reason}"


@pytest.mark.parametrize(
    "text",
    [
        "a red bus",
        "image of a dog in the snow",
        "photo of 3 cats",
        "none of the boats is red",
        "a test tube on a table",
        "ox",
        "a cat, see https://example.org/cat",
        "unknown soldier memorial",
        "Null Island",
        "une pomme rouge",
        "一只猫",
    ],
)
def test_words_are_not_junk(text: str) -> None:
    assert junk_reason(text) is None


@pytest.mark.parametrize("text", [*ENGLISH, "A Red Bus!", "the moon", "two umbrellas"])
def test_the_vocabulary_reads_its_own_language(text: str, english: WordPiece) -> None:
    assert junk_reason(text, english) is None


@pytest.mark.parametrize("text", ["bicicleta", "zxqv kwpf", "一只猫", "Regenschirm", "собака на траве"])
def test_what_the_vocabulary_cannot_read_is_junk(text: str, english: WordPiece) -> None:
    assert junk_reason(text) is None
    assert junk_reason(text, english) == "junk:vocabulary"


def test_unknown_share_counts_words(english: WordPiece) -> None:
    assert unknown_share("a red zxqvkw", english) == pytest.approx(1 / 3)
    assert unknown_share("一只猫", english) == 1
    assert unknown_share("123 !", english) == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ein brauner Hund läuft durch den hohen Schnee im Wald", "junk:language"),
        ("犬が雪の中を走っている", "junk:language"),
        ("a brown dog runs through the deep snow in the woods", None),
        ("ox", None),
    ],
)
def test_languages_that_are_not_wanted_are_junk_when_surely_told(text: str, reason: str | None) -> None:
    assert junk_reason(text, languages=("en",)) == reason
    assert junk_reason(text, languages=("en", "de", "ja")) is None
    assert junk_reason(text) is None
