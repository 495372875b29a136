"""The page of a study."""

import io
import math

import numpy as np
from PIL import Image

from limner.report.human import difficulty_chart, shots_in_words, write_human

REPORT = {
    "classes": ["cat", "dog", "<owl>"],
    "parts": [
        {
            "shots": 0,
            "people": 1,
            "answers": 9,
            "scores": {
                "accuracy": 0.5,
                "majority": 0.625,
                "guess_accuracy": math.nan,
                "guess_majority": 0.75,
                "guesses": 0.875,
            },
            "each": {"<b>Ann</b>": 0.5},
            "consistency": math.nan,
        }
    ],
    "class_scores": {0: [1.0, math.nan, 0.5]},
    "models": [
        {
            "name": "clip",
            "shots": 0,
            "accuracy": 0.25,
            "classes": [1.0, 0.5, 0.0],
            "difficulty": {"value": math.nan, "p": math.nan, "pairs": 2},
            "consistency": 0.125,
        }
    ],
    "hardest": [{"key": "k1", "class": "cat", "right": 0.0, "said": ["dog"]}],
}


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_the_page_shows_scores_models_and_pictures(tmp_path):
    page = write_human(tmp_path / "report.html", "pets", REPORT, {"k1": picture()}).read_text()
    for shown in ("50.0 %", "62.5 %", "+0.12", "87.5 %", "data:image/webp", "said instead: dog", "2 classes"):
        assert shown in page
    assert "nan" not in page.lower().replace("name", "")
    assert "<b>Ann</b>" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_a_page_without_answers_says_so(tmp_path):
    empty = {"classes": ["cat", "dog"], "parts": [], "class_scores": {}, "models": [], "hardest": []}
    page = write_human(tmp_path / "report.html", "pets", empty, {}).read_text()
    assert "Nobody has answered yet" in page
    assert "No model was asked" in page


def test_the_classes_that_differ_most_are_named():
    drawn = difficulty_chart(np.array([0.1, 0.9, 0.5]), np.array([0.9, 0.1, 0.5]), ["cat", "dog", "owl"], "t")
    assert drawn.startswith("<svg")
    assert "cat" in drawn
    drawn = difficulty_chart(np.array([0.5, 0.5]), np.array([0.0, 0.0]), ["cat", "dog"], "t")
    assert "cat, dog" in drawn


def test_parts_in_words():
    assert [shots_in_words(n) for n in (0, 1, 2)] == [
        "no examples",
        "1 example a class",
        "2 examples a class",
    ]
