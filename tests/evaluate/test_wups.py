"""DAQUAR's measures against a loop from the equation."""

import random

import pytest

from limner.evaluate.wups import set_accuracy, words_of, wups

LIKE = {
    frozenset(("chair", "armchair")): 0.95,
    frozenset(("table", "chair")): 0.7,
    frozenset(("bin", "chair")): 0.4,
}
WORDS = ["chair", "armchair", "table", "bin"]


def alike(one, other):
    return LIKE.get(frozenset((one, other)), 0.1)


def slow(said, answer, threshold):
    """min of two products over the words of either side of the best likeness on the other."""

    def mu(a, t):
        value = 1 if a == t else alike(a, t)
        return value if value >= threshold else 0.1 * value

    one = two = 1.0
    for a in said:
        one *= max(mu(a, t) for t in answer)
    for t in answer:
        two *= max(mu(a, t) for a in said)
    return min(one, two)


@pytest.mark.parametrize("threshold", [0.0, 0.9])
def test_wups_is_that_of_the_equation(threshold):
    rng = random.Random(1)
    for _ in range(100):
        said, answer = (rng.sample(WORDS, rng.randint(1, 3)) for _ in range(2))
        found = wups(", ".join(said), ",".join(answer), alike, threshold)
        assert found == pytest.approx(slow(said, answer, threshold))


def test_words_are_a_set():
    assert words_of("Garbage_bin, sofa ,sofa") == ("garbage bin", "sofa")
    assert words_of("garbage _ bin") == ("garbage bin",)
    assert set_accuracy("sofa, bin", "bin, sofa") == 1
    assert set_accuracy("sofa", "bin, sofa") == 0
    assert wups("", "bin", alike) == 0
    assert wups("bin", "bin", alike, 0.9) == 1
    assert wups("armchair", "chair", alike, 0.9) == 0.95
    assert wups("table", "chair", alike, 0.9) == pytest.approx(0.07)
