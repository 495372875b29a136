import math

import pytest
import torch

from limner.objectives.contrastive import info_nce
from limner.objectives.convirt import convirt_loss


def unit(rows, seed):
    torch.manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, 4), dim=1).requires_grad_()


@pytest.mark.parametrize(("rows", "weight", "temperature"), [(5, 0.75, 0.1), (3, 0.0, 0.5), (1, 0.75, 0.1)])
def test_the_loss_is_that_of_a_double_loop(rows, weight, temperature):
    image, text = unit(rows, 0), unit(rows, 1)
    total = 0.0
    for i in range(rows):
        pair = math.exp((image[i] @ text[i]).item() / temperature)
        texts = sum(math.exp((image[i] @ text[k]).item() / temperature) for k in range(rows))
        images = sum(math.exp((image[k] @ text[i]).item() / temperature) for k in range(rows))
        total -= weight * math.log(pair / texts) + (1 - weight) * math.log(pair / images)
    found = convirt_loss(image, text, temperature, weight)
    assert math.isclose(found.item(), total / rows, rel_tol=1e-4, abs_tol=1e-6)
    found.backward()
    assert image.grad.isfinite().all()
    assert bool(image.grad.any()) == (rows > 1)


def test_half_and_half_is_clip_s():
    image, text = unit(6, 0), unit(6, 1)
    torch.testing.assert_close(convirt_loss(image, text, 0.1, 0.5), info_nce(image, text, 10.0))
