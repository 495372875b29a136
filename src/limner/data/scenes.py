"""Composed pictures with exact ground truth: one to four sprites on a coloured ground, endless and seeded.

A scene is a pure function of its settings and its number. It is planned first (what, where, on which ground:
the truth, without touching a pixel) and drawn after; words are chosen from the truth by a stream of their
own.
"""

import math
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field, field_validator

from limner.config import Config
from limner.data.concepts import BY_NAME, CONCEPTS, Concept
from limner.data.emoji import FONT, STYLES
from limner.data.loader import Sample
from limner.data.scene_drawing import Colour, Placement, Plan, draw, shade
from limner.data.scene_language import GROUNDS, Scenery, Thing, captions, questions
from limner.data.sprites import Sprite, load_sprite
from limner.data.transforms import to_u8
from limner.shapes import ImageSpec


class SceneSettings(Config):
    """Which scenes are made.

    Args:
        seed: of all scenes; other seeds give unrelated scenes.
        styles: art styles, each scene in one of them: "openmoji", "twemoji", or "font:" and the path of a
            colour font.
        canvas_px: side of the picture, pixels.
        max_objects: most sprites in a scene, 1 to 4.
        jitter: vary drawing hand, rotation, mirroring, colour, shadow, blur and ground texture. Without it
            every sprite is upright and as its artist drew it, on a plain ground.
        concepts: names of the concepts that are drawn; empty is all of them.
    """

    LATER: ClassVar = frozenset({"concepts"})

    seed: int = 0
    styles: tuple[str, ...] = Field(default=STYLES, min_length=1)
    canvas_px: int = Field(default=128, ge=48, le=1024)
    max_objects: int = Field(default=4, ge=1, le=4)
    jitter: bool = True
    concepts: tuple[str, ...] = ()

    @field_validator("styles")
    @classmethod
    def _known(cls, styles: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [s for s in styles if s not in STYLES and not s.startswith(FONT)]:
            raise ValueError(f"unknown art style {unknown[0]!r}; there are {', '.join(STYLES)} and font:PATH")
        return styles

    @field_validator("concepts")
    @classmethod
    def _enough(cls, concepts: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in concepts if name not in BY_NAME]:
            raise ValueError(f"unknown concept {unknown[0]!r}; limner.data.concepts has them all")
        if 0 < len(set(concepts)) < 4:
            raise ValueError(f"{len(set(concepts))} concepts: give 4 or more, or none for all")
        return concepts


class Scene(NamedTuple):
    """One composed picture and all that is known of it.

    Args:
        key: unique name, from seed and number.
        image: RGB pixels.
        truth: its things with boxes and the colour of its ground.
        style: art style.
        captions: three to six correct and complete captions.
        questions: (question, answer) pairs.
    """

    key: str
    image: UInt8[np.ndarray, "y x 3"]
    truth: Scenery
    style: str
    captions: list[str]
    questions: list[tuple[str, str]]


_COUNT_ODDS = (0.25, 0.30, 0.25, 0.20)
_GROUP_ODDS = {1: (1.0,), 2: (0.25, 0.75), 3: (0.2, 0.5, 0.3), 4: (0.2, 0.5, 0.3)}
_MAX_ANGLE = math.radians(12)
_LARGEST = 0.82  # of the canvas side, the longest side of a sprite that stands alone
_CAMOUFLAGE = 90  # least distance in RGB between a sprite's mean colour and its ground


def scene(settings: SceneSettings, index: int) -> Scene:
    """Make one scene; the same settings and number give the same bytes.

    Args:
        settings: which family of scenes.
        index: number of the scene, 0 or more.
    """
    plan, image = _drawn(settings, index)
    words = Random(f"limner words {settings.seed} {index}")
    return Scene(
        key=plan.key,
        image=np.asarray(image),
        truth=plan.truth,
        style=plan.style,
        captions=captions(plan.truth, words),
        questions=questions(plan.truth, words),
    )


def plan_scene(settings: SceneSettings, index: int) -> Plan:
    """Decide what stands where, without drawing it.

    Args:
        settings: which family of scenes.
        index: number of the scene, 0 or more.
    """
    return _planned(settings, index, _stream(settings, index))


def _stream(settings: SceneSettings, index: int) -> Random:
    return Random(f"limner scene {settings.seed} {index}")


def _drawn(settings: SceneSettings, index: int) -> tuple[Plan, Image.Image]:
    rng = _stream(settings, index)
    plan = _planned(settings, index, rng)
    return plan, draw(plan, rng)


def _planned(settings: SceneSettings, index: int, rng: Random) -> Plan:
    style = settings.styles[int(rng.random() * len(settings.styles))]
    hand = (0, 0, 1, 2)[int(rng.random() * 4)] if settings.jitter else 0
    count = 1 + _drawn_index(rng, _COUNT_ODDS[: settings.max_objects])
    counts = _split_count(rng, count, 1 + _drawn_index(rng, _GROUP_ODDS[count]))
    chosen = [_coloured(rng, concept) for concept in _distinct(rng, settings.concepts, len(counts))]
    each = [pair for pair, times in zip(chosen, counts, strict=True) for _ in range(times)]
    placements: list[Placement] = []
    things: list[Thing] = []
    for (concept, colour), cell in zip(each, _cells(rng, counts, settings.canvas_px), strict=True):
        emoji = _view(rng, concept, colour)
        placement = _place(rng, settings, load_sprite(style, emoji), emoji, cell, mirrors=concept.mirrors)
        placements.append(placement)
        things.append(Thing(concept.name, colour, placement.box))
    ground, ground_shade = _ground(rng, [load_sprite(style, p.emoji).colour for p in placements])
    return Plan(
        key=f"scene-{settings.seed}-{index}",
        truth=Scenery(tuple(things), ground),
        style=style,
        hand=hand,
        placements=tuple(placements),
        ground=ground_shade,
        canvas_px=settings.canvas_px,
        jitter=settings.jitter,
    )


def _drawn_index(rng: Random, odds: Sequence[float]) -> int:
    """Index drawn with the given odds, which need not sum to one."""
    left = rng.random() * sum(odds)
    for index, share in enumerate(odds):
        left -= share
        if left < 0:
            return index
    return len(odds) - 1


def _split_count(rng: Random, count: int, groups: int) -> list[int]:
    """Cut `count` things into groups, every group with one thing or more."""
    sizes = [1] * groups
    for _ in range(count - groups):
        sizes[int(rng.random() * groups)] += 1
    return sizes


@cache
def _weighted(names: tuple[str, ...]) -> tuple[Concept, ...]:
    """Concepts as often as they are to be drawn: those in many colours three times."""
    drawn = [concept for concept in CONCEPTS if not names or concept.name in names]
    return tuple(c for c in drawn for _ in range(3 if len(c.colours) > 3 else 1))


def _distinct(rng: Random, names: tuple[str, ...], count: int) -> list[Concept]:
    pool, chosen = _weighted(names), list[Concept]()
    while len(chosen) < count:
        concept = pool[int(rng.random() * len(pool))]
        if concept not in chosen:
            chosen.append(concept)
    return chosen


def _coloured(rng: Random, concept: Concept) -> tuple[Concept, str]:
    colours = concept.colours
    return concept, colours[int(rng.random() * len(colours))] if colours else ""


def _view(rng: Random, concept: Concept, colour: str) -> str:
    emoji = [view.emoji for view in concept.views if view.colour == colour]
    return emoji[int(rng.random() * len(emoji))]


Cell = tuple[float, float, float, float]


def _cells(rng: Random, counts: list[int], side: int) -> list[Cell]:
    """Cut the canvas into one cell a thing, in the order of the groups."""
    ends = {sum(counts[:group]) for group in range(1, len(counts))}
    return _cut(rng, (0.0, 0.0, float(side), float(side)), 0, sum(counts), ends)


def _cut(rng: Random, cell: Cell, first: int, last: int, ends: set[int]) -> list[Cell]:
    """Halve a cell until each thing has one; cut between two groups where that is near the middle."""
    if last - first == 1:
        return [cell]
    middles = [(first + last) // 2, (first + last + 1) // 2]
    middle = next((m for m in middles if m in ends), middles[int(rng.random() * 2)])
    share = 0.5 + (rng.random() - 0.5) * 0.08
    x0, y0, x1, y1 = cell
    width, height = x1 - x0, y1 - y0
    if width > height * 1.2 or (height <= width * 1.2 and rng.random() < 0.5):
        x = x0 + width * share
        one, other = (x0, y0, x, y1), (x, y0, x1, y1)
    else:
        y = y0 + height * share
        one, other = (x0, y0, x1, y), (x0, y, x1, y1)
    if rng.random() < 0.5:
        one, other = other, one
    return _cut(rng, one, first, middle, ends) + _cut(rng, other, middle, last, ends)


def _place(
    rng: Random, settings: SceneSettings, drawn: Sprite, emoji: str, cell: Cell, *, mirrors: bool
) -> Placement:
    """Size, turn and move a sprite inside its cell."""
    angle = (rng.random() * 2 - 1) * _MAX_ANGLE if settings.jitter and rng.random() < 0.6 else 0.0
    mirrored = settings.jitter and mirrors and rng.random() < 0.5
    cos, sin = math.cos(angle), abs(math.sin(angle))
    width, height = drawn.width * cos + drawn.height * sin, drawn.width * sin + drawn.height * cos
    x0, y0, x1, y1 = cell
    side = settings.canvas_px
    room = min((x1 - x0) / width, (y1 - y0) / height, side * _LARGEST / width, side * _LARGEST / height)
    scale = room * (0.76 + 0.22 * rng.random())
    width, height = width * scale, height * scale
    left = math.ceil(x0 + (x1 - x0 - width) * rng.random())
    top = math.ceil(y0 + (y1 - y0 - height) * rng.random())
    box = (left, top, min(side, left + math.ceil(width)), min(side, top + math.ceil(height)))
    return Placement(emoji, box, scale, angle, mirrored)


def _ground(rng: Random, colours: list[Colour]) -> tuple[str, Colour]:
    """Choose a ground that no sprite of these mean colours is lost on; after 24 tries the best so far."""
    best, best_gap = ("white", (255, 255, 255)), -1.0
    for _ in range(24):
        name = GROUNDS[int(rng.random() * len(GROUNDS))]
        ground = shade(rng, name)
        gap = min(math.dist(colour, ground) for colour in colours)
        if gap >= _CAMOUFLAGE:
            return name, ground
        if gap > best_gap:
            best, best_gap = (name, ground), gap
    return best


class SceneRows:
    """Scenes as training rows, drawn when asked for; nothing is stored.

    Args:
        settings: which family of scenes.
        start: number of the first scene.
        count: how many scenes.
        spec: size and filter of the pictures.
    """

    def __init__(self, settings: SceneSettings, start: int, count: int, spec: ImageSpec) -> None:
        self.settings, self.start, self.count, self.spec = settings, start, count, spec

    def __len__(self) -> int:
        return self.count

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """Draw scenes, each with one caption and one question chosen by (seed, epoch, index).

        Args:
            indices: rows, each in [0, len).
            epoch: other epochs say other things of the same scenes.
        """
        return [self._sample(self.start + index, epoch) for index in indices]

    def _sample(self, number: int, epoch: int) -> Sample:
        plan, image = _drawn(self.settings, number)
        rng = Random(f"limner row {self.settings.seed} {epoch} {number}")
        words = captions(plan.truth, rng)
        asked = questions(plan.truth, rng)
        question, answer = asked[int(rng.random() * len(asked))]
        return Sample(
            key=plan.key,
            image=to_u8(image, self.spec),
            caption=words[int(rng.random() * len(words))],
            question=question,
            answer=answer,
            image_id=number,
        )
