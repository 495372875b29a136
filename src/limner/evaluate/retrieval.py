"""Find the text of a picture and the picture of a text, by cosine and, as BLIP does, re-ranked by ITM.

Implements: R@1, R@5, R@10 and median rank in both directions, several texts a picture allowed; re-rank of the
top k by ITM logit + cosine, all others −100 (neither probability nor divided by the temperature).
Differs: a pair that is in the top k of both directions is scored once, and each picture passes the vision
tower twice whatever k is, so that nothing but the cosines is held for the whole set.
Large sets go block by block (`ranks_by_cosine`, `top_candidates`, `ranks_reranked`): a block of scores and k
candidates a query are held, never all pairs.
Checked against: a loop over the released evaluation's steps.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), section 3.1.4; Li et al. 2022 (BLIP, arXiv 2201.12086),
section 5.1 and its released evaluation.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from limner.checkpoint import Bundle
from limner.evaluate.matching import match_looked
from limner.evaluate.metrics import first_ranks
from limner.evaluate.pictures import Progress, embed_images, embed_texts, looks

OUTSIDE = -100.0
"""Score of a pair that was not re-ranked."""

KS = (1, 5, 10)


def recalls(
    image_to_text: Float[np.ndarray, "p t"],
    owners: Int[np.ndarray, " t"],
    text_to_image: Float[np.ndarray, "p t"] | None = None,
) -> dict[str, float]:
    """Recall and median rank in both directions.

    Args:
        image_to_text: score of each picture with each text.
        owners: picture of each text, [0, p); each picture has at least one text.
        text_to_image: scores for the other direction, same layout; the same when None.
    Returns: `i2t_r1`, `i2t_r5`, `i2t_r10`, the same for `t2i`, `r_mean` of these six, and both median
        ranks, counted from 1: `i2t_median_rank`, `t2i_median_rank`.
    """
    positives = np.arange(len(image_to_text))[:, None] == owners
    back = image_to_text if text_to_image is None else text_to_image
    ranks = {"i2t": first_ranks(image_to_text, positives), "t2i": first_ranks(back.T, positives.T)}
    result = {f"{way}_r{k}": float(np.mean(rank < k)) for way, rank in ranks.items() for k in KS}
    result["r_mean"] = float(np.mean(list(result.values())))
    return result | {f"{way}_median_rank": float(np.median(rank)) + 1 for way, rank in ranks.items()}


def retrieval(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    texts: Sequence[str],
    owners: Sequence[int] | None = None,
    top_k: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Measure retrieval of a BLIP among the given pictures and texts.

    Args:
        bundle: a BLIP.
        images: u8 pixels at the model's size.
        texts: one or more a picture.
        owners: picture of each text; text r belongs to picture r when None.
        top_k: candidates re-ranked by ITM (BLIP: 256 on COCO, 128 on Flickr30K); 0 is by cosine alone.
        batch_size: pictures at a time.
        progress: counts pictures, of each pass.
    Returns: see `recalls`.
    """
    owner = np.arange(len(images)) if owners is None else np.asarray(owners)
    cosine = embed_images(bundle, images, batch_size, progress) @ embed_texts(bundle, texts).T
    if not top_k:
        return recalls(cosine, owner)
    image_to_text, text_to_image = rerank(bundle, images, texts, cosine, top_k, batch_size, progress)
    return recalls(image_to_text, owner, text_to_image)


def rerank(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    texts: Sequence[str],
    cosine: Float[np.ndarray, "p t"],
    top_k: int,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> tuple[Float[np.ndarray, "p t"], Float[np.ndarray, "p t"]]:
    """Score the best pairs by ITM.

    Args:
        bundle: a BLIP.
        images: u8 pixels at the model's size.
        texts: t of them.
        cosine: of each picture with each text.
        top_k: texts for each picture, and pictures for each text.
        batch_size: pictures at a time.
        progress: counts pictures.
    Returns: scores for pictures → texts and for texts → pictures, both of shape (p, t).
    Source: BLIP's released evaluation: ITM logit of "matched" + cosine inside the top k, −100 outside.
    """
    texts_of, images_of = top(cosine, top_k), top(cosine.T, top_k).T
    scores = np.full(cosine.shape, OUTSIDE, np.float32)
    for batch, seen in looks(bundle, images, batch_size, progress):
        rows, columns = np.nonzero((texts_of | images_of)[batch.start : batch.stop])
        logits = match_looked(bundle, seen, [texts[c] for c in columns.tolist()], rows.tolist())
        at = (rows + batch.start, columns)
        scores[at] = logits[:, 1] + cosine[at]
    return np.where(texts_of, scores, OUTSIDE), np.where(images_of, scores, OUTSIDE)


def ranks_by_cosine(
    queries: Float[np.ndarray, "q e"],
    candidates: Float[np.ndarray, "c e"],
    right: Sequence[Sequence[int]],
    block: int = 256,
) -> Int[np.ndarray, " q"]:
    """Rank of each query's best right candidate, from 0, with a block of scores in memory at a time.

    Args:
        queries: unit vectors.
        candidates: unit vectors.
        right: the right candidates of each query, one or more.
        block: queries at a time.
    Raises: see `first_ranks`.
    """
    found = []
    for start in range(0, len(queries), block):
        similarity = queries[start : start + block] @ candidates.T
        positives = np.zeros(similarity.shape, dtype=bool)
        for row, places in enumerate(right[start : start + block]):
            positives[row, list(places)] = True
        found.append(first_ranks(similarity, positives))
    return np.concatenate(found)


def top_candidates(
    queries: Float[np.ndarray, "q e"],
    candidates: Float[np.ndarray, "c e"],
    k: int,
    block: int = 256,
) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """The k candidates of the largest cosine of each query, best first, and these cosines; block by block."""
    places, cosines = [], []
    for start in range(0, len(queries), block):
        similarity = queries[start : start + block] @ candidates.T
        best = np.argsort(similarity, axis=1, kind="stable")[:, ::-1][:, :k]
        places.append(best)
        cosines.append(np.take_along_axis(similarity, best, axis=1))
    return np.concatenate(places), np.concatenate(cosines)


def ranks_reranked(
    inside: Int[np.ndarray, "q k"],
    scores: Float[np.ndarray, "q k"],
    right: Sequence[Sequence[int]],
    candidates: int,
) -> Int[np.ndarray, " q"]:
    """Rank of each query's best right candidate where only k candidates have a score and all others −100.

    Equal scores stand as in `first_ranks`: the larger index first.

    Args:
        inside: candidates that were scored.
        scores: of these, above −100.
        right: the right candidates of each query, one or more.
        candidates: how many there are.
    """
    return np.array(
        [
            _rank_reranked(own, score, np.asarray(wanted), candidates)
            for own, score, wanted in zip(inside, scores, right, strict=True)
        ]
    )


def _rank_reranked(
    inside: Int[np.ndarray, " k"],
    scores: Float[np.ndarray, " k"],
    right: Int[np.ndarray, " r"],
    candidates: int,
) -> int:
    hits = np.isin(inside, right)
    if hits.any():
        best = float(scores[hits].max())
        place = int(inside[hits & (scores == best)].max())
        return int(((scores > best) | ((scores == best) & (inside > place))).sum())
    place = int(right.max())
    return len(inside) + (candidates - 1 - place) - int((inside > place).sum())


def rank_measures(ranks: Int[np.ndarray, " q"]) -> dict[str, Float[np.ndarray, " q"]]:
    """What each query adds to recall at 1, 5, 10 and to the mean reciprocal rank; ranks count from 0."""
    hits = {f"r{k}": (ranks < k).astype(np.float64) for k in KS}
    return hits | {"mrr": 1 / (ranks + 1.0)}


def top(scores: Float[np.ndarray, "q c"], k: int) -> Bool[np.ndarray, "q c"]:
    """True at the k largest of each row, among equal ones the later.

    Args:
        scores: rows: queries.
        k: all when there are fewer.
    """
    inside = np.zeros(scores.shape, dtype=bool)
    best = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]
    np.put_along_axis(inside, best, values=True, axis=1)
    return inside
