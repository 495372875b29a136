import math

import torch

from limner.data import worded
from limner.objectives.masked_word import NONE, choose_word, masked_word_losses, with_mask

CONCEPTS = torch.tensor([[-1, 4, -1, 2, 2], [-1, -1, -1, -1, -1], [-1, 0, -1, -1, -1]])


def test_each_place_is_as_likely():
    draws = torch.rand(30_000, generator=torch.Generator().manual_seed(0))
    place = choose_word(CONCEPTS[:1].expand(len(draws), -1), draws).place
    shares = place.bincount(minlength=5) / len(draws)
    torch.testing.assert_close(shares, torch.tensor([0, 1, 0, 1, 1]) / 3, atol=0.01, rtol=0)


def test_the_choice_is_that_of_a_loop():
    for draw in (0.0, 0.34, 0.5, 0.99, math.nextafter(1.0, 0.0)):
        choice = choose_word(CONCEPTS, torch.full((3,), min(draw, 0.9999999)))
        for row, concepts in enumerate(CONCEPTS.tolist()):
            places = [i for i, concept in enumerate(concepts) if concept >= 0]
            want = places[int(min(draw, 0.9999999) * len(places))] if places else 0
            assert int(choice.place[row]) == want
            assert int(choice.concept[row]) == concepts[want]


def test_the_loss_is_cross_entropy_where_there_is_a_word():
    torch.manual_seed(0)
    logits, concept = torch.randn(3, 5, requires_grad=True), torch.tensor([4, NONE, 0])
    found = masked_word_losses(logits, concept)
    for row in (0, 2):
        exps = [math.exp(score) for score in logits[row].tolist()]
        assert math.isclose(found[row].item(), -math.log(exps[concept[row]] / sum(exps)), rel_tol=1e-5)
    assert found[1].item() == 0
    found.sum().backward()
    assert logits.grad.any(1).tolist() == [True, False, True]


def test_only_chosen_words_are_masked():
    ids = torch.arange(15).view(3, 5) + 10
    masked = with_mask(ids, choose_word(CONCEPTS, torch.tensor([0.5, 0.5, 0.5])), 1)
    assert (masked != ids).tolist() == [
        [False, False, False, True, False],
        [False] * 5,
        [False, True] + [False] * 3,
    ]
    assert masked[0, 3] == masked[2, 1] == 1


def test_both_files_mean_the_same_by_none():
    assert worded.NONE == NONE
