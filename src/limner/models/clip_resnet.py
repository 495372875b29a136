"""Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision (2103.00020).

Implements: the modified ResNet of section 2.4: a stem of three convolutions (He et al. 2019, ResNet-D), an
    average pool before every convolution that would stride, the shortcut's included (Zhang 2019), and
    attention pooling, one query from the mean of the map, in place of the average pool.
Differs from the paper: only the one query that is used is computed. Same numbers, less work.
Checked against: open_clip `ModifiedResNet` (same keys); parameter counts of OpenAI's five models.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ShapeError
from limner.models.layers import attend, split_heads

_EXPANSION = 4


class CLIPResNetConfig(Config):
    """Sizes of a modified ResNet.

    Args:
        depths: blocks in each of the four stages.
        width: channels after the stem; stage i has width · 2^i inside its blocks and four times that outside.
        image_size: side of the square input, pixels.
        num_heads: heads of the attention pool; divides `map_channels`.
        embed_dim: of the output.
    """

    depths: tuple[int, int, int, int]
    width: int = Field(ge=2, multiple_of=2)
    image_size: int = Field(ge=32)
    num_heads: int = Field(ge=1)
    embed_dim: int = Field(ge=1)

    @model_validator(mode="after")
    def _sizes_fit(self) -> "CLIPResNetConfig":
        if min(self.depths) < 1:
            raise ValueError(f"depths {self.depths}: a stage has at least one block")
        if self.map_channels % self.num_heads:
            raise ValueError(
                f"map_channels by num_heads: {self.map_channels} / {self.num_heads} is no integer"
            )
        return self

    @property
    def map_channels(self) -> int:
        """Channels of the map that the attention pool reads."""
        return int(32 * self.width)

    @property
    def grid_size(self) -> int:
        """Cells along one side of that map."""
        return int(-(-self.image_size // 2) // 16)


class CLIPResNetOutput(NamedTuple):
    """What a modified ResNet tells of a picture.

    Args:
        tokens: cells of the last map before pooling, row by row.
        pooled: after attention pooling and its output projection.
    """

    tokens: Float[Tensor, "b n c"]
    pooled: Float[Tensor, "b e"]


class AntialiasedBottleneck(nn.Module):
    """1×1, 3×3, average pool, 1×1 convolution, beside a shortcut that is pooled too; none strides.

    Args:
        channels_in: of the input.
        width: inside; the output has four times as many channels.
        stride: of the average pools.
    """

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        out = _EXPANSION * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        fits = stride == 1 and channels_in == out
        shortcut = (nn.Conv2d(channels_in, out, 1, bias=False), nn.BatchNorm2d(out))
        self.downsample = None if fits else nn.Sequential(*shortcut)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return the map after the block."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.pool(out)))
        short = x if self.downsample is None else self.downsample(self.pool(x))
        added: Tensor = self.relu(out + short)
        return added


class AttentionPool(nn.Module):
    """One attention layer whose query is the mean of the map; keys are the mean and every cell.

    Args:
        cells: of the map.
        channels: of the map.
        num_heads: heads.
        embed_dim: of the output.
    """

    def __init__(self, cells: int, channels: int, num_heads: int, embed_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.positional_embedding = nn.Parameter(torch.randn(cells + 1, channels) * channels**-0.5)
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, embed_dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=channels**-0.5)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b e"]:
        """Return one vector a picture."""
        x = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + self.positional_embedding
        query, key, value = (
            split_heads(layer(part), 1, self.num_heads)[0]
            for layer, part in ((self.q_proj, x[:, :1]), (self.k_proj, x), (self.v_proj, x))
        )
        pooled: Tensor = self.c_proj(attend(query, key, value))
        return pooled[:, 0]


class CLIPResNet(nn.Module):
    """CLIP's ResNet image encoder.

    Args:
        config: sizes.
    Source: section 2.4; the last batch norm of each block starts at zero.
    """

    def __init__(self, config: CLIPResNetConfig) -> None:
        super().__init__()
        self.config = config
        width, half = config.width, config.width // 2
        self.conv1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(2)
        self.layer1 = _stage(width, width, config.depths[0], stride=1)
        self.layer2 = _stage(4 * width, 2 * width, config.depths[1], stride=2)
        self.layer3 = _stage(8 * width, 4 * width, config.depths[2], stride=2)
        self.layer4 = _stage(16 * width, 8 * width, config.depths[3], stride=2)
        sizes = (config.grid_size**2, config.map_channels, config.num_heads, config.embed_dim)
        self.attnpool = AttentionPool(*sizes)
        for module in self.modules():
            if isinstance(module, AntialiasedBottleneck):
                nn.init.zeros_(module.bn3.weight)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> CLIPResNetOutput:
        """Read pictures.

        Args:
            pixels: `normed`, of the config's image size.
        Raises: ShapeError when they have another size.
        """
        side = self.config.image_size
        if pixels.shape[-2:] != (side, side):
            raise ShapeError(
                f"pictures of {pixels.shape[-1]} by {pixels.shape[-2]} pixels",
                wanted=f"{side} by {side}, the size the positions of the attention pool were made for",
            )
        x = self.relu(self.bn1(self.conv1(pixels)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.pool(self.relu(self.bn3(self.conv3(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        tokens = x.flatten(2).transpose(1, 2)
        return CLIPResNetOutput(tokens, self.attnpool(tokens))


def _stage(channels_in: int, width: int, depth: int, stride: int) -> nn.Sequential:
    first = AntialiasedBottleneck(channels_in, width, stride)
    rest = [AntialiasedBottleneck(_EXPANSION * width, width, 1) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)
