"""The text of a picture and the picture of a text, among thousands: by cosine, and re-ranked by ITM."""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.transforms import to_u8
from limner.errors import CheckpointError
from limner.evaluate.matching import match_looked
from limner.evaluate.pictures import Progress, embed_texts, look
from limner.evaluate.retrieval import rank_measures, ranks_by_cosine, ranks_reranked, top_candidates
from limner.models.blip import BLIP
from limner.suite.features import features
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.rows import Rows, rows_of
from limner.suite.selection import Selection

_BATCH = 16


class RetrievalSettings(Config):
    """How pairs are ranked.

    Args:
        top_k: candidates of each query that ITM scores again (BLIP: 256 on COCO, 128 on Flickr30K); 0 is by
            cosine alone.
        prefix: written before each text; CLIP has "a photo of ".
        texts_a_picture: the first so many texts of each; 0 is all.
    """

    top_k: int = Field(default=0, ge=0)
    prefix: str = ""
    texts_a_picture: int = Field(default=0, ge=0)


class _Pairs(NamedTuple):
    """All texts, the picture of each, and the texts of each picture."""

    texts: list[str]
    owners: list[int]
    of_picture: list[list[int]]


def measure(
    bundle: Bundle, selection: Selection, settings: RetrievalSettings, progress: Progress | None
) -> Outcome:
    """Measure both directions.

    Raises: CheckpointError when the model compares nothing, or cannot re-rank; DataError when no row has a
        text.
    """
    if settings.top_k and not (isinstance(bundle.model, BLIP) and "itm" in bundle.model.config.heads):
        raise CheckpointError(
            f"{bundle.path} is a {bundle.kind} without ITM, which re-ranks nothing",
            wanted="a BLIP with the head itm",
            hint="--set top_k=0",
        )
    rows = rows_of(selection).captioned()
    images = features(bundle, rows, "joint", progress)
    pairs = _pairs(rows, settings)
    texts = embed_texts(bundle, pairs.texts)
    one_owner = [[owner] for owner in pairs.owners]
    ranks = {
        "i2t": ranks_by_cosine(images, texts, pairs.of_picture),
        "t2i": ranks_by_cosine(texts, images, one_owner),
    }
    measures = _measures(ranks)
    details: dict[str, Any] = {"pictures": len(images), "texts": len(texts)}
    notes = _notes(pairs)
    if settings.top_k:
        began = time.perf_counter()
        again, scored = _reranked(bundle, rows, pairs, images, texts, settings.top_k, progress)
        seconds = time.perf_counter() - began
        plain = {f"itc_{name}": measure for name, measure in measures.items()}
        ranks, measures = again, _measures(again) | plain
        details |= {
            "pairs_reranked": scored,
            "rerank_ms_a_query": 1000 * seconds / (len(images) + len(texts)),
        }
    return Outcome(measures, _samples(rows, pairs, ranks), details, tuple(notes))


def _pairs(rows: Rows, settings: RetrievalSettings) -> _Pairs:
    texts: list[str] = []
    owners: list[int] = []
    of_picture: list[list[int]] = []
    for picture, said in enumerate(rows.texts):
        own = said[: settings.texts_a_picture or None]
        of_picture.append(list(range(len(texts), len(texts) + len(own))))
        texts += [settings.prefix + text for text in own]
        owners += [picture] * len(own)
    return _Pairs(texts, owners, of_picture)


def _notes(pairs: _Pairs) -> list[str]:
    owners_of = defaultdict(set)
    for text, owner in zip(pairs.texts, pairs.owners, strict=True):
        owners_of[text].add(owner)
    shared = sum(len(owners) > 1 for owners in owners_of.values())
    return [f"{shared} texts belong to several pictures; each counts for its own alone"] if shared else []


def _measures(ranks: dict[str, Int[np.ndarray, " q"]]) -> dict[str, Measure]:
    """Recalls with the mean of the six first, mean reciprocal ranks, median ranks from 1."""
    each = {
        f"{way}_{name}": values for way, rank in ranks.items() for name, values in rank_measures(rank).items()
    }
    found = {name: mean_of(values) for name, values in each.items()}
    recalls = [measure.value for name, measure in found.items() if "_r" in name]
    medians = {f"{way}_median_rank": Measure(float(np.median(rank)) + 1) for way, rank in ranks.items()}
    return {"i2t_r1": found.pop("i2t_r1"), **found, "r_mean": Measure(float(np.mean(recalls))), **medians}


def _samples(rows: Rows, pairs: _Pairs, ranks: dict[str, Int[np.ndarray, " q"]]) -> list[dict[str, Any]]:
    """One a picture: its rank among texts, and those of its texts among pictures."""
    return [
        {
            "key": key,
            "score": float(ranks["i2t"][picture] < 1),
            "rank": int(ranks["i2t"][picture]) + 1,
            "texts": [pairs.texts[text] for text in own],
            "text_ranks": (ranks["t2i"][own] + 1).tolist(),
        }
        for picture, (key, own) in enumerate(zip(rows.keys, pairs.of_picture, strict=True))
    ]


def _reranked(
    bundle: Bundle,
    rows: Rows,
    pairs: _Pairs,
    images: Float[np.ndarray, "p e"],
    texts: Float[np.ndarray, "t e"],
    top_k: int,
    progress: Progress | None,
) -> tuple[dict[str, Int[np.ndarray, " q"]], int]:
    """Ranks by ITM logit + cosine in the top k, and how many pairs were scored; a pair of both ways once."""
    texts_of, text_cosines = top_candidates(images, texts, top_k)
    images_of, image_cosines = top_candidates(texts, images, top_k)
    asked = [dict.fromkeys(own.tolist()) for own in texts_of]
    for text, own in enumerate(images_of.tolist()):
        for picture in own:
            asked[picture][text] = None
    logits = _itm(bundle, rows, pairs.texts, asked, progress)
    picture_scores = _looked_up(logits, texts_of) + text_cosines
    text_scores = np.array(
        [[logits[picture][text] for picture in own] for text, own in enumerate(images_of.tolist())]
    )
    ranks = {
        "i2t": ranks_reranked(texts_of, picture_scores, pairs.of_picture, len(texts)),
        "t2i": ranks_reranked(
            images_of, text_scores + image_cosines, [[owner] for owner in pairs.owners], len(images)
        ),
    }
    return ranks, sum(map(len, logits))


def _itm(
    bundle: Bundle,
    rows: Rows,
    texts: Sequence[str],
    asked: Sequence[dict[int, None]],
    progress: Progress | None,
) -> list[dict[int, float]]:
    """ITM logit of each picture with each text that is asked of it."""
    found: list[dict[int, float]] = []
    for places, pixels in rows.batches(lambda picture: to_u8(picture, bundle.image_spec), _BATCH):
        wanted = [(place - places.start, text) for place in places for text in asked[place]]
        own, words = zip(*wanted, strict=True) if wanted else ((), ())
        logits = match_looked(bundle, look(bundle, pixels), [texts[text] for text in words], list(own))[:, 1]
        found += [{} for _ in places]
        for (row, text), logit in zip(wanted, logits.tolist(), strict=True):
            found[places.start + row][text] = logit
        if progress:
            progress(places.stop, len(rows.keys))
    return found


def _looked_up(
    logits: Sequence[dict[int, float]], places: Int[np.ndarray, "q k"]
) -> Float[np.ndarray, "q k"]:
    return np.array([[own[place] for place in row] for own, row in zip(logits, places.tolist(), strict=True)])
