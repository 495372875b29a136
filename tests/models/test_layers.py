import math

import pytest
import torch
from torch import nn

from limner.models.layers import (
    ACTIVATIONS,
    MLP,
    Attention,
    Block,
    DropPath,
    attend,
    init_transformer,
    split_heads,
)


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


def test_activations_are_their_formulas_and_apart() -> None:
    x = torch.linspace(-6, 6, 4001)
    exact = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    tanh = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    want = {"gelu": exact, "gelu_tanh": tanh, "quick_gelu": x / (1 + torch.exp(-1.702 * x))}
    assert want.keys() == ACTIVATIONS.keys()
    for name, formula in want.items():
        torch.testing.assert_close(ACTIVATIONS[name]()(x), formula, atol=2e-6, rtol=1e-5)
    assert (exact - tanh).abs().max().item() == pytest.approx(4.7e-4, rel=0.02)
    assert (exact - want["quick_gelu"]).abs().max().item() == pytest.approx(2.0e-2, rel=0.02)


def test_mlp_uses_the_activation_it_is_told() -> None:
    x = torch.randn(2, 3, 8)
    for name, activation in ACTIVATIONS.items():
        mlp = MLP(8, 12, name)
        torch.testing.assert_close(mlp(x), mlp.fc2(activation()(mlp.fc1(x))))


def test_causal_attention_looks_back_only() -> None:
    x = torch.randn(1, 6, 8)
    changed = x.clone()
    changed[:, 4] += 1
    for causal in (False, True):
        attention = Attention(8, 2, causal=causal).eval()
        moved = (attention(x) != attention(changed)).any(-1)[0].tolist()
        assert moved == ([False] * 4 + [True] * 2 if causal else [True] * 6)


def test_block_is_pre_norm_and_residual() -> None:
    block = Block(8, 2, 12, 1e-5, "quick_gelu", causal=True).eval()
    x = torch.randn(2, 5, 8)
    middle = x + block.attn(block.norm1(x))
    torch.testing.assert_close(block(x), middle + block.mlp(block.norm2(middle)))
    assert (block.norm1.eps, block.norm2.eps, block.attn.causal) == (1e-5, 1e-5, True)
    assert set(block.state_dict()) == {
        f"{part}.{end}"
        for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        for end in ("weight", "bias")
    }


def test_heads_are_packed_as_in_google_s_kernels() -> None:
    """Kernels (D, h, f) of queries, keys and values, flattened h-major and stacked in that order."""
    width, heads, f = 12, 3, 4
    model = Attention(width, heads)
    q, k, v = (torch.randn(width, heads, f) for _ in range(3))
    bias, out = torch.randn(3, heads, f), torch.randn(heads, f, width)
    with torch.no_grad():
        model.qkv.weight.copy_(torch.cat([part.flatten(1).T for part in (q, k, v)]))
        model.qkv.bias.copy_(bias.flatten())
        model.proj.weight.copy_(out.flatten(0, 1).T)
        model.proj.bias.zero_()
    x = torch.randn(2, 5, width)
    query, key, value = (
        torch.einsum("bnd,dhf->bhnf", x, part) + bias[number][:, None]
        for number, part in enumerate((q, k, v))
    )
    weights = (query @ key.mT / math.sqrt(f)).softmax(-1)
    want = torch.einsum("bhnf,hfd->bnd", weights @ value, out)
    torch.testing.assert_close(model(x), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("queries", [8, 40])
@pytest.mark.parametrize("how", ["plain", "mask", "causal"])
def test_half_precision_with_a_gradient_is_fp32_s_within_its_rounding(queries: int, how: str) -> None:
    """On CPU few and many queries take other paths; both are attention, and so are their gradients."""
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, queries, 16) for _ in range(3)]
    mask = torch.rand(2, 1, 1, queries) < 0.7 if how == "mask" else None
    if mask is not None:
        mask[..., 0] = True
    outputs, grads = [], []
    for dtype in (torch.float32, torch.bfloat16):
        given = [part.to(dtype).detach().requires_grad_() for part in parts]
        out = attend(*given, mask, causal=how == "causal")
        out.float().square().sum().backward()
        assert out.dtype is dtype
        outputs.append(out.detach().float())
        grads.append(torch.cat([part.grad.float() for part in given]))  # type: ignore[union-attr]
    assert (outputs[0] - outputs[1]).norm() < 0.01 * outputs[0].norm()
    assert (grads[0] - grads[1]).norm() < 0.02 * grads[0].norm()


def test_half_precision_drops_as_many_weights_as_it_should() -> None:
    """Even attention over rows that are all one: what is read tells how much was dropped."""
    part = torch.ones(1, 1, 256, 4, dtype=torch.bfloat16).requires_grad_()
    read = attend(part, part, part, dropout=0.25).detach().float()
    assert float(read.mean()) == pytest.approx(1, abs=0.02)
    assert float(read.std()) == pytest.approx((0.25 / 0.75 / 256) ** 0.5, rel=0.25)
