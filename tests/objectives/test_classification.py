import math

import pytest
import torch

from limner.errors import ShapeError
from limner.objectives.classification import accuracy, classification_loss, mixed, soft_targets


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_soft_targets_are_the_definition() -> None:
    targets = soft_targets(torch.tensor([2, 0]), 4, 0.1)
    assert targets.sum(1).tolist() == pytest.approx([1, 1])
    assert targets[0].tolist() == pytest.approx([0.025, 0.025, 0.925, 0.025])
    assert soft_targets(torch.tensor([1]), 3).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("labels", [[4], [-1]])
def test_a_label_that_is_no_class_is_refused(labels: list[int]) -> None:
    with pytest.raises(ShapeError, match="0 to 3"):
        soft_targets(torch.tensor(labels), 4)


def test_the_loss_equals_a_loop() -> None:
    logits, targets = torch.randn(5, 4), soft_targets(torch.tensor([0, 3, 1, 1, 2]), 4, 0.2)
    softmax = sigmoid = 0.0
    for row, target in zip(logits.double().tolist(), targets.double().tolist(), strict=True):
        total = sum(math.exp(v) for v in row)
        for value, share in zip(row, target, strict=True):
            softmax -= share * math.log(math.exp(value) / total)
            p = 1 / (1 + math.exp(-value))
            sigmoid -= share * math.log(p) + (1 - share) * math.log(1 - p)
    assert float(classification_loss(logits, targets)) == pytest.approx(softmax / 5, rel=1e-5)
    assert float(classification_loss(logits, targets, "sigmoid")) == pytest.approx(sigmoid / 5, rel=1e-5)


def test_smoothing_is_torch_s() -> None:
    logits, labels = torch.randn(6, 10), torch.arange(6)
    wanted = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(classification_loss(logits, soft_targets(labels, 10, 0.1)), wanted)


def test_mixup_is_a_sum_of_two_rows_in_one_share() -> None:
    pixels, targets = torch.randn(4, 3, 6, 6), torch.eye(4)
    read = mixed(pixels, targets, generator(), mixup=0.8)
    share = read.targets[0, 0]
    assert 0 < share < 1
    torch.testing.assert_close(read.pixels, share * pixels + (1 - share) * pixels.flip(0))
    torch.testing.assert_close(read.targets, share * targets + (1 - share) * targets.flip(0))


def test_cutmix_s_labels_are_shares_of_its_area() -> None:
    pixels = torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 10)
    seen = set()
    for seed in range(20):
        read = mixed(pixels, torch.eye(4), generator(seed), cutmix=1.0)
        own = (read.pixels[0, 0] == 0).float()
        assert float(own.mean()) == pytest.approx(float(read.targets[0, 0]))
        other = (1 - own).nonzero()
        if len(other):  # a window: all of its rows and columns
            height, width = (other.max(0).values - other.min(0).values + 1).tolist()
            assert height * width == len(other)
        seen.add(round(float(own.mean()), 3))
    assert len(seen) > 5


def test_shares_follow_the_beta_distribution() -> None:
    one, both = torch.zeros(2, 3, 1, 1), torch.eye(2)
    draw = generator()
    shares = torch.stack([mixed(one, both, draw, mixup=0.4).targets[0, 0] for _ in range(4000)])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.06)


def test_a_coin_decides_between_both() -> None:
    pixels = torch.arange(2.0)[:, None, None, None].expand(2, 3, 8, 8)
    draw, kinds = generator(), []
    for _ in range(200):
        values = mixed(pixels, torch.eye(2), draw, mixup=1.0, cutmix=1.0).pixels[0].unique()
        kinds.append(set(values.tolist()) <= {0.0, 1.0})
    assert 60 < sum(kinds) < 140


def test_without_mixing_nothing_is_drawn() -> None:
    draw, pixels = generator(), torch.randn(2, 3, 4, 4)
    before = draw.get_state()
    read = mixed(pixels, torch.eye(2), draw)
    assert read.pixels is pixels
    assert torch.equal(before, draw.get_state())


@pytest.mark.parametrize(("top", "wanted"), [(1, 0.5), (2, 1.0), (9, 1.0)])
def test_accuracy_counts_rows_whose_class_is_among_the_best(top: int, wanted: float) -> None:
    logits = torch.tensor([[0.1, 0.9, 0.0], [0.5, 0.4, 0.1]])
    assert float(accuracy(logits, torch.tensor([1, 1]), top)) == wanted


def test_a_mixed_loss_reaches_the_picture() -> None:
    pixels = torch.randn(4, 3, 5, 5, requires_grad=True)
    read = mixed(pixels, torch.eye(4), generator(), cutmix=1.0)
    classification_loss(read.pixels.flatten(1)[:, :4], read.targets).backward()
    assert pixels.grad is not None
