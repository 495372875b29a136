import re
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from limner.data.concepts import BY_NAME
from limner.data.scene_language import (
    GROUNDS,
    NUMBERS,
    RELATIONS,
    Scenery,
    Thing,
    captions,
    holds,
    is_exact,
    nouns_in,
    nouns_right,
    parse,
    questions,
    with_article,
)
from limner.data.scenes import SceneSettings, plan_scene

LEFT, RIGHT, TOP, BOTTOM = (5, 40, 45, 80), (80, 45, 120, 85), (40, 5, 80, 45), (42, 80, 82, 120)
UPPER, LOWER = (80, 5, 120, 45), (78, 70, 120, 110)
OWL_AND_FISH = Scenery((Thing("owl", "", LEFT), Thing("fish", "", UPPER), Thing("fish", "", LOWER)), "blue")
HEARTS = Scenery((Thing("heart", "red", TOP), Thing("heart", "red", BOTTOM)), "orange")
STACK = Scenery((Thing("palm tree", "", TOP), Thing("bus", "", BOTTOM)), "grey")


@pytest.fixture(scope="module")
def truths() -> list[Scenery]:
    return [plan_scene(SceneSettings(seed=21), index).truth for index in range(400)]


@pytest.mark.parametrize(
    ("words", "phrase"),
    [("owl", "an owl"), ("unicorn", "a unicorn"), ("ice cream", "an ice cream"), ("bus", "a bus"),
     ("umbrella", "an umbrella"), ("orange book", "an orange book"), ("eye", "an eye")],
)  # fmt: skip
def test_articles(words: str, phrase: str):
    assert with_article(words) == phrase


@pytest.mark.parametrize(
    ("first", "relation", "second", "true"),
    [
        (LEFT, "to the left of", RIGHT, True),
        (RIGHT, "to the left of", LEFT, False),
        (RIGHT, "to the right of", LEFT, True),
        (TOP, "above", BOTTOM, True),
        (TOP, "below", BOTTOM, False),
        (BOTTOM, "below", TOP, True),
        (LEFT, "above", RIGHT, False),
        ((0, 0, 40, 40), "to the left of", (39, 0, 80, 40), False),  # no line parts them
        ((0, 0, 10, 10), "to the left of", (12, 100, 22, 110), False),  # far more above than left
        ((0, 0, 10, 10), "above", (12, 100, 22, 110), True),
    ],
)
def test_relations_hold_only_when_clear(first, relation: str, second, true: bool):
    assert holds(relation, first, second) is true


@pytest.mark.parametrize(
    ("caption", "truth"),
    [
        ("an owl and two fish", OWL_AND_FISH),
        ("Two fish and an owl.", OWL_AND_FISH),
        ("one owl and two fish on a blue background", OWL_AND_FISH),
        ("a picture of an owl and two fish on a blue ground", OWL_AND_FISH),
        ("there is an owl and two fish", OWL_AND_FISH),
        ("there are two fish and an owl", OWL_AND_FISH),
        ("an owl to the left of two fish", OWL_AND_FISH),
        ("two fish to the right of an owl", OWL_AND_FISH),
        ("two hearts", HEARTS),
        ("there are two red hearts on an orange background", HEARTS),
        ("a palm tree above a bus", STACK),
        ("a bus below a palm tree", STACK),
    ],
)
def test_exact_captions(caption: str, truth: Scenery):
    assert is_exact(caption, truth)
    assert nouns_right(caption, truth)


@pytest.mark.parametrize(
    ("caption", "truth", "nouns"),
    [
        ("", OWL_AND_FISH, False),
        ("two fish", OWL_AND_FISH, False),  # not all
        ("an owl, two fish and a bus", OWL_AND_FISH, False),  # too much
        ("an owl and three fish", OWL_AND_FISH, True),  # wrong count
        ("an owl and a fish", OWL_AND_FISH, True),
        ("an owl and an owl and two fish", OWL_AND_FISH, True),  # said twice
        ("an owl and two fish on a red background", OWL_AND_FISH, True),  # wrong ground
        ("an owl and two fish on an blue background", OWL_AND_FISH, True),  # wrong article
        ("an owl and two fish on a lilac background", OWL_AND_FISH, True),  # no colour of ours
        ("a owl and two fish", OWL_AND_FISH, True),
        ("two fish to the left of an owl", OWL_AND_FISH, True),  # wrong relation
        ("an owl above two fish", OWL_AND_FISH, True),  # not clear
        ("there are an owl and two fish", OWL_AND_FISH, True),  # wrong verb
        ("owl and two fish", OWL_AND_FISH, True),  # no article
        ("two blue hearts", HEARTS, True),  # wrong colour
        ("two red heart", HEARTS, True),  # wrong number
        ("a red hearts", HEARTS, True),
        ("two red owls", HEARTS, False),
        ("a red owl and two fish", OWL_AND_FISH, True),  # a colour where none is known
        ("a tree above a bus", STACK, False),  # a palm tree is no tree
        ("a palm tree above a bus above a bus", STACK, True),
        ("a palm tree above a bus on a grey background", STACK, True),  # of whom, the bus or both?
        ("the palm tree above the bus", STACK, True),
    ],
)
def test_captions_that_are_not_exact(caption: str, truth: Scenery, nouns: bool):
    assert not is_exact(caption, truth)
    assert nouns_right(caption, truth) is nouns


def test_a_parsed_caption():
    claim = parse("a picture of two red hearts, an owl and four palm trees on a pink background")
    assert claim is not None
    assert claim.groups == (("heart", 2, "red"), ("owl", 1, ""), ("palm tree", 4, ""))
    assert (claim.relation, claim.ground) == ("", "pink")
    assert parse("IMG_2034") is parse("nan") is parse("") is None


def test_nouns_are_found_in_any_text():
    assert nouns_in("My dog chased two cacti; a fire engine, ICE CREAMS!") == {
        "dog", "cactus", "fire engine", "ice cream"
    }  # fmt: skip
    assert nouns_in("a faced with sunglasses, dogged") == set()


def test_every_caption_of_many_scenes_is_exact(truths: list[Scenery]):
    for index, truth in enumerate(truths):
        said = captions(truth, Random(index))
        assert 3 <= len(said) == len(set(said)) <= 6
        assert [
            caption for caption in said if not (is_exact(caption, truth) and nouns_right(caption, truth))
        ] == []


def test_no_caption_is_exact_once_one_thing_in_it_is_changed(truths: list[Scenery]):
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    changed = Counter[str]()
    for index, truth in enumerate(truths[:150]):
        for caption in captions(truth, Random(index)):
            for word in set(caption.split()) & {"two", "three", "four", *opposite, *GROUNDS}:
                others = {word: opposite[word]} if word in opposite else {}
                other = others.get(word) or ("brown" if word != "brown" else "pink")
                if word in NUMBERS:
                    other = NUMBERS[2 + NUMBERS.index(word) % 3]
                wrong = re.sub(rf"\b{word}\b", other, caption)
                assert not is_exact(wrong, truth), (wrong, truth)
                changed[word] += 1
    assert {"two", "three", "four", "left", "right", "above", "below"} <= changed.keys()


def _answer(question: str, truth: Scenery) -> str:
    """Answer a question from the things alone, by means of its own; "" where it cannot."""
    forms = {form: name for name, c in BY_NAME.items() for form in (name, c.plural)}

    def of(noun: str) -> list[Thing]:
        return [thing for thing in truth.things if thing.concept == forms[noun]]

    def clear(first: str, relation: str, second: str) -> bool:
        axis, sign = RELATIONS[relation]
        far, near = (first, second) if sign > 0 else (second, first)
        return max(thing.box[axis + 2] for thing in of(far)) <= min(thing.box[axis] for thing in of(near))

    side = "to the left of|to the right of|above|below"
    answers: dict[str, Callable[..., object]] = {
        r"how many things are there\?": lambda: NUMBERS[len(truth.things)],
        r"how many (.+) are there\?": lambda noun: NUMBERS[len(of(noun))],
        r"what colour is the background\?": lambda: truth.ground,
        r"what colour (?:is|are) the (.+)\?": lambda noun: of(noun)[0].colour,
        r"is the background (\w+)\?": lambda colour: colour == truth.ground,
        r"is there an? (.+)\?": lambda noun: bool(of(noun)),
        r"are there exactly (\w+) (.+)\?": lambda number, noun: len(of(noun)) == NUMBERS.index(number),
        rf"(?:is|are) the (.+) ({side}) the (.+)\?": clear,
    }
    for pattern, answer in answers.items():
        if found := re.fullmatch(pattern, question):
            right = answer(*found.groups())
            return {True: "yes", False: "no"}.get(right, right)
    assert question.startswith("what "), question
    return ""


def test_answers_are_right_and_yes_is_as_likely_as_no(truths: list[Scenery]):
    said = Counter[tuple[str, str]]()
    for index, truth in enumerate(truths):
        asked = questions(truth, Random(index))
        assert len({question for question, _ in asked}) == len(asked) >= 4
        for question, answer in asked:
            assert _answer(question, truth) in ("", answer), (question, answer, truth)
            if answer in ("yes", "no"):
                said["is the background" if "background" in question else question.split()[1], answer] += 1
    for form in ("the", "there", "is the background"):
        yes, no = said[form, "yes"], said[form, "no"]
        assert 0.4 < yes / (yes + no) < 0.6


def test_what_is_asked_has_one_answer():
    kinds = set()
    for seed in range(60):
        for question, answer in questions(STACK, Random(seed)):
            if question.startswith("what is "):
                kinds.add((question, answer))
    assert kinds == {
        ("what is above the bus?", "palm tree"),
        ("what is below the palm tree?", "bus"),
        ("what is at the top?", "palm tree"),
        ("what is at the bottom?", "bus"),
    }
    assert ("what are these?", "hearts") in questions(HEARTS, Random(0))


def test_a_scenery_survives_the_table():
    corners = ("x0", "y0", "x1", "y1")
    row = {
        "objects": [{"concept": thing.concept, "colour": thing.colour or None} for thing in HEARTS.things],
        "boxes": [dict(zip(corners, thing.box, strict=True)) for thing in HEARTS.things],
        "ground": "orange",
    }
    assert Scenery.from_row(row) == HEARTS


@pytest.mark.parametrize("cut_short", ["a", "a and two owls", "", "two", "an owl and", "on a red background"])
def test_a_caption_cut_short_is_no_claim_and_no_crash(cut_short: str):
    assert parse(cut_short) is None
