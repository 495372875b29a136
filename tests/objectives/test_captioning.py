import math

import pytest
import torch
from torch import Tensor

from limner.objectives.captioning import lm_loss, lm_targets, token_loss

V = 7
IDS = torch.tensor([[1, 4, 5, 2, 0], [1, 6, 2, 0, 0], [1, 3, 3, 4, 2]])
MASK = IDS != 0
PROMPTS = torch.tensor([1, 2, 3])


def _logits(seed: int = 0) -> Tensor:
    return torch.randn(3, 5, V, generator=torch.Generator().manual_seed(seed))


def _slow_lm(logits: Tensor, smoothing: float, prompts: list[int]) -> float:
    """Mean over counted tokens of −Σ_v target(v)·log p(v), target = (1 − ε)·one-hot + ε/v."""
    terms = []
    for row in range(3):
        for position in range(1, 5):
            if not MASK[row, position] or position < prompts[row]:
                continue
            scores = logits[row, position - 1].double().tolist()
            norm = math.log(sum(math.exp(s) for s in scores))
            term = 0.0
            for word in range(V):
                target = smoothing / V + (1 - smoothing) * (word == IDS[row, position].item())
                term -= target * (scores[word] - norm)
            terms.append(term)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("prompts", [None, PROMPTS])
def test_lm_loss_equals_the_triple_loop(smoothing: float, prompts: Tensor | None) -> None:
    loss = lm_loss(_logits(), IDS, MASK, smoothing, prompts)
    wanted = _slow_lm(_logits(), smoothing, [0, 0, 0] if prompts is None else prompts.tolist())
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


def test_lm_loss_equals_torch_with_ignored_labels() -> None:
    labels = IDS[:, 1:].masked_fill(~MASK[:, 1:], -100)
    wanted = torch.nn.functional.cross_entropy(
        _logits()[:, :-1].flatten(0, 1), labels.flatten(), ignore_index=-100, label_smoothing=0.1
    )
    torch.testing.assert_close(lm_loss(_logits(), IDS, MASK), wanted)


def test_targets_are_the_next_real_tokens_after_the_prompt() -> None:
    keep, targets = lm_targets(IDS, MASK, PROMPTS)
    assert keep.int().tolist() == [[1, 1, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 1, 0]]
    assert targets.tolist() == [4, 5, 2, 2, 4, 2]


def test_gathering_hidden_states_before_the_vocabulary_gives_the_same_loss_and_gradient() -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(3, 5, 4), torch.nn.Linear(4, V)
    full = lm_loss(head(hidden), IDS, MASK, prompt_lengths=PROMPTS)
    wanted = torch.autograd.grad(full, head.weight)[0]
    keep, targets = lm_targets(IDS, MASK, PROMPTS)
    lean = token_loss(head(hidden[keep]), targets)
    torch.testing.assert_close(lean, full)
    torch.testing.assert_close(torch.autograd.grad(lean, head.weight)[0], wanted)


def test_padding_and_prompt_tokens_do_not_move_the_loss() -> None:
    changed = IDS.clone()
    changed[0, 4], changed[2, 1] = 5, 6
    torch.testing.assert_close(
        lm_loss(_logits(), changed, MASK, prompt_lengths=PROMPTS),
        lm_loss(_logits(), IDS, MASK, prompt_lengths=PROMPTS),
    )


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        (IDS, torch.zeros_like(MASK)),
        (IDS[:, :0], MASK[:, :0]),
        (IDS[:, :1], MASK[:, :1]),
    ],
)
def test_nothing_to_predict_is_zero_with_zero_gradient(ids: Tensor, mask: Tensor) -> None:
    logits = _logits()[:, : ids.shape[1]].clone().requires_grad_()
    loss = lm_loss(logits, ids, mask)
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()
