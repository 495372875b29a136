import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from limner.errors import DataError
from limner.evaluate.metrics import (
    accuracy,
    auroc,
    average_precision,
    bootstrap_interval,
    caption_tokens,
    cider_d,
    decision_quality,
    first_ranks,
    recall_at_k,
)

CANDIDATES = ["an owl and two fish", "a red bus left of a tree", "two dogs and a dog", "the moon"]
REFERENCES = [
    ["an owl and two fish", "two fish with an owl"],
    ["a bus to the left of a tree", "a red bus left of a tree", "one bus and one tree"],
    ["three dogs"],
    ["a yellow banana above the moon on a blue ground", "a banana over a moon"],
]
PUBLISHED_MEAN = 3.383578049180071
PUBLISHED_EACH = [6.709652289093, 5.126119609536, 0.833881191794, 0.864659106297]


def _slow_rank(scores: list[float], positives: list[bool]) -> int:
    order = sorted(range(len(scores)), key=lambda i: (scores[i], i), reverse=True)
    return next(rank for rank, i in enumerate(order) if positives[i])


def test_ranks_equal_a_sort_with_ties_and_several_right_captions() -> None:
    rng = np.random.default_rng(0)
    similarity = rng.integers(0, 6, size=(50, 20)) / 4
    positives = rng.random((50, 20)) < 0.15
    positives[np.arange(50), rng.integers(20, size=50)] = True
    wanted = [_slow_rank(s.tolist(), p.tolist()) for s, p in zip(similarity, positives, strict=True)]
    assert first_ranks(similarity, positives).tolist() == wanted


def test_recall_by_hand_in_both_directions() -> None:
    owners = np.array([0, 0, 1, 1])
    similarity = np.array([[0.1, 0.9, 0.2, 0.8], [0.5, 0.7, 0.6, 0.3]])
    positives = np.arange(2)[:, None] == owners
    # Picture 0 finds its caption 1 first; picture 1 has caption 1 of the other picture before its own.
    assert recall_at_k(similarity, positives, (1, 2)) == {1: 0.5, 2: 1.0}
    # Captions 1 and 2 prefer their own picture, 0 and 3 the other one.
    assert recall_at_k(similarity.T, positives.T, (1, 2)) == {1: 0.5, 2: 1.0}


def test_a_constant_score_earns_chance() -> None:
    recall = recall_at_k(np.zeros((100, 100)), np.eye(100, dtype=bool))
    assert recall == {1: 0.01, 5: 0.05, 10: 0.1}


def test_bad_retrieval_inputs_are_errors() -> None:
    with pytest.raises(DataError, match="NaN or infinite"):
        first_ranks(np.array([[np.nan, 1.0]]), np.array([[True, False]]))
    with pytest.raises(DataError, match="query 1 has no right candidate"):
        first_ranks(np.zeros((2, 2)), np.array([[True, False], [False, False]]))


@pytest.mark.parametrize("levels", [3, 1000])
def test_auroc_and_average_precision_equal_sklearn_with_and_without_ties(levels: int) -> None:
    rng = np.random.default_rng(levels)
    labels = rng.random(300) < 0.3
    scores = rng.integers(levels, size=300) / levels + 0.3 * labels
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


def test_auroc_equals_the_double_loop_over_pairs() -> None:
    scores, labels = [0.1, 0.4, 0.4, 0.9, 0.2], [False, True, False, True, False]
    wins = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p, is_true in zip(scores, labels, strict=True)
        if is_true
        for n, other in zip(scores, labels, strict=True)
        if not other
    ]
    assert auroc(np.array(scores), np.array(labels)) == pytest.approx(sum(wins) / len(wins))


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_a_ranking_of_one_class_or_of_nan_is_an_error(metric) -> None:
    with pytest.raises(DataError, match="3 labels, 3 of them true"):
        metric(np.arange(3.0), np.ones(3))
    with pytest.raises(DataError, match="NaN or infinite"):
        metric(np.array([np.nan, 1.0]), np.array([True, False]))


def test_decision_quality_equals_sklearn_and_says_nan_for_nothing() -> None:
    rng = np.random.default_rng(0)
    decided, truth = rng.random(80) < 0.4, rng.random(80) < 0.3
    wanted = precision_recall_fscore_support(truth, decided, average="binary")[:3]
    assert decision_quality(decided, truth) == pytest.approx(wanted)
    nothing = decision_quality(np.zeros(80, dtype=bool), truth)
    assert math.isnan(nothing.precision)
    assert nothing.recall == 0.0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A dog's bone, isn't it?", ["a", "dog", "'s", "bone", "is", "n't", "it"]),
        ("don't can't cannot won't", ["do", "n't", "ca", "n't", "can", "not", "wo", "n't"]),
        ("I’m sure they’re at 5 o'clock!", ["i", "'m", "sure", "they", "'re", "at", "5", "o'clock"]),
        ("a T-shirt -- “3-D”, 3.5 of 1,000", ["a", "t-shirt", "3-d", "3.5", "of", "1,000"]),
        ("$5 (five) & café #1 …", ["$", "5", "five", "&", "café", "#", "1"]),
        (" ...", []),
    ],
)
def test_caption_tokens(text: str, tokens: list[str]) -> None:
    assert caption_tokens(text) == tokens


def _slow_cider(candidates: list[str], references: list[list[str]], picture: int) -> float:
    """The paper's equations, one n-gram at a time; length counted in bigrams as the published code does."""

    def grams(text: str, n: int) -> list[str]:
        words = text.split()
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    def g(text: str, n: int, gram: str) -> float:
        df = sum(any(gram in grams(ref, n) for ref in refs) for refs in references)
        return grams(text, n).count(gram) * math.log(len(references) / max(1, df))

    def norm(text: str, n: int) -> float:
        return math.sqrt(sum(g(text, n, gram) ** 2 for gram in set(grams(text, n))))

    total = 0.0
    candidate = candidates[picture]
    for n in range(1, 5):
        for reference in references[picture]:
            dot = sum(
                min(g(candidate, n, gram), g(reference, n, gram)) * g(reference, n, gram)
                for gram in set(grams(candidate, n)) | set(grams(reference, n))
            )
            length = len(grams(candidate, 2)) - len(grams(reference, 2))
            if dot:
                cosine = dot / (norm(candidate, n) * norm(reference, n))
                total += 10 * math.exp(-(length**2) / (2 * 6**2)) * cosine / len(references[picture])
    return total / 4


def test_cider_d_equals_the_loop_from_the_paper() -> None:
    each = cider_d(CANDIDATES, REFERENCES).each
    assert each.tolist() == pytest.approx(
        [_slow_cider(CANDIDATES, REFERENCES, i) for i in range(4)], abs=1e-12
    )


def test_cider_d_equals_the_published_scorer() -> None:
    score = cider_d(CANDIDATES, REFERENCES)
    assert score.mean == pytest.approx(PUBLISHED_MEAN, abs=1e-12)
    assert score.each.tolist() == pytest.approx(PUBLISHED_EACH, abs=1e-11)


def test_a_caption_equal_to_its_only_reference_scores_ten() -> None:
    texts = ["a cat on a red mat", "two blue fish near one owl"]
    assert cider_d(texts, [[t] for t in texts]).each.tolist() == pytest.approx([10.0, 10.0])


def test_a_short_or_empty_or_alien_caption_scores_by_hand() -> None:
    references = [["cat"], ["dog"], ["owl"]]
    # Only unigrams exist: one of the four cosines is 1.
    assert cider_d(["cat", "", "bus"], references).each.tolist() == pytest.approx([2.5, 0.0, 0.0])


def test_cider_d_of_one_picture_is_zero_as_no_word_is_rare() -> None:
    assert cider_d(["a cat"], [["a cat"]]).mean == 0.0


@pytest.mark.parametrize(("candidates", "references"), [([], []), (["a"], []), (["a"], [[]])])
def test_captions_without_references_are_an_error(candidates: list[str], references: list[list[str]]) -> None:
    with pytest.raises(DataError, match="lists of references"):
        cider_d(candidates, references)


def test_accuracy_ignores_case_and_punctuation_only() -> None:
    given = accuracy(["Yes.", "two", "a red bus", ""], [["yes"], ["2", "Two"], ["a bus"], ["no"]])
    assert given.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_bootstrap_interval_of_a_mean_is_near_the_normal_one_and_repeats() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    interval = bootstrap_interval(values, seed=1)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - half, abs=0.04)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.04)
    assert interval == bootstrap_interval(values, seed=1)


def test_bootstrap_takes_a_statistic_of_rows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.5
    rows = np.stack([rng.normal(size=200) + labels, labels], axis=1)
    interval = bootstrap_interval(rows, 0, lambda r: auroc(r[:, 0], r[:, 1]), resamples=200)
    assert interval.low < auroc(rows[:, 0], labels) < interval.high


def test_bootstrap_of_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="no values"):
        bootstrap_interval(np.array([]), 0)
