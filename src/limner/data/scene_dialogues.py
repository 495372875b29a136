"""Dialogues about scenes with exact truth: what "it" is stands in the round before.

A dialogue asks whether a thing is there, how many there are, which colour they have and where they are,
without naming the thing again, so that only history tells what is meant. The caption tells of the ground
alone.
"""

from random import Random

from limner.data.concepts import BY_NAME, CONCEPTS
from limner.data.dialogues import Dialogue, Round
from limner.data.scene_language import GROUNDS, NUMBERS, RELATIONS, Group, Scenery, holds, with_article


def scene_dialogue(image_id: str, scenery: Scenery, rng: Random, options: int = 20) -> Dialogue:
    """A dialogue about one scene.

    Args:
        image_id: of its picture.
        scenery: the ground truth.
        rng: chooses what is asked, and the wrong options.
        options: candidates a round, the right one among them; 8 to 100.
    """
    said: list[tuple[str, str]] = []
    groups = scenery.groups()
    for group in rng.sample(groups, min(2, len(groups))):
        said += _about(group, groups, rng)
    said.append(("what colour is the background?", scenery.ground))
    rounds = []
    for question, answer in said:
        offered = _offered(answer, rng, options)
        rounds.append(
            Round(
                question, answer, offered, offered.index(answer), tuple(float(o == answer) for o in offered)
            )
        )
    return Dialogue(image_id, f"a picture with {with_article(scenery.ground)} background", tuple(rounds))


def _about(group: Group, groups: list[Group], rng: Random) -> list[tuple[str, str]]:
    """Questions about one group; all but the first lean on it."""
    it, one = ("it", True) if group.number == 1 else ("they", False)
    plural = BY_NAME[group.concept].plural
    first = f"is there {with_article(group.concept)}?" if one else f"are there any {plural}?"
    asked = [(first, "yes"), ("how many?", NUMBERS[group.number])]
    if group.colour:
        asked.append((f"what colour {'is' if one else 'are'} {it}?", group.colour))
    near = [(r, g) for g in groups if g is not group for r in RELATIONS if holds(r, group.box, g.box)]
    if near:
        relation, other = rng.choice(near)
        true = rng.random() < 0.5
        told = relation if true else rng.choice([r for r in RELATIONS if not holds(r, group.box, other.box)])
        asked.append((f"{'is' if one else 'are'} {it} {told} the {other.noun}?", "yes" if true else "no"))
    return asked


def _offered(answer: str, rng: Random, count: int) -> tuple[str, ...]:
    """The answer among wrong ones of every kind; of its own kind first."""
    kinds = [["yes", "no"], list(NUMBERS), list(GROUNDS)]
    own = next(kind for kind in kinds if answer in kind)
    rest = [word for kind in kinds if kind is not own for word in kind]
    names = [concept.name for concept in CONCEPTS if concept.name not in own + rest]
    wrong = [word for word in own if word != answer]
    wrong += rng.sample(rest, len(rest)) + rng.sample(names, min(len(names), max(0, count)))
    offered = [answer, *wrong[: count - 1]]
    return tuple(rng.sample(offered, len(offered)))
