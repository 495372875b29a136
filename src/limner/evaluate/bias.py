"""Do groups of pictures get other labels, other words? Shares, tests and skews; arrays and strings only.

Implements: shares of labels per group with Wilson intervals; the chi-square statistic of a table of counts
with a permutation p-value; Benjamini and Hochberg's correction for many tests; log-odds of words between two
groups with an informative Dirichlet prior. Such numbers show that groups differ, never why.
Checked against: scipy (chi-square, false discovery rate, Wilson), and loops written from the definitions.

Source: Monroe et al. 2008 (Fightin' Words), equations 15 to 22; Radford et al. 2021, section 7.1, for probes
of labels by group.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from limner.errors import DataError

_Z = 1.959963984540054


class Share(NamedTuple):
    """How often something happens in a group, with Wilson's 95 % interval."""

    value: float
    low: float
    high: float
    number: int


def wilson(count: int, total: int) -> Share:
    """A share of a total, 1 or more, with an interval that never leaves [0, 1]."""
    p, z2 = count / total, _Z**2
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    reach = _Z / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    return Share(p, min(p, max(0.0, centre - reach)), max(p, min(1.0, centre + reach)), count)


def label_shares(labels: Sequence[str], groups: Sequence[str]) -> dict[str, dict[str, Share]]:
    """Group → label → its share in the group.

    Args:
        labels: of each picture.
        groups: of each picture.
    """
    counts = Counter(zip(groups, labels, strict=True))
    totals = Counter(groups)
    names = sorted(set(labels))
    return {
        group: {label: wilson(counts[group, label], totals[group]) for label in names}
        for group in sorted(totals)
    }


def chi_square(counts: Int[np.ndarray, "g k"]) -> float:
    """Pearson's statistic of a table; rows and columns without a count are left out."""
    table = counts[counts.sum(1) > 0][:, counts.sum(0) > 0].astype(np.float64)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def permutation_p(
    labels: Sequence[str], groups: Sequence[str], draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The chi-square statistic of labels by group, and how often shuffled groups reach it.

    Args:
        labels: of each picture.
        groups: of each picture.
        draws: shuffles; the p-value is at least 1 / (draws + 1).
        seed: of the shuffles.
    Raises: DataError when there is one group or one label alone.
    """
    own, k = np.unique(np.asarray(labels), return_inverse=True)
    kinds, g = np.unique(np.asarray(groups), return_inverse=True)
    if len(own) < 2 or len(kinds) < 2:
        raise DataError(f"{len(kinds)} group(s) and {len(own)} label(s)", wanted="at least two of each")

    def statistic(which: np.ndarray) -> float:
        flat = np.bincount(which * len(own) + k, minlength=len(kinds) * len(own))
        return chi_square(flat.reshape(len(kinds), len(own)))

    rng, value = np.random.default_rng(seed), statistic(g)
    reached = sum(statistic(rng.permutation(g)) >= value - 1e-9 for _ in range(draws))
    return value, (reached + 1) / (draws + 1)


def corrected(p_values: Sequence[float]) -> Float[np.ndarray, " n"]:
    """p-values after Benjamini and Hochberg: the least false discovery rate at which each would be told."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    result = np.empty_like(p)
    result[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return result


class Skew(NamedTuple):
    """How a word leans between two groups.

    Args:
        word: it.
        log_odds: of the first group over the second, shrunk by the prior; above 0 leans to the first.
        z: in standard errors.
        first: how often it is said of the first group.
        second: likewise.
    """

    word: str
    log_odds: float
    z: float
    first: int
    second: int


def term_skew(
    first: Sequence[str], second: Sequence[str], prior: float = 100.0, least: int = 3
) -> list[Skew]:
    """Log-odds ratios of the words of two sets of texts, with the words of both as prior.

    Args:
        first: texts of one group.
        second: texts of the other.
        prior: weight of the prior, in words.
        least: times a word must be said in all.
    Returns: the most skewed first, by |z|.
    Raises: DataError when a group says nothing.
    Source: Monroe et al. 2008, equations 15 (informative prior), 16 and 22.
    """
    one, other = _words(first), _words(second)
    both = one + other
    n, m, total = one.total(), other.total(), both.total()
    if not n or not m:
        raise DataError(f"{n} and {m} words", wanted="texts in both groups")
    found = []
    for word, count in both.items():
        if count < least:
            continue
        a = prior * count / total
        y, x = one[word] + a, other[word] + a
        odds = math.log(y / (n + prior - y)) - math.log(x / (m + prior - x))
        found.append(Skew(word, odds, odds / math.sqrt(1 / y + 1 / x), one[word], other[word]))
    return sorted(found, key=lambda skew: (-abs(skew.z), skew.word))


def two_sided(z: float) -> float:
    """p-value of a standard normal score."""
    return math.erfc(abs(z) / math.sqrt(2))


def _words(texts: Sequence[str]) -> Counter[str]:
    return Counter(word for text in texts for word in re.findall(r"\w+", text.lower()))
