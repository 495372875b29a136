import numpy as np
import pytest

from limner.checkpoint import Bundle
from limner.evaluate.matching import match_logits
from limner.evaluate.metrics import first_ranks
from limner.evaluate.pictures import embed_images, embed_texts
from limner.evaluate.retrieval import (
    OUTSIDE,
    rank_measures,
    ranks_by_cosine,
    ranks_reranked,
    recalls,
    rerank,
    retrieval,
    top_candidates,
)


def test_recalls_by_hand_with_several_texts_a_picture() -> None:
    scores = np.array([[0.1, 0.9, 0.2, 0.8], [0.5, 0.7, 0.6, 0.3]])
    measured = recalls(scores, np.array([0, 0, 1, 1]))
    assert measured["i2t_r1"] == 0.5
    assert measured["t2i_r1"] == 0.5
    assert measured["i2t_r5"] == measured["t2i_r10"] == 1.0
    assert measured["i2t_median_rank"] == measured["t2i_median_rank"] == 1.5
    assert measured["r_mean"] == pytest.approx((0.5 + 1 + 1 + 0.5 + 1 + 1) / 6)


def test_retrieval_by_cosine_is_the_recall_of_the_embeddings(bundle: Bundle, images, texts) -> None:
    owners = [0, 0, 1, 2, 3, 4, 5]
    cosine = embed_images(bundle, images[:6]) @ embed_texts(bundle, texts).T
    assert retrieval(bundle, images[:6], texts, owners, batch_size=4) == recalls(cosine, np.array(owners))


def _slow_rerank(cosine: np.ndarray, logit: np.ndarray, k: int) -> np.ndarray:
    """BLIP's released evaluation, one query at a time."""
    scores = np.full(cosine.shape, -100.0)
    for query, row in enumerate(cosine):
        for candidate in sorted(range(len(row)), key=lambda c: row[c], reverse=True)[:k]:
            scores[query, candidate] = logit[query, candidate] + row[candidate]
    return scores


@pytest.mark.parametrize("top_k", [1, 3, 7])
def test_rerank_equals_the_loop(bundle: Bundle, images, texts, top_k: int) -> None:
    cosine = embed_images(bundle, images) @ embed_texts(bundle, texts).T
    logit = np.stack([logits[:, 1] for logits in match_logits(bundle, images, [texts] * len(images))])
    image_to_text, text_to_image = rerank(bundle, images, texts, cosine, top_k, batch_size=3)
    np.testing.assert_allclose(image_to_text, _slow_rerank(cosine, logit, top_k), atol=1e-5)
    np.testing.assert_allclose(text_to_image, _slow_rerank(cosine.T, logit.T, top_k).T, atol=1e-5)
    measured = retrieval(bundle, images, texts, top_k=top_k)
    assert measured == recalls(image_to_text, np.arange(7), text_to_image)


def test_a_right_text_outside_the_top_k_gets_the_rank_of_the_released_order() -> None:
    # Released: np.argsort(scores)[::-1], so that among the −100s the larger index comes first.
    scores = np.array([[OUTSIDE, OUTSIDE, 0.3, OUTSIDE, 0.9, OUTSIDE]])
    order = [4, 2, 5, 3, 1, 0]
    for rank, text in enumerate(order):
        assert first_ranks(scores, np.arange(6)[None] == text) == [rank]


def _right(owners: np.ndarray, pictures: int) -> tuple[list[list[int]], list[list[int]]]:
    return [np.flatnonzero(owners == picture).tolist() for picture in range(pictures)], [
        [int(owner)] for owner in owners
    ]


@pytest.mark.parametrize("ties", [False, True])
def test_blocks_rank_as_the_whole(ties: bool) -> None:
    rng = np.random.default_rng(3)
    images, texts = rng.normal(size=(11, 4)), rng.normal(size=(33, 4))
    if ties:
        images, texts = np.sign(images), np.sign(texts)
    owners = np.arange(33) % 11
    to_text, to_image = _right(owners, 11)
    scores, positives = images @ texts.T, np.arange(11)[:, None] == owners
    for block in (1, 4, 256):
        np.testing.assert_array_equal(
            ranks_by_cosine(images, texts, to_text, block), first_ranks(scores, positives)
        )
        np.testing.assert_array_equal(
            ranks_by_cosine(texts, images, to_image, block), first_ranks(scores.T, positives.T)
        )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 4, 12])
def test_reranked_ranks_are_those_of_the_matrix_filled_with_minus_100(ties: bool, k: int) -> None:
    rng = np.random.default_rng(4)
    images, texts, owners = rng.normal(size=(9, 4)), rng.normal(size=(12, 4)), rng.permutation(12) % 9
    if ties:
        images, texts = np.sign(images), np.sign(texts)
    right, _ = _right(owners, 9)
    inside, cosines = top_candidates(images, texts, k, block=2)
    np.testing.assert_allclose(cosines, np.take_along_axis(images @ texts.T, inside, 1))
    scores = np.round(rng.normal(size=inside.shape)) if ties else rng.normal(size=inside.shape)
    filled = np.full((9, 12), -100.0)
    np.put_along_axis(filled, inside, scores, axis=1)
    expected = first_ranks(filled, np.arange(9)[:, None] == owners)
    np.testing.assert_array_equal(ranks_reranked(inside, scores, right, 12), expected)


def test_recalls_and_reciprocal_ranks_of_ranks() -> None:
    found = {name: values.mean() for name, values in rank_measures(np.array([0, 3, 9, 10])).items()}
    assert found == pytest.approx(
        {"r1": 0.25, "r5": 0.5, "r10": 0.75, "mrr": (1 + 1 / 4 + 1 / 10 + 1 / 11) / 4}
    )
