"""Short videos of scenes with exact truth: a thing appears, vanishes, or crosses the picture.

A video is a pure function of its settings and its number, as a scene is. Nothing but the one thing
changes, on a plain ground, so that what happens is exact.
"""

from random import Random
from typing import NamedTuple

from PIL import Image

from limner.data.scene_drawing import Placement, Plan, draw
from limner.data.scene_language import NUMBERS, Scenery, Thing, captions, with_article
from limner.data.scenes import SceneSettings, plan_scene

EVENTS = ("appears", "vanishes", "moves to the right", "moves to the left", "moves down", "moves up")
_AWAY = {
    "moves to the right": (1, 0),
    "moves to the left": (-1, 0),
    "moves down": (0, 1),
    "moves up": (0, -1),
}


class SceneVideo(NamedTuple):
    """One video and all that is known of it.

    Args:
        key: unique name.
        frames: RGB pictures of one size.
        truth: all things that are seen at some time; the box of the one that moves is where it starts.
        event: of `EVENTS`.
        subject: the concept that it happens to.
        captions: what is seen, and what happens.
        questions: (question, answer) pairs; those of time first.
    """

    key: str
    frames: list[Image.Image]
    truth: Scenery
    event: str
    subject: str
    captions: list[str]
    questions: list[tuple[str, str]]


def scene_video(settings: SceneSettings, index: int, frames: int = 16) -> SceneVideo:
    """Make one video; the same settings and number give the same bytes.

    Args:
        settings: which family of scenes; drawn without jitter.
        index: number of the video, 0 or more.
        frames: how many, 2 or more.
    """
    plan = plan_scene(settings.model_copy(update={"jitter": False}), index)
    rng = Random(f"limner video {settings.seed} {index}")
    lone = [i for i, t in enumerate(plan.truth.things) if _count(plan, t.concept) == 1]
    which = rng.choice(lone) if lone else 0
    event = rng.choice(EVENTS if lone else EVENTS[:2])
    pictures = [draw(_at(plan, which, event, t, frames), rng) for t in range(frames)]
    thing = plan.truth.things[which]
    return SceneVideo(
        f"video-{settings.seed}-{index}",
        pictures,
        plan.truth,
        event,
        thing.concept,
        [captions(plan.truth, rng)[0], f"{_named(thing)} {event}"],
        _questions(plan, thing, event),
    )


def _count(plan: Plan, concept: str) -> int:
    return sum(thing.concept == concept for thing in plan.truth.things)


def _named(thing: Thing) -> str:
    return with_article(f"{thing.colour} {thing.concept}".strip())


def _at(plan: Plan, which: int, event: str, t: int, frames: int) -> Plan:
    """The plan as it stands in one frame."""
    if event in EVENTS[:2]:
        seen = (2 * t >= frames) == (event == "appears")
        keep = [p for i, p in enumerate(plan.placements) if seen or i != which]
        return plan._replace(placements=tuple(keep))
    moved = _moved(plan.placements[which], plan.canvas_px, _AWAY[event], t / (frames - 1))
    rest = [p for i, p in enumerate(plan.placements) if i != which]
    return plan._replace(placements=(*rest, moved))


def _moved(placement: Placement, side: int, way: tuple[int, int], share: float) -> Placement:
    """A sprite on its way from one edge to the other, [0, 1] of it."""
    box = list(placement.box)
    for axis, sign in enumerate(way):
        if not sign:
            continue
        size = box[axis + 2] - box[axis]
        start = round((side - size) * (share if sign > 0 else 1 - share))
        box[axis], box[axis + 2] = start, start + size
    return placement._replace(box=(box[0], box[1], box[2], box[3]))


def _questions(plan: Plan, thing: Thing, event: str) -> list[tuple[str, str]]:
    verb, _, way = event.partition(" ")
    total = len(plan.truth.things)
    ground = ("what colour is the background?", plan.truth.ground)
    if verb == "moves":
        asked = ("which way does it move?", way.removeprefix("to the "))
        return [("what moves?", thing.concept), asked, ("how many things are there?", NUMBERS[total]), ground]
    ends = (total - 1, total) if verb == "appears" else (total, total - 1)
    return [
        (f"what {verb}?", thing.concept),
        ("how many things are there at the start?", NUMBERS[ends[0]]),
        ("how many things are there at the end?", NUMBERS[ends[1]]),
        ground,
    ]
