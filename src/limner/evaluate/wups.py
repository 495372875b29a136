"""DAQUAR's accuracy and WUPS: answers that are sets of words, right in full or by how alike the words are.

Implements: accuracy of whole sets, and WUPS at a threshold below which likeness counts a tenth.
Differs: nothing known; words are compared without underscores, "garbage_bin" is "garbage bin".
Checked against: a loop from the equation, a taxonomy made by hand.

Source: Malinowski & Fritz 2014 (arXiv 1410.0210), section 5 and eq. 8; their released script for the weight
0.1 of an unlike pair.
"""

import math
import re
from collections.abc import Callable, Sequence

Similarity = Callable[[str, str], float]
"""How alike two words are, [0, 1]; `WordNet.similarity` is one."""

_FAR = 0.1


def words_of(answer: str) -> tuple[str, ...]:
    """The words of an answer such as "garbage_bin, sofa", sorted, each once."""
    words = (re.sub(r"[\s_]+", " ", word).strip().lower() for word in answer.split(","))
    return tuple(sorted({word for word in words if word}))


def set_accuracy(said: str, answer: str) -> float:
    """1 where both name the same words, in whatever order, else 0."""
    return float(words_of(said) == words_of(answer))


def wups(said: str, answer: str, similarity: Similarity, threshold: float = 0.9) -> float:
    """WUPS of one answer, [0, 1].

    Args:
        said: words with commas between them.
        answer: the right ones.
        similarity: of two words.
        threshold: a pair less alike than this counts a tenth of its likeness; 0 takes likeness as it is.
    Source: eq. 8; WUPS of a set of answers is the mean.
    """

    def likeness(one: str, other: str) -> float:
        value = 1.0 if one == other else similarity(one, other)
        return value if value >= threshold else _FAR * value

    def covered(these: Sequence[str], those: Sequence[str]) -> float:
        return math.prod(max((likeness(one, other) for other in those), default=0.0) for one in these)

    mine, theirs = words_of(said), words_of(answer)
    if not mine or not theirs:
        return float(mine == theirs)
    return min(covered(mine, theirs), covered(theirs, mine))
