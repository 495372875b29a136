"""BLEU, ROUGE-L and CIDEr-D equal `pycocoevalcap` (golden/captions.json) and loops from the definitions."""

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from limner.errors import DataError
from limner.evaluate.caption_metrics import bleu, bleu_counts, caption_scores, longest_common, rouge_l
from limner.evaluate.metrics import cider_d

GOLDEN = json.loads((Path(__file__).parent / "golden" / "captions.json").read_text(encoding="utf-8"))
FOUND = [text.split() for text in GOLDEN["candidates"]]
TRUE = [[text.split() for text in texts] for texts in GOLDEN["references"]]


def test_bleu_equals_the_published_scorer_on_the_set_and_on_each() -> None:
    counts = bleu_counts(FOUND, TRUE)
    assert bleu(counts) == pytest.approx(GOLDEN["bleu"], abs=1e-12)
    each = np.array([bleu(counts[i : i + 1]) for i in range(len(counts))])
    np.testing.assert_allclose(each.T, GOLDEN["bleu_each"], atol=1e-12)


def test_rouge_equals_the_published_scorer() -> None:
    np.testing.assert_allclose(rouge_l(FOUND, TRUE), GOLDEN["rouge_each"], atol=1e-12)


def test_cider_equals_the_published_scorer_on_the_same_words() -> None:
    found = cider_d(GOLDEN["candidates"], GOLDEN["references"], str.split)
    np.testing.assert_allclose(found.each, GOLDEN["cider_each"], atol=1e-12)
    assert found.mean == pytest.approx(GOLDEN["cider"], abs=1e-12)


def _slow_bleu(found: list[list[str]], true: list[list[list[str]]], n: int) -> float:
    """Papineni's equations with the closest length, one n-gram at a time."""

    def grams(words: list[str], k: int) -> list[str]:
        return [" ".join(words[i : i + k]) for i in range(len(words) - k + 1)]

    logs = 0.0
    for k in range(1, n + 1):
        right = guessed = 0
        for words, texts in zip(found, true, strict=True):
            own = grams(words, k)
            guessed += len(own)
            right += sum(min(own.count(g), max(grams(t, k).count(g) for t in texts)) for g in set(own))
        logs += math.log(right / guessed) / n
    said = sum(map(len, found))
    wanted = sum(
        min((abs(len(t) - len(w)), len(t)) for t in ts)[1] for w, ts in zip(found, true, strict=True)
    )
    return math.exp(logs) * (1.0 if said >= wanted else math.exp(1 - wanted / said))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_bleu_equals_the_equations(n: int) -> None:
    assert bleu(bleu_counts(FOUND, TRUE))[n - 1] == pytest.approx(_slow_bleu(FOUND, TRUE, n), abs=1e-8)


def test_of_two_references_as_near_the_shorter_counts() -> None:
    assert bleu_counts([["a", "b", "c"]], [[["a"] * 4, ["a"] * 2]])[0, 9] == 2


def test_the_longest_common_subsequence_equals_trying_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        one, other = (list(rng.choice(list("abc"), size=rng.integers(0, 7))) for _ in range(2))
        subsequences = {c for k in range(len(one) + 1) for c in combinations(one, k)}
        wanted = max(len(c) for c in subsequences if c in set(_all(other)))
        assert longest_common(one, other) == wanted


def _all(words: list[str]) -> list[tuple[str, ...]]:
    return [c for k in range(len(words) + 1) for c in combinations(words, k)]


def test_a_copy_of_a_reference_is_perfect_and_a_duplicate_reference_changes_nothing() -> None:
    scores = caption_scores(
        ["A dog runs on the beach.", "two cats"], [["a dog runs on the beach"], ["two cats"]]
    )
    assert bleu(scores.bleu_counts)[0] == pytest.approx(1, abs=1e-8)
    assert scores.rouge_l.tolist() == pytest.approx([1, 1])
    once, twice = ([["a cat sat", "cats"]], [["a cat sat", "cats", "cats"]])
    assert caption_scores(["a cat"], once).rouge_l == caption_scores(["a cat"], twice).rouge_l
    assert bleu(caption_scores(["a cat"], once).bleu_counts) == bleu(
        caption_scores(["a cat"], twice).bleu_counts
    )


def test_an_empty_caption_scores_nothing() -> None:
    scores = caption_scores(["", "a cat sat here"], [["a dog"], ["a cat sat here"]])
    assert scores.rouge_l.tolist() == pytest.approx([0, 1])
    assert scores.cider_d[0] == 0
    assert bleu(scores.bleu_counts[:1]) == pytest.approx([0] * 4, abs=1e-12)


@pytest.mark.parametrize(("found", "true"), [([], []), (["a"], []), (["a"], [[]])])
def test_captions_without_references_are_an_error(found: list[str], true: list[list[str]]) -> None:
    with pytest.raises(DataError, match="lists of references"):
        bleu_counts([f.split() for f in found], [[t.split() for t in ts] for ts in true])
    with pytest.raises(DataError, match="lists of references"):
        rouge_l([f.split() for f in found], [[t.split() for t in ts] for ts in true])
