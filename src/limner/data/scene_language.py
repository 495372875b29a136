"""What can truly be said of a scene: captions, questions with answers, and a check of any caption.

Everything here works on a `Scenery`, the stored ground truth; no pixels. The grammar is small on purpose:

    caption  := [opening] things [ground] | group relation group
    opening  := "a picture of" | "there is" | "there are"
    things   := group | group "and" group | group "," group "and" group
    group    := ("a" | "an" | "one" | "two" | "three" | "four") [colour] noun
    ground   := "on a" colour ("background" | "ground")
    relation := "to the left of" | "to the right of" | "above" | "below"
"""

import re
from collections.abc import Mapping
from itertools import combinations
from random import Random
from typing import Any, NamedTuple

from limner.data.concepts import BY_NAME, CONCEPTS

Box = tuple[int, int, int, int]

GROUNDS = ("white", "grey", "black", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
NUMBERS = ("zero", "one", "two", "three", "four")
RELATIONS = {"to the left of": (0, 1), "to the right of": (0, -1), "above": (1, 1), "below": (1, -1)}
_OPPOSITE = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}
_COLOURS = frozenset(GROUNDS)
_NOUNS: dict[str, list[tuple[str, bool]]] = {}
for _concept in CONCEPTS:
    _NOUNS.setdefault(_concept.name, []).append((_concept.name, False))
    _NOUNS.setdefault(_concept.plural, []).append((_concept.name, True))
_OPENING = re.compile(r"^(a picture of|there is|there are) ")
_GROUND = re.compile(r" on (an?) (\w+) (?:background|ground)$")
_RELATION = re.compile(r" (to the left of|to the right of|above|below) ")
_COMMA_OR_AND = re.compile(r", and |, | and ")
_LONGEST_NOUN = max(len(noun.split()) for noun in _NOUNS)


class Thing(NamedTuple):
    """One sprite of a scene.

    Args:
        concept: its singular noun.
        colour: its colour word, "" when colour is no part of the concept.
        box: x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
    """

    concept: str
    colour: str
    box: Box


class Group(NamedTuple):
    """All things of one concept in a scene, with the box around them."""

    concept: str
    colour: str
    number: int
    box: Box

    @property
    def noun(self) -> str:
        """The concept's name in the number that fits the count."""
        return self.concept if self.number == 1 else BY_NAME[self.concept].plural

    @property
    def verb(self) -> str:
        """ "is" or "are"."""
        return "is" if self.number == 1 else "are"

    def phrase(self, *, colour: bool = True) -> str:
        """The group in words with its count: "an owl", "two red hearts"."""
        words = f"{self.colour} {self.noun}" if colour and self.colour else self.noun
        return with_article(words) if self.number == 1 else f"{NUMBERS[self.number]} {words}"


class Scenery(NamedTuple):
    """The ground truth of one scene: its things and the colour of its ground."""

    things: tuple[Thing, ...]
    ground: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Scenery":
        """Read it back from a row of a scenes table (columns `objects`, `boxes`, `ground`)."""
        things = (
            Thing(o["concept"], o["colour"] or "", (int(b["x0"]), int(b["y0"]), int(b["x1"]), int(b["y1"])))
            for o, b in zip(row["objects"], row["boxes"], strict=True)
        )
        return cls(tuple(things), row["ground"])

    def groups(self) -> list[Group]:
        """Things grouped by concept, from the left and top to the right and bottom."""
        found: dict[str, list[Thing]] = {}
        for thing in self.things:
            found.setdefault(thing.concept, []).append(thing)
        groups = [
            Group(name, ts[0].colour, len(ts), _around([t.box for t in ts])) for name, ts in found.items()
        ]
        return sorted(groups, key=lambda g: (2 * (g.box[0] + g.box[2]) + g.box[1] + g.box[3], g.concept))


def with_article(words: str) -> str:
    """Put "a" or "an" before a phrase: a unicorn, an owl."""
    vowel = words.startswith(tuple("aeiou")) and not words.startswith(("uni", "eu", "one"))
    return f"an {words}" if vowel else f"a {words}"


def holds(relation: str, first: Box, second: Box) -> bool:
    """Whether a relation is clearly true of two boxes.

    A straight line parts them, and their centres are apart along the relation by half or more of what they
    are across it.
    """
    axis, sign = RELATIONS[relation]
    a, b = (first, second) if sign > 0 else (second, first)
    along = b[axis] + b[axis + 2] - a[axis] - a[axis + 2]
    across = b[1 - axis] + b[3 - axis] - a[1 - axis] - a[3 - axis]
    return a[axis + 2] <= b[axis] and 2 * along >= abs(across)


def captions(scenery: Scenery, rng: Random) -> list[str]:
    """Three to six correct and complete captions, none twice.

    Args:
        scenery: the ground truth.
        rng: chooses forms and whether colours are said.
    """
    groups = scenery.groups()

    def listed(order: list[Group]) -> str:
        phrases = [group.phrase(colour=rng.random() < 0.75) for group in order]
        return " and ".join(([", ".join(phrases[:-1])] if phrases[1:] else []) + phrases[-1:])

    found = [listed(groups), f"{listed(groups)} on {with_article(scenery.ground)} background"]
    if len(groups) == 2:
        found += _related(groups, rng)
    found.append(f"a picture of {listed(groups)}")
    if len(groups) == 1 or rng.random() < 0.5:
        found.append(f"there {groups[0].verb} {listed(groups)}")
    if len(groups) > 1 and rng.random() < 0.5:
        found.append(listed(rng.sample(groups, len(groups))))
    return list(dict.fromkeys(found))[:6]


def _related(groups: list[Group], rng: Random) -> list[str]:
    pairs = [(a, relation, b) for relation in RELATIONS for a, b in (groups, groups[::-1])]
    true = [
        f"{a.phrase(colour=rng.random() < 0.75)} {relation} {b.phrase(colour=rng.random() < 0.75)}"
        for a, relation, b in pairs
        if holds(relation, a.box, b.box)
    ]
    return rng.sample(true, min(2, len(true)))


class Claim(NamedTuple):
    """What a caption says, once parsed.

    Args:
        groups: (concept, count, colour or "") in the order said.
        relation: between the two groups, or "".
        ground: colour of the ground, or "".
    """

    groups: tuple[tuple[str, int, str], ...]
    relation: str
    ground: str


def parse(caption: str) -> Claim | None:
    """Read a caption by the grammar above; None when it does not follow it, articles and number included."""
    text = " ".join(caption.lower().split()).rstrip(" .")
    opening = _OPENING.match(text)
    text = text[opening.end() :] if opening else text
    ground = _GROUND.search(text)
    if ground and (ground[2] not in _COLOURS or with_article(ground[2]) != f"{ground[1]} {ground[2]}"):
        return None
    text = text[: ground.start()] if ground else text
    relation = _RELATION.search(text)
    pieces = _RELATION.split(text)[::2] if relation else _COMMA_OR_AND.split(text)
    groups = [_parse_group(piece) for piece in pieces]
    if (relation and (len(groups) != 2 or ground or opening)) or not all(groups):
        return None
    said = tuple(group for group in groups if group)
    if opening and opening[1] != "a picture of" and (opening[1] == "there is") != (said[0][1] == 1):
        return None
    return Claim(said, relation[1] if relation else "", ground[2] if ground else "")


def _parse_group(phrase: str) -> tuple[str, int, str] | None:
    first, _, words = phrase.partition(" ")
    colour, _, noun = words.partition(" ")
    if colour not in _COLOURS:
        colour, noun = "", words
    count = 1 if first in ("a", "an") else NUMBERS.index(first) if first in NUMBERS[1:] else 0
    right_article = first not in ("a", "an") or with_article(words) == phrase
    for concept, plural in _NOUNS.get(noun, []):
        if count and right_article and (plural == (count > 1) or concept == BY_NAME[concept].plural):
            return concept, count, colour
    return None


def is_exact(caption: str, truth: Scenery) -> bool:
    """Whether a caption is complete and right: all things counted, any colour, relation and ground true.

    Args:
        caption: any text; it need not be one of the scene's own captions.
        truth: the ground truth.
    """
    claim = parse(caption)
    if claim is None:
        return False
    groups = {group.concept: group for group in truth.groups()}
    said = [concept for concept, _, _ in claim.groups]
    if sorted(said) != sorted(groups) or claim.ground not in ("", truth.ground):
        return False
    if claim.relation and not holds(claim.relation, groups[said[0]].box, groups[said[1]].box):
        return False
    return all(
        groups[c].number == count and colour in ("", groups[c].colour) for c, count, colour in claim.groups
    )


def nouns_in(caption: str) -> set[str]:
    """The concepts a text names, in either number; the longest noun wins ("palm tree" is no "tree")."""
    words = re.findall(r"[a-z]+", caption.lower())
    found: set[str] = set()
    place = 0
    while place < len(words):
        for length in range(min(_LONGEST_NOUN, len(words) - place), 0, -1):
            if named := _NOUNS.get(" ".join(words[place : place + length])):
                found.add(named[0][0])
                place += length - 1
                break
        place += 1
    return found


def nouns_right(caption: str, truth: Scenery) -> bool:
    """Whether a caption names exactly the concepts that are there, whatever else it says."""
    return nouns_in(caption) == {thing.concept for thing in truth.things}


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def questions(scenery: Scenery, rng: Random) -> list[tuple[str, str]]:
    """Questions with their one short answer: what, how many, colour, and yes/no with even odds.

    Args:
        scenery: the ground truth.
        rng: chooses which things are asked about and whether the answer is to be "yes".
    """
    groups = scenery.groups()
    group = rng.choice(groups)
    plural = BY_NAME[group.concept].plural
    found = [
        *_what(groups, rng),
        (f"how many {plural} are there?", NUMBERS[group.number]),
        ("what colour is the background?", scenery.ground),
        _is_there(groups, rng),
        _is_ground(scenery, rng),
    ]
    if len(groups) > 1:
        found.append(("how many things are there?", NUMBERS[len(scenery.things)]))
    found += [(f"what colour {g.verb} the {g.noun}?", g.colour) for g in groups if g.colour]
    return found + _is_related(groups, rng)


def _what(groups: list[Group], rng: Random) -> list[tuple[str, str]]:
    if len(groups) == 1:
        return [("what is this?" if groups[0].number == 1 else "what are these?", groups[0].noun)]
    asked = [
        (a, relation, b)
        for a, b in combinations(groups, 2)
        for relation in RELATIONS
        if holds(relation, a.box, b.box)
    ]
    if not asked:
        return []
    a, relation, b = rng.choice(asked)
    if rng.random() < 0.5:
        a, relation, b = b, _OPPOSITE[relation], a
    between = [g for g in groups if g is not b and holds(relation, g.box, b.box)]
    if len(groups) == 2 and rng.random() < 0.5:
        side = {"to the left of": "on the left", "to the right of": "on the right", "above": "at the top"}
        return [(f"what is {side.get(relation, 'at the bottom')}?", a.noun)]
    return [(f"what is {relation} the {b.noun}?", a.noun)] if len(between) == 1 else []


def _is_there(groups: list[Group], rng: Random) -> tuple[str, str]:
    yes = rng.random() < 0.5
    group = rng.choice(groups)
    if group.number > 1 and rng.random() < 0.5:
        count = group.number if yes else rng.choice([n for n in (2, 3, 4) if n != group.number])
        return f"are there exactly {NUMBERS[count]} {BY_NAME[group.concept].plural}?", _yes(yes)
    name = group.concept if yes else _absent(groups, rng)
    return f"is there {with_article(name)}?", _yes(yes)


def _absent(groups: list[Group], rng: Random) -> str:
    present = {group.concept for group in groups}
    while (name := rng.choice(CONCEPTS).name) in present:
        pass
    return name


def _is_ground(scenery: Scenery, rng: Random) -> tuple[str, str]:
    yes = rng.random() < 0.5
    colour = scenery.ground if yes else rng.choice([name for name in GROUNDS if name != scenery.ground])
    return f"is the background {colour}?", _yes(yes)


def _is_related(groups: list[Group], rng: Random) -> list[tuple[str, str]]:
    true = [
        (a, r, b) for a in groups for b in groups if a is not b for r in RELATIONS if holds(r, a.box, b.box)
    ]
    if not true:
        return []
    a, relation, b = rng.choice(true)
    yes = rng.random() < 0.5
    return [(f"{a.verb} the {a.noun} {relation if yes else _OPPOSITE[relation]} the {b.noun}?", _yes(yes))]


def _yes(yes: bool) -> str:
    return "yes" if yes else "no"
