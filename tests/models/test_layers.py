import math

import pytest
import torch
from torch import nn

from limner.models.layers import DropPath, attend, init_transformer, split_heads


def test_split_heads_takes_parts_then_heads() -> None:
    packed = torch.arange(2 * 3 * 12).view(2, 3, 12).float()
    keys, values = split_heads(packed, 2, 3)
    assert keys.shape == (2, 3, 3, 2)
    assert torch.equal(keys[1, 2, 0], packed[1, 0, 4:6])
    assert torch.equal(values[0, 1, 2], packed[0, 2, 8:10])


@pytest.mark.parametrize("causal", [False, True])
def test_attend_equals_the_equation(causal: bool) -> None:
    query, key, value = torch.randn(3, 2, 4, 5, 6).unbind(0)
    mask = torch.rand(2, 1, 1, 5) < 0.7
    mask[..., 0] = True
    out = attend(query, key, value, None if causal else mask, causal=causal)
    for b in range(2):
        for h in range(4):
            for t in range(5):
                seen = [n for n in range(5) if (n <= t if causal else mask[b, 0, 0, n])]
                scores = [query[b, h, t].dot(key[b, h, n]).item() / math.sqrt(6) for n in seen]
                weights = torch.tensor(scores).softmax(0)
                want = sum(w * value[b, h, n] for w, n in zip(weights, seen, strict=True))
                torch.testing.assert_close(out[b, t, 6 * h : 6 * h + 6], want)


def test_drop_path_drops_whole_rows_and_keeps_the_mean() -> None:
    layer, x = DropPath(0.25), torch.ones(4000, 3)
    out = layer(x)
    assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert torch.equal(out.amin(1), out.amax(1))
    assert abs(out.mean().item() - 1) < 0.05
    assert layer.eval()(x) is x


def test_init_transformer_leaves_norms_alone() -> None:
    linear, norm = nn.Linear(300, 300), nn.LayerNorm(4)
    for module in (linear, norm):
        init_transformer(module, std=0.02)
    assert abs(linear.weight.std().item() - 0.02) < 0.001
    assert not linear.bias.any()
    assert torch.equal(norm.weight, torch.ones(4))
