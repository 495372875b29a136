import re
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from limner.data.concepts import BY_NAME
from limner.data.scene_language import NUMBERS, Scenery
from limner.data.scene_pairs import Pairing
from limner.data.scenes import SceneSettings, plan_scene


@pytest.fixture(scope="module")
def truths() -> list[Scenery]:
    return [plan_scene(SceneSettings(seed=33), index).truth for index in range(600)]


def _judge(text: str, left: Scenery, right: Scenery) -> tuple[str, bool]:
    """The form of a statement and whether it holds, by counting things."""
    forms = {form: name for name, concept in BY_NAME.items() for form in (name, concept.plural)}
    sides = {"left": left, "right": right}

    def count(side: str, noun: str) -> int:
        return sum(thing.concept == forms[noun] for thing in sides[side].things)

    def other(side: str) -> str:
        return "right" if side == "left" else "left"

    def more(noun: str, side: str, far: str) -> bool:
        assert far == other(side)
        return count(side, noun) > count(far, noun)

    side = "(left|right)"
    forms_of_statement: dict[str, Callable[..., bool]] = {
        r"both pictures show an? (.+)": lambda n: count("left", n) > 0 and count("right", n) > 0,
        r"neither picture shows an? (.+)": lambda n: count("left", n) + count("right", n) == 0,
        rf"only the {side} picture shows an? (.+)": lambda s, n: count(s, n) > 0 == count(other(s), n),
        rf"there are more (.+) in the {side} picture than in the {side} picture": more,
        r"there (?:is|are) exactly (\w+) (.+) in the two pictures together": lambda number, n: (
            count("left", n) + count("right", n) == NUMBERS.index(number)
        ),
        r"the two pictures have the same background colour": lambda: left.ground == right.ground,
        r"the two pictures have different background colours": lambda: left.ground != right.ground,
    }
    for pattern, holds in forms_of_statement.items():
        if found := re.fullmatch(pattern, text):
            return pattern, holds(*found.groups())
    raise AssertionError(text)


def test_statements_are_what_they_say_and_every_form_is_as_often_true_as_false(truths: list[Scenery]):
    pairing, seen = Pairing(truths), Counter[tuple[str, bool]]()
    for row in range(len(truths)):
        for statement in pairing.statements(row, Random(row), count=4):
            assert statement.other != row
            form, truth = _judge(statement.text, truths[row], truths[statement.other])
            assert truth is statement.truth, statement
            seen[form, truth] += 1
    forms = {form for form, _ in seen}
    assert len(forms) == 7
    for form in forms:
        true, false = seen[form, True], seen[form, False]
        assert 0.4 < true / (true + false) < 0.6, form


def test_the_same_stream_says_the_same(truths: list[Scenery]):
    pairing = Pairing(truths)
    assert (
        pairing.statements(3, Random(1))
        == pairing.statements(3, Random(1))
        != pairing.statements(3, Random(2))
    )


def test_two_scenes_are_enough(truths: list[Scenery]):
    found = Pairing(truths[:2]).statements(0, Random(0), count=30)
    assert {statement.other for statement in found} == {1}
    assert {statement.truth for statement in found} == {True, False}
