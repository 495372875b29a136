"""Metrics on plain arrays and strings; no torch, so that a report or a notebook can use them.

Implements: recall@k with several right candidates per query, AUROC, average precision, precision and recall
of a decision, CIDEr-D, exact match, and the bootstrap interval of a mean (paired when given differences).
Checked against: scikit-learn (AUROC, average precision), the published CIDEr-D scorer (numbers in the tests),
and slow loops written from the definitions.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from limner.errors import DataError
from limner.evaluate.ptb import ptb_tokens

Array = np.ndarray


def first_ranks(similarity: Float[Array, "q c"], positives: Bool[Array, "q c"]) -> Int[Array, " q"]:
    """Rank of each query's best right candidate, from 0.

    Among equal scores the larger index comes first (the order of BLIP's `argsort()[::-1]`), so that a
    constant score earns chance, not a perfect recall.

    Args:
        similarity: rows: queries, columns: candidates; finite.
        positives: True where the candidate is right; each row has at least one.
    Raises: DataError when a score is not finite or a query has no right candidate.
    """
    if not np.isfinite(similarity).all():
        raise DataError("a similarity is NaN or infinite", wanted="finite scores")
    if not positives.any(axis=1).all():
        raise DataError(
            f"query {int(np.argmin(positives.any(axis=1)))} has no right candidate", wanted="≥ 1 each"
        )
    last = similarity.shape[1] - 1
    masked = np.where(positives, similarity, -np.inf)
    chosen = last - np.argmax(masked[:, ::-1], axis=1)
    score = np.take_along_axis(similarity, chosen[:, None], axis=1)
    ahead = (similarity > score) | ((similarity == score) & (np.arange(last + 1) > chosen[:, None]))
    ranks: Array = ahead.sum(axis=1)
    return ranks


def recall_at_k(
    similarity: Float[Array, "q c"], positives: Bool[Array, "q c"], ks: Sequence[int] = (1, 5, 10)
) -> dict[int, float]:
    """Share of queries with a right candidate among the first k, in [0, 1], for each k.

    For pictures → texts pass a similarity of shape (pictures, texts); for texts → pictures both transposed.

    Args:
        similarity: see `first_ranks`.
        positives: see `first_ranks`.
        ks: how many candidates may be looked at.
    Source: CLIP section 3.1 and appendix; BLIP section 5.1.
    """
    ranks = first_ranks(similarity, positives)
    return {k: float(np.mean(ranks < k)) for k in ks}


def _checked(scores: Float[Array, " n"], labels: Shaped[Array, " n"]) -> Bool[Array, " n"]:
    truth = np.asarray(labels, dtype=bool)
    if truth.all() or not truth.any():
        raise DataError(
            f"{len(truth)} labels, {int(truth.sum())} of them true", wanted="both true and false labels"
        )
    if not np.isfinite(scores).all():
        raise DataError("a score is NaN or infinite", wanted="finite scores")
    return truth


def auroc(scores: Float[Array, " n"], labels: Shaped[Array, " n"]) -> float:
    """Area under the ROC curve: chance that a true item scores above a false one; ties count half.

    Args:
        scores: higher means more likely true; finite.
        labels: true or false.
    Raises: DataError when all labels are alike or a score is not finite.
    """
    scores = np.asarray(scores)
    truth = _checked(scores, labels)
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    positives = int(truth.sum())
    above = mean_rank[inverse][truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(truth) - positives)))


def average_precision(scores: Float[Array, " n"], labels: Shaped[Array, " n"]) -> float:
    """Area under the precision–recall curve as a sum of steps; equal scores are one step.

    Args:
        scores: higher means more likely true; finite.
        labels: true or false.
    Raises: DataError when all labels are alike or a score is not finite.
    """
    scores = np.asarray(scores)
    truth = _checked(scores, labels)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    recall_steps = np.diff(hits[ends], prepend=0) / hits[-1]
    return float(np.sum(recall_steps * hits[ends] / (ends + 1)))


class Decision(NamedTuple):
    """How good a yes/no decision is; a share of nothing is NaN."""

    precision: float
    recall: float
    f1: float


def decision_quality(decided: Bool[Array, " n"], truth: Bool[Array, " n"]) -> Decision:
    """Precision, recall and F1 of a decision.

    Args:
        decided: True where the item was picked (a text dropped, say).
        truth: True where it should have been.
    """
    hits, picked, wanted = (int(np.sum(x)) for x in (np.logical_and(decided, truth), decided, truth))
    return Decision(_share(hits, picked), _share(hits, wanted), _share(2 * hits, picked + wanted))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})
_TOKEN = re.compile(
    r"can(?=not\b)"  # cannot → can not
    r"|\d+(?:[.,:/]\d+)*(?:-?\w+)*"  # 3.5  1,000  10:30  5pm  3-d
    r"|(?!n't)\w+?(?=n't\b)|n't\b"  # isn't → is n't
    r"|'(?:s|m|d|re|ve|ll)\b"  # dog's → dog 's
    r"|o'\w+"  # o'clock
    r"|\w+(?:[-/&]+\w+)*"  # t-shirt  a/b
    r"|[^\w\s.,:;?!'\"`()\[\]{}…-]"  # symbols stay, punctuation goes
)


def caption_tokens(text: str) -> list[str]:
    """Cut an answer into words to compare it: lower case, contractions split, punctuation and brackets
    dropped.

    Captions are cut by `limner.evaluate.ptb.ptb_tokens`.
    """
    return _TOKEN.findall(text.lower().translate(_QUOTES))


_MAX_N = 4
_SIGMA = 6.0


class Cider(NamedTuple):
    """CIDEr-D of a set of captions.

    Args:
        mean: over the set, in [0, 10].
        each: one score a picture.
    """

    mean: float
    each: Float[Array, " n"]


def cider_d(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenize: Callable[[str], list[str]] = ptb_tokens,
) -> Cider:
    """CIDEr-D with n = 1..4, σ = 6 and the factor 10; document frequencies come from `references`.

    Equal to the published code, whose length in the Gaussian penalty is the number of bigrams. A set of one
    picture scores 0, since no word is then rarer than another.

    Args:
        candidates: one caption a picture.
        references: one or more true captions a picture.
        tokenize: cuts a text into words.
    Raises: DataError when the lengths differ or a picture has no reference.
    Source: Vedantam et al. 2015 (arXiv 1411.5726), section 4 and eq. 5.
    """
    if not candidates or len(candidates) != len(references) or not all(map(len, references)):
        raise DataError(
            f"{len(candidates)} captions, {len(references)} lists of references",
            wanted="one caption and one or more references a picture",
        )
    counted = [[_ngrams(tokenize(text)) for text in texts] for texts in references]
    frequency = Counter(ngram for texts in counted for ngram in set().union(*texts))
    unseen = float(np.log(len(candidates)))
    rarity = {ngram: unseen - float(np.log(count)) for ngram, count in frequency.items()}
    scores = []
    for text, texts in zip(candidates, counted, strict=True):
        candidate = _Weights.of(_ngrams(tokenize(text)), rarity, unseen)
        scores.append(np.mean([candidate.likeness(_Weights.of(t, rarity, unseen)) for t in texts]))
    each = np.array(scores)
    return Cider(float(each.mean()), each)


def _ngrams(words: list[str]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for n in range(1, _MAX_N + 1) for i in range(len(words) - n + 1))


class _Weights(NamedTuple):
    """The tf-idf vector of a text, one part for each n-gram length."""

    parts: list[dict[tuple[str, ...], float]]
    norms: list[float]
    bigrams: int

    @classmethod
    def of(
        cls, counts: Counter[tuple[str, ...]], rarity: dict[tuple[str, ...], float], unseen: float
    ) -> "_Weights":
        parts: list[dict[tuple[str, ...], float]] = [{} for _ in range(_MAX_N)]
        for ngram, count in counts.items():
            parts[len(ngram) - 1][ngram] = count * rarity.get(ngram, unseen)
        norms = [math.sqrt(sum(w * w for w in part.values())) for part in parts]
        return cls(parts, norms, sum(count for ngram, count in counts.items() if len(ngram) == 2))

    def likeness(self, reference: "_Weights") -> float:
        total = 0.0
        for part, true_part, norm, true_norm in zip(
            self.parts, reference.parts, self.norms, reference.norms, strict=True
        ):
            shared = sum(min(w, true_part[g]) * true_part[g] for g, w in part.items() if g in true_part)
            total += shared / (norm * true_norm) if norm and true_norm else 0.0
        penalty = math.exp(-((self.bigrams - reference.bigrams) ** 2) / (2 * _SIGMA**2))
        return 10.0 * penalty * total / _MAX_N


def accuracy(predictions: Sequence[str], accepted: Sequence[Sequence[str]]) -> Float[Array, " n"]:
    """1 where a prediction equals an accepted answer, word by word, else 0; the mean is the accuracy.

    Args:
        predictions: one text each.
        accepted: the right answers of each; case and punctuation do not matter.
    """
    return np.array(
        [
            float(caption_tokens(prediction) in map(caption_tokens, answers))
            for prediction, answers in zip(predictions, accepted, strict=True)
        ]
    )


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def bootstrap_interval(
    values: Float[Array, "n ..."],
    seed: int,
    statistic: Callable[[Array], float] = np.mean,
    level: float = 0.95,
    resamples: int = 1000,
) -> Interval:
    """Percentile bootstrap interval of a statistic over items.

    For a paired comparison pass the differences item by item: an interval that holds 0 is no gain.

    Args:
        values: one row an item; rows are resampled with replacement.
        seed: of the resampling.
        statistic: of one resample, as a number.
        level: coverage, (0, 1).
        resamples: how many.
    Raises: DataError when there are no values.
    Source: Efron 1979 (Ann. Statist. 7), percentile method.
    """
    values = np.asarray(values)
    if not len(values):
        raise DataError("no values to resample", wanted="one or more")
    rng = np.random.default_rng(seed)
    draws = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
