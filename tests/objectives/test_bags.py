import math

import torch

from limner.objectives.bags import bag_losses, bags

WORDS = torch.tensor([[0, 3, 3, 4], [0, -1, 0, 0]])


def test_a_bag_holds_each_word_once():
    assert bags(WORDS, 5, (0,)).tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    assert bags(WORDS, 5).tolist() == [[1, 0, 0, 1, 1], [1, 0, 0, 0, 0]]


def test_losses_are_those_of_loops_over_rows_and_words():
    torch.manual_seed(0)
    logits = torch.randn(3, 6, requires_grad=True)
    held = torch.tensor([[0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 0], [0.0] * 6])
    found = {form: bag_losses(logits, held, form) for form in ("softmax", "sigmoid")}
    plain = {form: losses.tolist() for form, losses in found.items()}
    for row in range(3):
        scores = logits[row].tolist()
        inside = [word for word in range(6) if held[row, word]]
        partition = sum(math.exp(score) for score in scores)
        soft = sum(-math.log(math.exp(scores[word]) / partition) / len(inside) for word in inside)
        hard = 0.0
        for word in range(6) if inside else ():
            p = 1 / (1 + math.exp(-scores[word]))
            hard -= math.log(p if held[row, word] else 1 - p)
        assert math.isclose(plain["softmax"][row], soft, rel_tol=1e-5)
        assert math.isclose(plain["sigmoid"][row], hard, rel_tol=1e-5, abs_tol=1e-9)
    for losses in found.values():
        (grad,) = torch.autograd.grad(losses.sum(), logits, retain_graph=True)
        assert grad.isfinite().all()
        assert grad[:2].any(1).all()
        assert not grad[2].any()  # an empty bag asks nothing
