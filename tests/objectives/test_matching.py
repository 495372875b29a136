import math

import pytest
import torch
from torch import Tensor

from limner.objectives.matching import LEFT_OUT, hard_negatives, itm_labels, itm_loss

DRAWS = 10_000


def _similarity(size: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(size, size, generator=torch.Generator().manual_seed(1))


def _same(ids: list[int]) -> Tensor:
    column = torch.tensor(ids)
    return column[:, None] == column


def _many_draws(similarity: Tensor, same: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pairs = [hard_negatives(similarity, same, generator) for _ in range(draws)]
    return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])


def _slow_weights(scores: list[float], allowed: list[bool]) -> list[float]:
    powers = [math.exp(s) for s in scores]
    weights = [(p / sum(powers) + 1e-4) * a for p, a in zip(powers, allowed, strict=True)]
    return [w / sum(weights) for w in weights]


def test_ten_thousand_draws_never_take_the_own_pair_nor_the_same_picture() -> None:
    ids = [0, 1, 2, 1, 3, 4, 4, 5]
    same = _same(ids)
    # A sharp similarity whose own pair scores highest, where a wrong mask would show at once.
    similarity = _similarity(8, 5.0) + 20 * torch.eye(8)
    images, texts = _many_draws(similarity, same, DRAWS // 8)
    rows = torch.arange(8).expand_as(images)
    assert images.numel() == DRAWS
    assert not same[rows, images].any()
    assert not same[rows, texts].any()


def test_draws_follow_the_softmax_of_the_similarity() -> None:
    size, same = 4, _same([0, 1, 2, 2])
    similarity = _similarity(size)
    images, texts = _many_draws(similarity, same, 4000)
    for row in range(size):
        allowed = [not same[row, c].item() for c in range(size)]
        for drawn, scores in ((texts, similarity[row]), (images, similarity[:, row])):
            frequency = torch.bincount(drawn[:, row], minlength=size) / len(drawn)
            torch.testing.assert_close(
                frequency, torch.tensor(_slow_weights(scores.tolist(), allowed)), atol=0.03, rtol=0
            )


def test_the_same_generator_state_draws_the_same() -> None:
    one, two = (
        hard_negatives(_similarity(6), _same(list(range(6))), torch.Generator().manual_seed(5))
        for _ in range(2)
    )
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_the_own_pair_is_forbidden_even_if_same_does_not_say_so() -> None:
    images, texts = _many_draws(_similarity(3), torch.zeros(3, 3, dtype=torch.bool), 200)
    assert not (images == torch.arange(3)).any()
    assert not (texts == torch.arange(3)).any()


@pytest.mark.parametrize("ids", [[0], [7, 7, 7]])
def test_rows_without_a_negative_are_left_out_and_give_no_nan(ids: list[int]) -> None:
    size = len(ids)
    negatives = hard_negatives(_similarity(size), _same(ids), torch.Generator().manual_seed(0))
    labels = itm_labels(*negatives)
    assert labels.tolist() == [1] * size + [LEFT_OUT] * 2 * size
    logits = torch.zeros(3 * size, 2, requires_grad=True)
    loss = itm_loss(logits, labels)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert not logits.grad[size:].any()


def test_labels_follow_the_order_pairs_then_hard_texts_then_hard_pictures() -> None:
    image_for_text, text_for_image = torch.tensor([1, 0, 2]), torch.tensor([0, 2, 1])
    assert itm_labels(image_for_text, text_for_image).tolist() == [1, 1, 1, LEFT_OUT, 0, 0, 0, 0, LEFT_OUT]


def test_itm_loss_equals_the_loop() -> None:
    logits = torch.randn(6, 2, generator=torch.Generator().manual_seed(3))
    labels = [1, 1, LEFT_OUT, 0, 0, LEFT_OUT]
    terms = [
        -math.log(math.exp(pair[label]) / (math.exp(pair[0]) + math.exp(pair[1])))
        for pair, label in zip(logits.tolist(), labels, strict=True)
        if label != LEFT_OUT
    ]
    assert itm_loss(logits, torch.tensor(labels)).item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_a_similarity_in_half_precision_is_taken() -> None:
    similarity = (_similarity(5, 40.0)).to(torch.bfloat16)
    images, _ = hard_negatives(similarity, _same(list(range(5))), torch.Generator().manual_seed(0))
    assert images.shape == (5,)


def test_similarities_that_are_not_finite_still_give_permitted_negatives() -> None:
    """On CUDA a draw from NaN would end the process; the loss is to tell."""
    similarity = torch.randn(4, 4)
    similarity[1] = torch.nan
    same = torch.eye(4, dtype=torch.bool)
    images, texts = hard_negatives(similarity, same, torch.Generator().manual_seed(0))
    assert not (images == torch.arange(4)).any()
    assert not (texts == torch.arange(4)).any()
