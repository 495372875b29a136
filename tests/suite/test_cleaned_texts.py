"""Diversity and decodings against loops."""

import numpy as np
import pytest

from limner.evaluate.caption_diversity import diversity
from limner.suite.cleaned import read_cleaned
from limner.suite.cleaned_texts import decodings, varied


def test_sets_of_one_size_and_what_is_new(make_cleaned):
    table = make_cleaned()
    cleaned = read_cleaned(table)
    found = varied(cleaned)
    smallest = min(one["of"] for one in found["sets"].values())
    assert found["texts"] == smallest
    assert {"web", "web, kept", "synthetic", "synthetic, kept", "beam", "nucleus"} == set(found["sets"])
    assert found["sets"]["web"]["novelty"] is None
    assert found["sets"]["synthetic"]["novelty"] == 1.0
    whole = [text.text for name in ("web",) for text in cleaned.of(name)]
    if len(whole) == smallest:
        assert found["sets"]["web"]["distinct_1"] == diversity(whole)["distinct_1"]
    assert ["blue", 23] in found["new_words"]
    assert ["green", 23] in found["new_words"]
    assert "ball" not in dict(found["new_words"])
    assert ["a blue ball of 1", 5] in found["repeated"]["synthetic"]


def test_a_small_set_is_measured_whole(make_cleaned):
    cleaned = read_cleaned(make_cleaned(two=False))
    found = varied(cleaned)
    name, one = min(found["sets"].items(), key=lambda item: item[1]["of"])
    side = name.split(",")[0]
    texts = [text.text for text in cleaned.of(side) if "kept" not in name or text.kept]
    assert {key: one[key] for key in diversity(texts)} == pytest.approx(diversity(texts))


def test_decodings_side_by_side(make_cleaned):
    table = make_cleaned()
    found = decodings(read_cleaned(table))
    rows = [r for r in table.rows(range(24), ["itm_synthetic", "decision_synthetic"]) if r["itm_synthetic"]]
    kept = [row["decision_synthetic"][1] == "keep" for row in rows]
    assert found["each"]["beam"]["kept"]["value"] == pytest.approx(np.mean(kept))
    assert found["each"]["nucleus"]["itm"]["value"] == pytest.approx(
        np.mean([r["itm_synthetic"][0] for r in rows])
    )
    wins = [row["itm_synthetic"][1] > row["itm_synthetic"][0] for row in rows]
    assert (found["pictures"], found["better"]["beam"]) == (23, pytest.approx(np.mean(wins)))
    assert found["better"]["nucleus"] + found["better"]["beam"] + found["alike"] == pytest.approx(1)
    assert found["each"]["beam"]["log_prob"] == -1.0


def test_one_decoding_has_nothing_to_compare(make_cleaned):
    assert decodings(read_cleaned(make_cleaned(two=False))) is None
