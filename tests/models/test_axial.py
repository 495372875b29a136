import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.models.axial import (
    VARIANTS,
    AxialAttention,
    AxialBlock,
    AxialBottleneck,
    AxialResNet,
    AxialResNetConfig,
    AxialViT,
    AxialViTConfig,
)

VIT = AxialViTConfig(image_size=24, patch_size=8, width=12, depth=2, num_heads=3, mlp_dim=16, num_classes=5)


@torch.no_grad()
def stirred(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.weight.uniform_(0.5, 1.5)
            part.bias.uniform_(-0.3, 0.3)
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval()


def norm(part: nn.Module, channel: int, value: Tensor) -> Tensor:
    """Batch norm of one number in eval mode."""
    scaled = (value - part.running_mean[channel]) / (part.running_var[channel] + part.eps).sqrt()
    return scaled * part.weight[channel] + part.bias[channel]


@torch.no_grad()
def slow(layer: AxialAttention, row: Tensor) -> Tensor:
    """Softmax(q·k + q·r + k·r) (v + r) for one row, "c x", pair by pair and head by head."""
    heads, (half, _, size) = layer.num_heads, layer.sizes
    q_offsets, k_offsets, v_offsets = layer.offsets.split(layer.sizes)
    packed = layer.qkv.weight @ row
    packed = torch.stack([norm(layer.bn_qkv, c, packed[c]) for c in range(len(packed))])
    out = torch.zeros_like(row)
    for head in range(heads):
        own = packed[2 * size * head : 2 * size * (head + 1)]
        query, key, value = own[:half], own[half : 2 * half], own[2 * half :]
        for i in range(row.shape[1]):
            logits = []
            for j in range(row.shape[1]):
                where = j - i + layer.span - 1
                terms = (
                    query[:, i] @ key[:, j],
                    query[:, i] @ q_offsets[:, where],
                    key[:, j] @ k_offsets[:, where],
                )
                logits.append(sum(norm(layer.bn_logits, n * heads + head, t) for n, t in enumerate(terms)))
            weights = torch.stack(logits).softmax(0)
            for c in range(size):
                places = [j - i + layer.span - 1 for j in range(row.shape[1])]
                seen, placed = weights @ value[c], weights @ v_offsets[c, places]
                channel = head * size + c
                out[channel, i] = norm(layer.bn_out, 2 * channel, seen)
                out[channel, i] += norm(layer.bn_out, 2 * channel + 1, placed)
    return out


@pytest.mark.parametrize("length", [5, 3])
def test_attention_is_the_equation(length: int) -> None:
    layer = stirred(AxialAttention(8, 2, 5))
    x = torch.randn(2, 8, 2, length)
    with torch.no_grad():
        found = layer(x)
    for b in range(2):
        for line in range(2):
            torch.testing.assert_close(found[b, :, line], slow(layer, x[b, :, line]), atol=1e-5, rtol=1e-4)


def test_a_bottleneck_attends_along_columns_then_rows() -> None:
    block = stirred(AxialBottleneck(16, 8, 1, 2, 6))
    x = torch.randn(1, 16, 6, 6)
    other = x.clone()
    other[..., 2, 4] += 3.0
    with torch.no_grad():
        narrow = [block.bn1(block.conv1(t)).relu() for t in (x, other)]
        columns = [
            torch.stack([block.columns(t[..., i, None].mT)[:, :, 0] for i in range(6)], -1) for t in narrow
        ]
        rows = [block.rows(t) for t in columns]
        wanted = (block.bn2(block.conv2(rows[0].relu())) + x).relu()
        torch.testing.assert_close(block(x), wanted)
    assert (columns[0] != columns[1]).any(1)[0].nonzero()[:, 1].unique().tolist() == [4]
    assert (rows[0] != rows[1]).any(1).all()


def test_longer_lines_than_the_table_are_refused() -> None:
    with pytest.raises(ShapeError, match="a line of 6 cells"):
        AxialAttention(8, 2, 5)(torch.randn(1, 8, 2, 6))


def test_smaller_pictures_are_read() -> None:
    model = stirred(AxialResNet(VARIANTS["axial_resnet_small"].config))
    assert model(torch.randn(1, 3, 17, 24)).features.shape == (1, 256, 5, 6)


def test_axial_block_is_rows_then_columns() -> None:
    block = AxialBlock(VIT, 0.0).eval()
    x = torch.randn(2, 3, 4, 12)
    with torch.no_grad():
        wanted = torch.stack([block.rows(x[:, y]) for y in range(3)], 1)
        wanted = torch.stack([block.columns(wanted[:, :, i]) for i in range(4)], 2)
        torch.testing.assert_close(block(x), wanted)


def test_axial_vit_has_two_halves_of_each_block() -> None:
    with torch.device("meta"):
        block = AxialViT(VARIANTS["axial_vit_b16"].config).blocks[0]
    assert sum(p.numel() for p in block.parameters()) == 2 * 7_087_872  # twice ViT-B's block


def test_axial_vit_tokens_are_averaged() -> None:
    model = AxialViT(VIT).eval()
    out = model(torch.randn(2, 3, 24, 24))
    assert out.tokens.shape == (2, 9, 12)
    torch.testing.assert_close(out.pooled, out.tokens.mean(1))


def test_other_picture_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match="24 by 24"):
        AxialViT(VIT)(torch.randn(1, 3, 32, 24))


@pytest.mark.parametrize(
    ("sizes", "word"), [({"image_size": 25}, "patch_size"), ({"num_heads": 5}, "5 heads")]
)
def test_vit_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        AxialViTConfig.model_validate(VIT.model_dump() | sizes)


@pytest.mark.parametrize(
    ("sizes", "word"), [({"depths": (1,)}, "one a stage"), ({"num_heads": 5}, "5 heads")]
)
def test_resnet_sizes_that_do_not_fit_are_refused(sizes: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        AxialResNetConfig.model_validate(sizes)
