import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from limner.models.local_attention import VARIANTS, LocalAttention, LocalAttentionConfig, LocalAttentionNet


@torch.no_grad()
def slow(layer: LocalAttention, x: Tensor) -> Tensor:
    """Equation 3, pixel by pixel and head by head."""
    batch, channels, height, width = x.shape
    size, reach = channels // layer.num_heads, layer.window // 2
    q, k, v = (torch.einsum("oc,bcyx->boyx", w[:, :, 0, 0], x) for w in layer.qkv.weight.chunk(3))
    out = torch.zeros_like(x)
    for b in range(batch):
        for head in range(layer.num_heads):
            own = slice(head * size, (head + 1) * size)
            for y in range(height):
                for i in range(width):
                    logits, values = [], []
                    for dy in range(-reach, reach + 1):
                        for dx in range(-reach, reach + 1):
                            if not (0 <= y + dy < height and 0 <= i + dx < width):
                                continue
                            row = layer.row_offsets[head, :, dy + reach]
                            column = layer.column_offsets[head, :, dx + reach]
                            query = q[b, own, y, i]
                            logits.append(
                                query @ k[b, own, y + dy, i + dx] + query @ torch.cat([row, column])
                            )
                            values.append(v[b, own, y + dy, i + dx])
                    out[b, own, y, i] = torch.stack(logits).softmax(0) @ torch.stack(values)
    return out


@pytest.mark.parametrize("window", [1, 3, 5])
def test_attention_is_the_equation(window: int) -> None:
    layer = LocalAttention(8, 2, window)
    x = torch.randn(2, 8, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), slow(layer, x), atol=1e-5, rtol=1e-5)


def test_nothing_beyond_the_window_is_seen() -> None:
    layer = LocalAttention(8, 2, 3)
    x = torch.randn(1, 8, 7, 7)
    other = x.clone()
    other[..., 5, 3] += 1.0
    with torch.no_grad():
        changed = (layer(x) != layer(other)).any(1)[0]
    assert changed.nonzero().tolist() == [[y, i] for y in (4, 5, 6) for i in (2, 3, 4)]


@pytest.mark.parametrize(("name", "millions"), [("26", 10.3), ("38", 14.1), ("50", 18.0)])
def test_sizes_are_the_papers(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = LocalAttentionNet(VARIANTS[f"local_attention{name}"].config)
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) < 0.1


@pytest.mark.parametrize("side", [16, 17])
def test_stages_halve_the_side(side: int) -> None:
    model = LocalAttentionNet(VARIANTS["local_attention_small"].config)
    assert model(torch.randn(1, 3, side, side)).features.shape[2:] == (-(-side // 4),) * 2


@pytest.mark.parametrize(
    ("sizes", "word"),
    [({"window": 4}, "odd"), ({"num_heads": 3}, "twice the 3 heads"), ({"depths": (1, 1)}, "one a stage")],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        LocalAttentionConfig.model_validate(sizes)
