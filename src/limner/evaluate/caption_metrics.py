"""How near captions are to what people wrote: BLEU-1..4, ROUGE-L and CIDEr-D, without Java.

Implements: the scorers of the COCO caption evaluation, on words of `ptb_tokens`: BLEU over the whole set
    with the closest reference length, ROUGE-L with β = 1.2, CIDEr-D with document frequencies of the
    references.
Differs: nothing but the tokenizer, see `limner.evaluate.ptb`.
Checked against: `pycocoevalcap`'s scorers (numbers in the tests) and slow loops from the definitions.

Source: Papineni et al. 2002 (BLEU); Lin 2004 (ROUGE); Vedantam et al. 2015 (CIDEr, arXiv 1411.5726); Chen
et al. 2015 (arXiv 1504.00325), section 3.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from limner.errors import DataError
from limner.evaluate.metrics import cider_d
from limner.evaluate.ptb import ptb_tokens

Words = Sequence[str]

MAX_N: Final = 4
_BETA: Final = 1.2
_TINY, _SMALL = 1e-15, 1e-9  # of the published code: nothing is divided by zero


class CaptionScores(NamedTuple):
    """Every metric of a set of captions that needs no Java and no model.

    Args:
        bleu_counts: what BLEU adds up, one row a picture; see `bleu`.
        rouge_l: one score a picture, [0, 1].
        cider_d: one score a picture, [0, 10].
    """

    bleu_counts: Int[np.ndarray, "n 10"]
    rouge_l: Float[np.ndarray, " n"]
    cider_d: Float[np.ndarray, " n"]


def caption_scores(found: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Score captions.

    Args:
        found: one caption a picture.
        references: one or more true captions a picture.
    Raises: DataError when the lengths differ or a picture has no reference.
    """
    words = [ptb_tokens(text) for text in found]
    true = [[ptb_tokens(text) for text in texts] for texts in references]
    cider = cider_d([" ".join(w) for w in words], [[" ".join(t) for t in ts] for ts in true], str.split)
    return CaptionScores(bleu_counts(words, true), rouge_l(words, true), cider.each)


def bleu_counts(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> Int[np.ndarray, "n 10"]:
    """What BLEU needs of each picture; rows may be resampled and summed.

    Args:
        candidates: words of one caption a picture.
        references: words of one or more true captions a picture.
    Returns: per picture four counts of n-grams that are right, four of n-grams, the caption's length and
        that of the reference nearest to it, of two the shorter.
    Raises: DataError when the lengths differ or a picture has no reference.
    """
    _check(candidates, references)
    rows = []
    for words, texts in zip(candidates, references, strict=True):
        most: Counter[tuple[str, ...]] = Counter()
        for text in texts:
            most |= ngrams(text)
        length = min((abs(len(text) - len(words)), len(text)) for text in texts)[1]
        rows.append(counts_row(words, most, length))
    return np.array(rows)


def counts_row(words: Words, most: Counter[tuple[str, ...]], length: int) -> list[int]:
    """One row of `bleu_counts`.

    Args:
        words: of the caption.
        most: how often each n-gram may count.
        length: of the nearest reference.
    """
    right = [0] * MAX_N
    for ngram, count in ngrams(words).items():
        right[len(ngram) - 1] += min(count, most[ngram])
    return [*right, *(max(0, len(words) - n) for n in range(MAX_N)), len(words), length]


def ngrams(words: Words) -> Counter[tuple[str, ...]]:
    """The n-grams of a text, n = 1..4, with how often each occurs."""
    return Counter(tuple(words[i : i + n]) for n in range(1, MAX_N + 1) for i in range(len(words) - n + 1))


def bleu(counts: Shaped[np.ndarray, "n 10"]) -> list[float]:
    """BLEU-1 to BLEU-4 of a set, from what `bleu_counts` found of its pictures.

    Args:
        counts: one row a picture; of one row it is that picture's own score.
    """
    total = counts.sum(0)
    precision = (total[:MAX_N] + _TINY) / (total[MAX_N : 2 * MAX_N] + _SMALL)
    ratio = (total[8] + _TINY) / (total[9] + _SMALL)
    brevity = np.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores = np.cumprod(precision) ** (1 / np.arange(1, MAX_N + 1)) * brevity
    return [float(score) for score in scores]


def rouge_l(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> Float[np.ndarray, " n"]:
    """ROUGE-L of each picture: best precision and best recall among its references, β = 1.2.

    Args:
        candidates: words of one caption a picture.
        references: words of one or more true captions a picture.
    Raises: DataError when the lengths differ or a picture has no reference.
    """
    _check(candidates, references)
    return np.array([_rouge(c or [""], r) for c, r in zip(candidates, references, strict=True)])


def _rouge(words: Words, texts: Sequence[Words]) -> float:
    """An empty text is one empty word, as in the published code."""
    common = [(longest_common(words, text or [""]), len(text) or 1) for text in texts]
    precision = max(length for length, _ in common) / len(words)
    recall = max(length / total for length, total in common)
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def longest_common(one: Words, other: Words) -> int:
    """Length of the longest common subsequence of two texts."""
    above = [0] * (len(other) + 1)
    for word in one:
        row = [0]
        for column, twin in enumerate(other):
            row.append(above[column] + 1 if word == twin else max(above[column + 1], row[column]))
        above = row
    return above[-1]


def _check(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> None:
    if not candidates or len(candidates) != len(references) or not all(_lengths(references)):
        raise DataError(
            f"{len(candidates)} captions, {len(references)} lists of references",
            wanted="one caption and one or more references a picture",
        )


def _lengths(references: Iterable[Sequence[Words]]) -> list[int]:
    return [len(texts) for texts in references]
