"""Do captions repeat themselves, and what was learnt? Diversity and novelty of a set of texts.

Implements: distinct-n, the share of different captions, vocabulary, self-BLEU, and the share of captions
    that are not among the texts of training. BLIP's paper reports none of them.
Checked against: loops from the definitions.

Source: Li et al. 2016 (distinct-n, arXiv 1510.03055); Zhu et al. 2018 (self-BLEU, arXiv 1802.01886).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from limner.errors import DataError
from limner.evaluate.caption_metrics import MAX_N, Words, bleu, counts_row, ngrams
from limner.evaluate.ptb import ptb_tokens


def diversity(found: Sequence[str]) -> dict[str, float]:
    """How varied a set of captions is.

    Args:
        found: the captions.
    Returns: `distinct_1` to `distinct_4`, different n-grams over n-grams (0 where there are none);
        `different`, the share of captions that no earlier one equals; `vocabulary`, different words;
        `length`, words a caption; `self_bleu`, see there (left out for a single caption).
    Raises: DataError when there are none.
    """
    if not found:
        raise DataError("no captions", wanted="one or more")
    texts = [ptb_tokens(text) for text in found]
    counted: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        counted += ngrams(text)
    kinds, total = np.zeros(MAX_N), np.zeros(MAX_N)
    for ngram, count in counted.items():
        kinds[len(ngram) - 1] += 1
        total[len(ngram) - 1] += count
    share = kinds / np.maximum(total, 1)
    return {
        **{f"distinct_{n + 1}": float(share[n]) for n in range(MAX_N)},
        "different": len({tuple(text) for text in texts}) / len(texts),
        "vocabulary": float(kinds[0]),
        "length": float(np.mean([len(text) for text in texts])),
        **({"self_bleu": float(self_bleu(texts).mean())} if len(texts) > 1 else {}),
    }


def self_bleu(texts: Sequence[Words]) -> Float[np.ndarray, " n"]:
    """BLEU-4 of each text with all others as its references: 1 where another is the same.

    Args:
        texts: words of each, two or more.
    """
    counted = [ngrams(text) for text in texts]
    first, second = _two_largest(counted)
    lengths = sorted(len(text) for text in texts)
    scores = []
    for text, own in zip(texts, counted, strict=True):
        most = Counter({g: second[g] if first[g] == count else first[g] for g, count in own.items()})
        row = counts_row(text, most, _nearest_other(lengths, len(text)))
        scores.append(bleu(np.array([row]))[-1])
    return np.array(scores)


def _two_largest(
    counted: Iterable[Counter[tuple[str, ...]]],
) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    """For each n-gram its largest count in a text, and its largest in another text."""
    first: Counter[tuple[str, ...]] = Counter()
    second: Counter[tuple[str, ...]] = Counter()
    for own in counted:
        for ngram, count in own.items():
            if count > first[ngram]:
                first[ngram], second[ngram] = count, first[ngram]
            elif count > second[ngram]:
                second[ngram] = count
    return first, second


def _nearest_other(lengths: list[int], own: int) -> int:
    """The length nearest to `own` among the others, of two the shorter; `lengths` is sorted."""
    place = bisect_left(lengths, own)
    others = lengths[max(0, place - 1) : place] + lengths[place + 1 : place + 2]
    return min((abs(length - own), length) for length in others)[1]


def unseen(found: Sequence[str], training: Iterable[str]) -> Float[np.ndarray, " n"]:
    """1 for each caption whose words are those of no text of training, else 0; the mean is the novelty.

    Args:
        found: the captions.
        training: all texts that were trained on.
    """
    known = {tuple(ptb_tokens(text)) for text in training}
    return np.array([float(tuple(ptb_tokens(text)) not in known) for text in found])
