"""The held-out measures of a BLIP on generated scenes, where the truth is known exactly.

Give it scenes no training has seen (numbers past the training range, or another seed). Each style is measured
by itself, on the same compositions, and the plain measures are the means over styles.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.scene_language import is_exact, nouns_right
from limner.data.scenes import Scene, SceneSettings, scene
from limner.data.transforms import to_u8
from limner.errors import DataError
from limner.evaluate.answering import answer_looked, answer_quality
from limner.evaluate.captioning import GREEDY, Check, caption_looked, caption_quality
from limner.evaluate.matching import match_looked
from limner.evaluate.metrics import auroc
from limner.evaluate.pictures import Progress, embed_texts, looks
from limner.evaluate.retrieval import recalls, rerank
from limner.models.generate import Decoding


class SuiteSettings(Config):
    """How scenes are used to measure.

    Args:
        seed: of the choice of captions, questions, swaps and candidates.
        swapped: share of pictures that get the caption of another, [0, 1].
        candidates: pictures and texts in one retrieval, all mutually wrong.
        draws: retrievals to average, each of other scenes or another mix of them.
        top_k: candidates re-ranked by ITM in each retrieval; 0 leaves this measure out.
        max_questions: questions a scene.
        decoding: of captions.
        batch_size: pictures at a time.
    """

    seed: int = 0
    swapped: float = Field(default=0.3, ge=0, le=1)
    candidates: int = Field(default=100, ge=2)
    draws: int = Field(default=10, ge=1)
    top_k: int = Field(default=0, ge=0)
    max_questions: int = Field(default=4, ge=1)
    decoding: Decoding = GREEDY
    batch_size: int = Field(default=64, ge=1)


def scenes_suite(
    bundle: Bundle,
    settings: SceneSettings,
    start: int,
    count: int,
    suite: SuiteSettings | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Measure a BLIP on generated scenes.

    Args:
        bundle: a BLIP.
        settings: which family of scenes; each of its styles is measured.
        start: number of the first scene; past all scenes trained on.
        count: scenes, shared evenly by the styles.
        suite: how the scenes are used; the defaults when None.
        progress: counts scenes.
    Returns: shares in [0, 1] but for `cider_d`; means over styles, and each again as `style/name`:
        `auroc`, `itc_auroc`: right captions rank above swapped ones, by ITM score and by cosine;
        `i2t_r1`, `t2i_r1`: first of `candidates` by cosine (`…_reranked`: by ITM among the top k);
        `nouns`, `exact`: generated captions that name exactly what is there, and that are right and complete;
        `cider_d`: of generated captions against all true ones;
        `answers`, `answers_<kind>`: questions answered right.
    Raises: DataError when a style has fewer distinct scenes than `candidates`.
    """
    suite = suite or SuiteSettings()
    each = count // len(settings.styles)
    total = each * len(settings.styles)
    by_style = {}
    for number, style in enumerate(settings.styles):
        family = settings.model_copy(update={"styles": (style,)})
        scenes = [scene(family, index) for index in range(start, start + each)]
        by_style[style] = _measure(bundle, scenes, suite, _shifted(progress, number * each, total))
    shared = set.intersection(*(set(measures) for measures in by_style.values()))
    names = [name for name in by_style[settings.styles[0]] if name in shared]
    means = {name: float(np.mean([measures[name] for measures in by_style.values()])) for name in names}
    return means | {f"{style}/{name}": value for style, m in by_style.items() for name, value in m.items()}


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return (lambda done, _: progress(before + done, total)) if progress else None


class _Heard(NamedTuple):
    """What the model said of all scenes: image embeddings, ITM margins of given texts, captions, answers."""

    embeds: Float[np.ndarray, "n e"]
    margins: Float[np.ndarray, " n"]
    captions: list[str]
    answers: list[str]


Question = tuple[str, str]


def _measure(
    bundle: Bundle, scenes: Sequence[Scene], suite: SuiteSettings, progress: Progress | None
) -> dict[str, float]:
    rng = np.random.default_rng(suite.seed)
    images = [to_u8(Image.fromarray(s.image), bundle.image_spec) for s in scenes]
    own = [str(rng.choice(s.captions)) for s in scenes]
    source, right = swap(scenes, own, suite.swapped, rng)
    pools = [
        distinct(scenes, own, rng.permutation(len(scenes)).tolist(), suite.candidates)
        for _ in range(suite.draws)
    ]
    asked = [
        [s.questions[i] for i in rng.permutation(len(s.questions))[: suite.max_questions]] for s in scenes
    ]
    heard = _listen(bundle, images, [own[i] for i in source], asked, suite, progress)
    cosine = heard.embeds @ embed_texts(bundle, own).T
    flat = [question for questions in asked for question in questions]
    checks: dict[str, Check] = {
        "nouns": lambda i, caption: nouns_right(caption, scenes[i].truth),
        "exact": lambda i, caption: is_exact(caption, scenes[i].truth),
    }
    itc = cosine[np.arange(len(source)), source]
    return (
        {"auroc": auroc(heard.margins, right), "itc_auroc": auroc(itc, right)}
        | _retrieve(bundle, images, own, cosine, pools, suite)
        | caption_quality(heard.captions, [s.captions for s in scenes], checks)
        | answer_quality(heard.answers, [q for q, _ in flat], [[answer] for _, answer in flat])
    )


def _listen(
    bundle: Bundle,
    images: Sequence[np.ndarray],
    texts: Sequence[str],
    asked: Sequence[Sequence[Question]],
    suite: SuiteSettings,
    progress: Progress | None,
) -> _Heard:
    """One pass over the pictures that does everything but retrieval."""
    embeds, margins = [], []
    captions: list[str] = []
    answers: list[str] = []
    for batch, seen in looks(bundle, images, suite.batch_size, progress):
        embeds.append(seen.embed.float().cpu().numpy())
        logits = match_looked(bundle, seen, [texts[i] for i in batch], range(len(batch)))
        margins.append(logits[:, 1] - logits[:, 0])
        captions += caption_looked(bundle, seen, suite.decoding, batch)
        questions = [(row, question) for row, i in enumerate(batch) for question, _ in asked[i]]
        answers += answer_looked(bundle, seen, [q for _, q in questions], [row for row, _ in questions])
    return _Heard(np.concatenate(embeds), np.concatenate(margins), captions, answers)


def swap(
    scenes: Sequence[Scene], captions: Sequence[str], share: float, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Give a share of the scenes a caption of another scene that is wrong for them.

    Args:
        scenes: n of them.
        captions: one true caption each.
        share: of scenes to swap, [0, 1].
        rng: chooses who and from whom.
    Returns: for each scene the index of its caption, and whether that caption is right.
    """
    source = np.arange(len(scenes))
    for i in rng.permutation(len(scenes))[: round(share * len(scenes))]:
        others = rng.permutation(len(scenes)).tolist()
        source[i] = next((j for j in others if not is_exact(captions[j], scenes[i].truth)), i)
    return source, source == np.arange(len(scenes))


def distinct(scenes: Sequence[Scene], captions: Sequence[str], order: Sequence[int], count: int) -> list[int]:
    """The first scenes of an order such that no caption is right for another scene's picture.

    Args:
        scenes: all scenes.
        captions: one true caption each.
        order: indices to try, one by one.
        count: how many are wanted.
    Raises: DataError when the order does not hold that many.
    """
    chosen: list[int] = []
    alike: defaultdict[frozenset[str], list[int]] = defaultdict(list)
    for i in order:
        # A right caption names every concept, so only scenes of the same concepts can be in each other's way.
        rivals = alike[frozenset(thing.concept for thing in scenes[i].truth.things)]
        if any(
            is_exact(captions[i], scenes[j].truth) or is_exact(captions[j], scenes[i].truth) for j in rivals
        ):
            continue
        rivals.append(i)
        chosen.append(i)
        if len(chosen) == count:
            return chosen
    raise DataError(
        f"{len(order)} scenes of a style hold {len(chosen)} that cannot be confused",
        wanted=f"{count} candidates for retrieval",
        hint="measure on more scenes, or with fewer candidates",
    )


def _retrieve(
    bundle: Bundle,
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    cosine: Float[np.ndarray, "n n"],
    pools: Sequence[Sequence[int]],
    suite: SuiteSettings,
) -> dict[str, float]:
    """R@1 in each pool of candidates, and the mean of the pools."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for pool in pools:
        scores = cosine[np.ix_(pool, pool)]
        ways = {"": (scores, scores)}
        if suite.top_k:
            pictures, texts = [images[i] for i in pool], [captions[i] for i in pool]
            ways["_reranked"] = rerank(bundle, pictures, texts, scores, suite.top_k, suite.batch_size)
        for ending, (image_to_text, text_to_image) in ways.items():
            measures = recalls(image_to_text, np.arange(len(pool)), text_to_image)
            for name in ("i2t_r1", "t2i_r1"):
                found[name + ending].append(measures[name])
    return {name: float(np.mean(values)) for name, values in found.items()}
