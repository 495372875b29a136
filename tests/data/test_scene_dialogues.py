"""Every answer of a dialogue is true of its scene, and no other option is."""

from random import Random

from limner.data.concepts import BY_NAME
from limner.data.scene_dialogues import scene_dialogue
from limner.data.scene_language import NUMBERS, RELATIONS, holds
from limner.data.scenes import SceneSettings, plan_scene

SCENES = [plan_scene(SceneSettings(seed=3), number).truth for number in range(60)]


def test_answers_are_true_and_options_hold_each_once() -> None:
    kinds = set()
    for number, truth in enumerate(SCENES):
        groups = {group.concept: group for group in truth.groups()}
        plurals = {BY_NAME[name].plural: name for name in groups}
        about = None
        for turn in scene_dialogue("x", truth, Random(number)).rounds:
            assert turn.options[turn.right] == turn.answer
            assert len(set(turn.options)) == len(turn.options) == 20
            assert sum(turn.relevance) == 1 == turn.relevance[turn.right]
            words = turn.question.rstrip("?")
            if words.startswith("is there "):
                about = groups[words.removeprefix("is there ").partition(" ")[2]]
                assert turn.answer == "yes"
            elif words.startswith("are there any "):
                about = groups[plurals[words.removeprefix("are there any ")]]
            elif words == "how many":
                assert turn.answer == NUMBERS[about.number]
            elif words == "what colour is the background":
                assert turn.answer == truth.ground
            elif words.startswith("what colour"):
                assert turn.answer == about.colour
            else:
                relation = next(r for r in RELATIONS if f" {r} the " in words)
                noun = words.split(f" {relation} the ")[1]
                other = groups[plurals.get(noun, noun)]
                assert (turn.answer == "yes") == holds(relation, about.box, other.box)
                kinds.add(turn.answer)
            kinds.add(words.split()[0] + words.split()[1])
    assert {"yes", "no", "howmany", "whatcolour", "isthere", "arethere"} <= kinds


def test_a_dialogue_repeats_and_names_the_ground() -> None:
    one, two = (scene_dialogue("x", SCENES[0], Random(1), 8) for _ in range(2))
    assert one == two
    assert SCENES[0].ground in one.caption
    assert all(len(turn.options) == 8 for turn in one.rounds)
