"""Ramachandran et al. 2019, Stand-Alone Self-Attention in Vision Models (arXiv 1906.05909).

Implements: residual networks whose 3×3 convolutions are attention over the window around each pixel, behind a
convolutional stem ("conv-stem + attention"): equation 3, offsets as halves for rows and columns, a 2×2 mean
pool where the side is halved.
Differs from the paper: a window that reaches over the border holds only the pixels inside, where the paper
says nothing; the stem of attention is left out.
Checked against: a loop over pixels; the parameter counts of Table 1 within a tenth of a million (29 % below
ResNet-50).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.models.entry import ModelEntry
from limner.models.resnet import ResNetOutput, conv3x3, init_convolutions, reshaping
from limner.models.resnet_variants import CIFAR, IMAGENET


class LocalAttentionConfig(Config):
    """Sizes of a residual network of local attention.

    Args:
        depths: blocks in each stage.
        widths: channels of the attention in each stage; the output has four times as many.
        num_classes: outputs of the classifier; 0 for none.
        cifar_stem: one 3×3 convolution, in place of a 7×7 and a pool that each halve the side.
        window: side of the window, pixels; odd.
        num_heads: heads of each attention; twice that divides every width.
    """

    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    num_classes: int = Field(default=1000, ge=0)
    cifar_stem: bool = False
    window: int = Field(default=7, ge=1)
    num_heads: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> "LocalAttentionConfig":
        if len(self.depths) != len(self.widths) or not self.depths:
            raise ValueError(f"{len(self.depths)} depths and {len(self.widths)} widths: give one a stage")
        if self.window % 2 == 0:
            raise ValueError(f"window {self.window} has no middle pixel: give an odd number")
        for width in self.widths:
            if width % (2 * self.num_heads):
                raise ValueError(f"width {width} is not divisible by twice the {self.num_heads} heads")
        return self


class LocalAttention(nn.Module):
    """Attention of each pixel over the window around it.

    Args:
        width: channels in and out; half of a head's speak of rows, half of columns.
        num_heads: heads.
        window: side of the window, odd.
    Source: equation 3; no scale on the logits, as there.
    """

    def __init__(self, width: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads, self.window = num_heads, window
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.row_offsets = nn.Parameter(torch.empty(num_heads, width // num_heads // 2, window))
        self.column_offsets = nn.Parameter(torch.empty(num_heads, width // num_heads // 2, window))
        for offsets in (self.row_offsets, self.column_offsets):
            nn.init.normal_(offsets)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Return the attended map."""
        batch, _, height, width = x.shape
        packed = self.qkv(x).view(batch, 3, self.num_heads, -1, height, width)
        query, key, value = packed.unbind(1)
        weights = (self._content(query, key) + self._position(query)).flatten(-2)
        weights = weights.masked_fill(~self._inside(height, width, x.device), float("-inf")).softmax(-1)
        out = torch.zeros_like(value)
        for place, values in enumerate(self._windows(value)):
            out = out + weights[..., place].unsqueeze(2) * values
        return out.flatten(1, 2)

    def _windows(self, x: Tensor) -> list[Tensor]:
        """The map as each place of the window sees it, row by row; zeros outside. Views, never copies."""
        reach, height, width = self.window // 2, x.shape[-2], x.shape[-1]
        padded = F.pad(x, (reach,) * 4)
        return [
            padded[..., i : i + height, j : j + width] for i in range(self.window) for j in range(self.window)
        ]

    def _content(self, query: Tensor, key: Tensor) -> Tensor:
        """query · key for each place of the window: "b h y x i j"."""
        logits = torch.stack([(query * keys).sum(2) for keys in self._windows(key)], dim=-1)
        return logits.view(*logits.shape[:-1], self.window, self.window)

    def _position(self, query: Tensor) -> Tensor:
        """query · offset, the half of the row plus the half of the column: "b h y x i j"."""
        rows, columns = query.chunk(2, dim=2)
        by_row = torch.einsum("bhfyx,hfi->bhyxi", rows, self.row_offsets)
        by_column = torch.einsum("bhfyx,hfj->bhyxj", columns, self.column_offsets)
        return by_row.unsqueeze(-1) + by_column.unsqueeze(-2)

    def _inside(self, height: int, width: int, device: torch.device) -> Tensor:
        """Which places of each pixel's window are in the picture: "y x p"."""
        reach = torch.arange(self.window, device=device) - self.window // 2
        rows = torch.arange(height, device=device)[:, None] + reach
        columns = torch.arange(width, device=device)[:, None] + reach
        rows_in, columns_in = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        return (rows_in[:, None, :, None] & columns_in[None, :, None, :]).flatten(-2)


class LocalBottleneck(nn.Module):
    """1×1 to narrow, local attention, 1×1 to widen, and a shortcut.

    Args:
        channels_in: channels of the input.
        width: channels of the attention; the output has four times as many.
        stride: 1, or 2 for a mean pool after the attention.
        config: window and heads.
    Source: section 3.3.
    """

    def __init__(self, channels_in: int, width: int, stride: int, config: LocalAttentionConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.attn = LocalAttention(width, config.num_heads, config.window)
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = reshaping(channels_in, 4 * width, stride, "B")
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return relu(F(x) + shortcut(x))."""
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.pool(self.attn(out))))
        out = self.bn3(self.conv3(out))
        out = self.relu(out.add_(x if self.downsample is None else self.downsample(x)))
        return out


class LocalAttentionNet(nn.Module):
    """A residual network of local attention.

    Args:
        config: sizes.
    """

    def __init__(self, config: LocalAttentionConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.widths[0]
        small = config.cifar_stem
        self.conv1 = conv3x3(3, channels) if small else nn.Conv2d(3, channels, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        blocks = []
        for number, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            for place in range(depth):
                stride = 2 if number and place == 0 else 1
                blocks.append(LocalBottleneck(channels, width, stride, config))
                channels = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, config.num_classes) if config.num_classes else None
        init_convolutions(self)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> ResNetOutput:
        """Read pictures.

        Args:
            pixels: `normed`, any size.
        """
        features = self.blocks(self.maxpool(self.relu(self.bn1(self.conv1(pixels)))))
        pooled = features.mean((2, 3))
        logits = pooled[:, :0] if self.fc is None else self.fc(pooled)
        return ResNetOutput(features, pooled, logits)


_PAPER = "Ramachandran et al. 2019, Table 1"
_SMALL = LocalAttentionConfig(
    depths=(1, 1, 1), widths=(32, 64, 128), num_classes=10, cifar_stem=True, window=5, num_heads=4
)

VARIANTS: dict[str, ModelEntry] = {
    **{
        f"local_attention{layers}": ModelEntry(
            LocalAttentionConfig(depths=depths), LocalAttentionNet, IMAGENET, _PAPER
        )
        for layers, depths in {26: (1, 2, 4, 1), 38: (2, 3, 5, 2), 50: (3, 4, 6, 3)}.items()
    },
    "local_attention_small": ModelEntry(_SMALL, LocalAttentionNet, CIFAR, "a size for CIFAR"),
}
