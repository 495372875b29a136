"""Every chart is one well-formed SVG in the page's colours, whatever the numbers."""

from xml.etree import ElementTree

import numpy as np
import pytest

from limner.report import scrub_figures

RNG = np.random.default_rng(0)
DRAWN = {
    "sizes": lambda: scrub_figures.size_chart([10, 4000, 20], [20, 10, 20], "Sizes"),
    "one size": lambda: scrub_figures.size_chart([128], [128], "Sizes"),
    "aspects": lambda: scrub_figures.aspect_chart([1, 0.01, 300], "Aspects"),
    "squares": lambda: scrub_figures.aspect_chart([1, 1], "Aspects"),
    "words": lambda: scrub_figures.count_chart([0, 3, 5, 5000], "words", "texts", "Words"),
    "zeros": lambda: scrub_figures.count_chart([0, 0], "words", "texts", "Words"),
    "light": lambda: scrub_figures.light_chart({"light": [0, 1], "contrast": [0.5]}, "Light"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_one_themed_element(name):
    drawn = DRAWN[name]()
    assert ElementTree.fromstring(drawn).tag == "svg"
    assert "var(--blue)" in drawn
    assert "#0102" not in drawn


def test_a_large_table_makes_a_small_drawing():
    widths, heights = RNG.integers(10, 5000, (2, 100_000)).tolist()
    assert len(scrub_figures.size_chart(widths, heights, "Sizes")) < 400_000
