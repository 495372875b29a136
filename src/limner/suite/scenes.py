"""`limner evaluate scenes`: captions, counting, questions and matching on scenes, where the truth is exact.

The scenes are made, not read: the table of the selection is not looked at, only its count.
"""

from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.emoji import STYLES
from limner.data.scene_language import is_exact, nouns_right
from limner.data.scenes import Scene, SceneSettings, scene
from limner.data.transforms import to_u8
from limner.evaluate.answering import answers, question_kind
from limner.evaluate.captioning import captions
from limner.evaluate.matching import match_logits
from limner.evaluate.metrics import accuracy, auroc, bootstrap_interval, cider_d, first_ranks
from limner.evaluate.pictures import Progress, embed_images, embed_texts
from limner.evaluate.scenes import distinct, swap
from limner.models.generate import Decoding
from limner.ready.abilities import answers_as_prompts
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection


class ScenesSettings(Config):
    """Which scenes, and what is asked of them.

    Args:
        seed: of the scenes, and of every choice among them.
        start: number of the first; past all that were trained on.
        count: scenes a style; the selection's count when that is not 0.
        styles: art styles, each measured on the same compositions.
        swapped: share of pictures that get another's caption, for matching.
        candidates: pictures and texts of one retrieval, all mutually wrong; fewer where there are not enough.
        decoding: of captions.
        batch_size: pictures at a time.
    """

    seed: int = 0
    start: int = Field(default=10_000_000, ge=0)
    count: int = Field(default=200, ge=4)
    styles: tuple[str, ...] = Field(default=STYLES, min_length=1)
    swapped: float = Field(default=0.3, gt=0, lt=1)
    candidates: int = Field(default=50, ge=2)
    decoding: Decoding = Decoding()
    batch_size: int = Field(default=64, ge=1)


def measure(
    bundle: Bundle, selection: Selection, settings: ScenesSettings, progress: Progress | None
) -> Outcome:
    """Measure a BLIP on made scenes, one sample a scene and a question."""
    count = selection.count or settings.count
    measures: dict[str, Measure] = {}
    samples: list[dict[str, Any]] = []
    scenes: list[Scene] = []
    for style in settings.styles:
        family = SceneSettings(seed=settings.seed, styles=(style,))
        scenes += [scene(family, number) for number in range(settings.start, settings.start + count)]
    images = [to_u8(Image.fromarray(made.image), bundle.image_spec) for made in scenes]
    samples += _captioned(bundle, scenes, images, settings, progress)
    for name in ("exact", "nouns", "cider_d"):
        measures[name] = mean_of([s[name] for s in samples], settings.seed)
    if answers_as_prompts(bundle):
        asked = _answered(bundle, scenes, images, settings)
        measures["answers"] = mean_of([s["right"] for s in asked], settings.seed)
        for kind in sorted({s["kind"] for s in asked}):
            name = "counting" if kind == "how_many" else f"answers_{kind}"
            measures[name] = mean_of([s["right"] for s in asked if s["kind"] == kind], settings.seed)
        samples += asked
    measures |= _compared(bundle, scenes, images, settings)
    for style in settings.styles:
        own = [s["exact"] for s in samples if s.get("style") == style and "exact" in s]
        measures[f"{style}/exact"] = mean_of(own, settings.seed)
    details = {"scenes": len(scenes), "styles": list(settings.styles), "start": settings.start}
    notes = (
        "the same compositions in each style: intervals over all samples are somewhat too narrow",
        f"scenes {settings.start} to {settings.start + count - 1} of seed {settings.seed}, made for this",
    )
    return Outcome(measures, samples, details, notes)


def _captioned(
    bundle: Bundle,
    scenes: list[Scene],
    images: list[np.ndarray],
    settings: ScenesSettings,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    found = captions(bundle, images, settings.decoding, settings.batch_size, progress)
    cider = cider_d(found, [made.captions for made in scenes]).each
    samples = []
    for made, text, score in zip(scenes, found, cider.tolist(), strict=True):
        exact = float(is_exact(text, made.truth))
        samples.append(
            {
                "key": f"{made.key}/{made.style}",
                "style": made.style,
                "caption": text,
                "references": made.captions,
                "exact": exact,
                "nouns": float(nouns_right(text, made.truth)),
                "cider_d": score,
                "score": exact,
            }
        )
    return samples


def _answered(
    bundle: Bundle, scenes: list[Scene], images: list[np.ndarray], settings: ScenesSettings
) -> list[dict[str, Any]]:
    asked = [[question for question, _ in made.questions] for made in scenes]
    found = answers(bundle, images, asked, settings.batch_size)
    samples = []
    for made, said in zip(scenes, found, strict=True):
        right = accuracy(said, [[answer] for _, answer in made.questions]).tolist()
        for number, ((question, answer), told, score) in enumerate(
            zip(made.questions, said, right, strict=True)
        ):
            samples.append(
                {
                    "key": f"{made.key}/{made.style}?{number}",
                    "style": made.style,
                    "question": question,
                    "kind": question_kind(question),
                    "said": told,
                    "accepted": [answer],
                    "right": score,
                }
            )
    return samples


def _compared(
    bundle: Bundle, scenes: list[Scene], images: list[np.ndarray], settings: ScenesSettings
) -> dict[str, Measure]:
    """Right captions above swapped ones by ITM, and R@1 by cosine among scenes that cannot be confused."""
    rng = np.random.default_rng(settings.seed)
    own = [str(rng.choice(made.captions)) for made in scenes]
    source, right = swap(scenes, own, settings.swapped, rng)
    texts = [own[i] for i in source]
    logits = np.concatenate(match_logits(bundle, images, [[t] for t in texts], settings.batch_size))
    margin = (logits[:, 1] - logits[:, 0]).astype(np.float64)
    rows = np.stack([margin, right * 1.0], axis=1)
    low, high = bootstrap_interval(rows, settings.seed, _auroc)
    measures = {"auroc": Measure(auroc(margin, right), low, high)}
    pool = _pool(scenes, own, settings, rng)
    cosine = (
        embed_images(bundle, [images[i] for i in pool], settings.batch_size)
        @ embed_texts(bundle, [own[i] for i in pool]).T
    )
    same = np.eye(len(pool), dtype=bool)
    for way, scores in (("i2t_r1", cosine), ("t2i_r1", cosine.T)):
        measures[way] = mean_of((first_ranks(scores, same) == 0) * 1.0, settings.seed)
    return measures


def _auroc(rows: np.ndarray) -> float:
    """Of one resample; one in which all are alike says nothing and counts half."""
    labels = rows[:, 1] > 0
    return 0.5 if labels.all() or not labels.any() else auroc(rows[:, 0], labels)


def _pool(
    scenes: list[Scene], own: list[str], settings: ScenesSettings, rng: np.random.Generator
) -> list[int]:
    """Scenes of the first style that cannot be confused."""
    count = len(scenes) // len(settings.styles)
    order = rng.permutation(count).tolist()
    return distinct(scenes, own, order, min(settings.candidates, max(2, count // 2)))
