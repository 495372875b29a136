import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from limner.errors import ShapeError
from limner.models.cordonnier import (
    Cordonnier,
    CordonnierConfig,
    LearnedPositions,
    QuadraticPositions,
    RelativeAttention,
)

SMALL = CordonnierConfig(image_size=8, width=6, depth=2, num_heads=3, mlp_dim=8, num_classes=4)


def layer(position: str, **sizes: int) -> RelativeAttention:
    made = RelativeAttention(SMALL.model_copy(update={"position": position, **sizes}))
    for parameter in made.positions.parameters():
        torch.nn.init.normal_(parameter)
    return made


def logit(attn: RelativeAttention, head: int, down: int, right: int) -> Tensor:
    """What the positions of a pair add to its logit, by the paper's formulas."""
    positions = attn.positions
    if isinstance(positions, QuadraticPositions):
        alpha = positions.spreads[head] ** 2 / 2
        away = torch.tensor([down, right]) - positions.centers[head]
        return -alpha * (away @ away)
    first = positions.grid_size - 1
    by_row = positions.by_row.weight[head] @ positions.row_offsets.weight[down + first]
    return by_row + positions.by_column.weight[head] @ positions.column_offsets.weight[right + first]


@torch.no_grad()
def slow(attn: RelativeAttention, x: Tensor) -> Tensor:
    """A softmax over all pairs of cells of one picture, "y x d"."""
    cells = [(y, i) for y in range(x.shape[0]) for i in range(x.shape[1])]
    size = x.shape[-1]
    rows = []
    for y, i in cells:
        heads = []
        for head in range(attn.num_heads):
            own = slice(head * size, (head + 1) * size)
            logits = []
            for down, right in cells:
                value = logit(attn, head, down - y, right - i)
                if attn.query is not None and attn.key is not None:
                    value = value + attn.query(x[y, i])[own] @ attn.key(x[down, right])[own] / size**0.5
                logits.append(value)
            heads.append(torch.stack(logits).softmax(0) @ torch.stack([x[cell] for cell in cells]))
        rows.append(attn.value(torch.cat(heads)))
    return torch.stack(rows).view(x.shape)


@pytest.mark.parametrize("position", ["quadratic", "learned", "content"])
def test_attention_is_a_softmax_over_all_pairs(position: str) -> None:
    attn = layer(position)
    x = torch.randn(2, 4, 3, 6)
    with torch.no_grad():
        found = attn(x)
    for picture in range(2):
        torch.testing.assert_close(found[picture], slow(attn, x[picture]), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_nine_heads_express_a_convolution() -> None:
    attn = layer("quadratic", num_heads=9)
    assert isinstance(attn.positions, QuadraticPositions)
    places = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    attn.positions.centers.copy_(torch.tensor(places))
    attn.positions.spreads.fill_(10.0)
    kernel = torch.randn(6, 6, 3, 3)
    attn.value.weight.copy_(kernel.permute(0, 2, 3, 1).flatten(1))
    attn.value.bias.zero_()
    x = torch.randn(1, 7, 8, 6)
    wanted = F.conv2d(x.permute(0, 3, 1, 2), kernel).permute(0, 2, 3, 1)
    torch.testing.assert_close(attn(x)[:, 1:-1, 1:-1], wanted, atol=1e-5, rtol=1e-5)


def test_sizes_are_the_papers() -> None:
    with torch.device("meta"):
        sizes = {
            position: sum(
                p.numel()
                for p in Cordonnier(CordonnierConfig.model_validate({"position": position})).parameters()
            )
            for position in ("quadratic", "learned", "content")
        }
    assert [round(sizes[position] / 1e6, 1) for position in ("quadratic", "learned")] == [12.1, 12.3]
    assert sizes["content"] - sizes["learned"] == 6 * 2 * (400 * 3600 + 3600)  # queries and keys


def test_cells_hold_every_pixel() -> None:
    model = Cordonnier(SMALL.model_copy(update={"width": 12, "depth": 1}))
    seen: list[Tensor] = []
    model.embed.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    pixels = torch.randn(1, 3, 8, 6)
    assert model(pixels).tokens.shape == (1, 12, 12)
    assert torch.equal(F.pixel_shuffle(seen[0].permute(0, 3, 1, 2), 2), pixels)


def test_offsets_are_counted_from_the_query() -> None:
    positions = LearnedPositions(2, 4, 3)
    rows = torch.tensor([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]])
    by_row, _ = positions(rows, rows)
    table = positions.by_row(positions.row_offsets.weight)
    torch.testing.assert_close(by_row[:, 0, 2], table[4])
    torch.testing.assert_close(by_row[:, 2, 0], table[0])


def test_larger_grids_than_the_tables_are_refused() -> None:
    model = Cordonnier(SMALL.model_copy(update={"position": "learned"}))
    with pytest.raises(ShapeError, match="5 by 4 cells"):
        model(torch.randn(1, 3, 10, 8))
    assert Cordonnier(SMALL)(torch.randn(1, 3, 10, 8)).tokens.shape[1] == 20


def test_sides_that_cells_do_not_divide_are_refused() -> None:
    with pytest.raises(ShapeError, match="multiples of 2"):
        Cordonnier(SMALL)(torch.randn(1, 3, 7, 8))
    with pytest.raises(ValidationError, match="not divisible by cell"):
        CordonnierConfig(image_size=33)
