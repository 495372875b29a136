"""True and false statements about two scenes side by side, in even parts.

The left picture is the row that carries the statement, the right one the row it names.
"""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from limner.data.concepts import BY_NAME, CONCEPTS
from limner.data.scene_language import NUMBERS, Scenery, with_article


class Statement(NamedTuple):
    """A sentence about this picture (left) and another (right).

    Args:
        other: position of the right picture.
        text: the sentence, without a full stop.
        truth: whether it holds.
    """

    other: int
    text: str
    truth: bool


class Pairing:
    """Writes statements about pairs of the given scenes.

    Args:
        truths: two scenes or more.
    """

    def __init__(self, truths: Sequence[Scenery]) -> None:
        self._truths = truths
        self._showing: dict[str, list[int]] = {}
        for row, truth in enumerate(truths):
            for concept in dict.fromkeys(thing.concept for thing in truth.things):
                self._showing.setdefault(concept, []).append(row)

    def statements(self, row: int, rng: Random, count: int = 2) -> list[Statement]:
        """Write statements about one scene and others; of every form as many hold as do not.

        Args:
            row: position of the left picture.
            rng: chooses partners, forms and whether a statement is to hold.
            count: how many.
        """
        found: list[Statement] = []
        while len(found) < count:
            wanted = rng.random() < 0.5
            if statement := self._statement(row, rng.choice(_FORMS), wanted, rng):
                found.append(statement)
        return found

    def _statement(self, row: int, form: "Form", wanted: bool, rng: Random) -> Statement | None:
        for _ in range(200):
            other = self._partner(row, rng)
            text = form(_Pair(self._truths[row], self._truths[other]), wanted, rng) if other != row else ""
            if text:
                return Statement(other, text, wanted)
        return None

    def _partner(self, row: int, rng: Random) -> int:
        """Any scene, or half of the time one that shows something this one shows."""
        if rng.random() < 0.5:
            return rng.choice(self._showing[rng.choice(self._truths[row].things).concept])
        return rng.randrange(len(self._truths))


class _Pair:
    """What two scenes hold, counted by concept."""

    def __init__(self, left: Scenery, right: Scenery) -> None:
        self.left, self.right = left, right
        self.left_counts, self.right_counts = _counts(left), _counts(right)

    def counts(self, concept: str) -> tuple[int, int]:
        return self.left_counts.get(concept, 0), self.right_counts.get(concept, 0)

    @property
    def concepts(self) -> list[str]:
        return sorted({*self.left_counts, *self.right_counts})


def _counts(truth: Scenery) -> dict[str, int]:
    return {group.concept: group.number for group in truth.groups()}


def _some(concept: str) -> str:
    return with_article(concept)


def _both(pair: _Pair, wanted: bool, rng: Random) -> str:
    shared = sorted({*pair.left_counts} & {*pair.right_counts})
    single = [concept for concept in pair.concepts if concept not in shared]
    choice = shared if wanted else single
    return f"both pictures show {_some(rng.choice(choice))}" if choice else ""


def _only_one(pair: _Pair, wanted: bool, rng: Random) -> str:
    side, mine, theirs = rng.choice(
        [("left", pair.left_counts, pair.right_counts), ("right", pair.right_counts, pair.left_counts)]
    )
    true = sorted({*mine} - {*theirs})
    choice = true if wanted else [concept for concept in pair.concepts if concept not in true]
    return f"only the {side} picture shows {_some(rng.choice(choice))}" if choice else ""


def _neither(pair: _Pair, wanted: bool, rng: Random) -> str:
    absent = [concept.name for concept in CONCEPTS if concept.name not in pair.concepts]
    return f"neither picture shows {_some(rng.choice(absent if wanted else pair.concepts))}"


def _more(pair: _Pair, wanted: bool, rng: Random) -> str:
    side, far = rng.choice([("left", "right"), ("right", "left")])
    sign = 1 if side == "left" else -1
    choice = [c for c in pair.concepts if (sign * (pair.counts(c)[0] - pair.counts(c)[1]) > 0) == wanted]
    if not choice:
        return ""
    plural = BY_NAME[rng.choice(choice)].plural
    return f"there are more {plural} in the {side} picture than in the {far} picture"


def _ground(pair: _Pair, wanted: bool, rng: Random, *, same: bool) -> str:
    if ((pair.left.ground == pair.right.ground) == same) != wanted:
        return ""
    return f"the two pictures have {'the same background colour' if same else 'different background colours'}"


def _in_all(pair: _Pair, wanted: bool, rng: Random, *, number: int) -> str:
    choice = [concept for concept in pair.concepts if (sum(pair.counts(concept)) == number) == wanted]
    if not choice:
        return ""
    concept = rng.choice(choice)
    verb, noun = ("is", concept) if number == 1 else ("are", BY_NAME[concept].plural)
    return f"there {verb} exactly {NUMBERS[number]} {noun} in the two pictures together"


Form = Callable[[_Pair, bool, Random], str]
_FORMS: tuple[Form, ...] = (
    _both,
    _both,
    _only_one,
    _neither,
    _more,
    _more,
    partial(_ground, same=True),
    partial(_ground, same=False),
    *(partial(_in_all, number=number) for number in (1, 2, 3)),
)
