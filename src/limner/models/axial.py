"""Attention along one axis at a time.

Wang et al. 2020, Axial-DeepLab (arXiv 2003.07853), section 3. Implements: the classifier Axial-ResNet with
position-sensitive attention: a bottleneck whose 3×3 convolution is attention along columns, then along rows.
Differs: pictures smaller than the config's are read too, by the offsets they have.
Dosovitskiy et al. 2020, An Image is Worth 16x16 Words (arXiv 2010.11929), appendix D.6. Implements:
Axial-ViT, a ViT whose blocks are attention along rows and an MLP, then attention along columns and an MLP.
Differs: the tokens are averaged, for the paper says nothing of a class token.
Checked against: loops over pixels.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ShapeError
from limner.models.entry import ModelEntry
from limner.models.layers import Block, init_transformer
from limner.models.resnet import ResNetOutput, conv3x3, init_convolutions, reshaping
from limner.models.resnet_variants import CIFAR, IMAGENET
from limner.shapes import ImageSpec


class AxialResNetConfig(Config):
    """Sizes of an Axial-ResNet.

    Args:
        image_size: longest side of a picture, pixels; the tables of offsets are as long as it needs.
        depths: blocks in each stage.
        widths: channels of the attention in each stage; the output has twice as many.
        stem_width: channels before the first stage.
        num_classes: outputs of the classifier; 0 for none.
        cifar_stem: one 3×3 convolution, in place of a 7×7 and a pool that each halve the side.
        num_heads: heads of each attention; twice that divides every width.
    """

    image_size: int = Field(default=224, ge=8)
    depths: tuple[int, ...] = Field(default=(3, 4, 6, 3), min_length=1)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem_width: int = Field(default=32, ge=1)
    num_classes: int = Field(default=1000, ge=0)
    cifar_stem: bool = False
    num_heads: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> "AxialResNetConfig":
        if len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.depths)} depths and {len(self.widths)} widths: give one a stage")
        for width in self.widths:
            if width % (2 * self.num_heads):
                raise ValueError(f"width {width} is not divisible by twice the {self.num_heads} heads")
        return self


class AxialAttention(nn.Module):
    """Position-sensitive attention along the last axis; a line of the map is a sequence of its own.

    Args:
        width: channels in and out; queries and keys have half as many as values.
        num_heads: heads; the offsets are shared by all.
        span: longest line.
    Source: section 3.1; batch norm on projections, and on the three logits and two outputs before each sum.
    """

    def __init__(self, width: int, num_heads: int, span: int) -> None:
        super().__init__()
        self.num_heads, self.span = num_heads, span
        size = width // num_heads
        self.sizes = [size // 2, size // 2, size]
        self.qkv = nn.Linear(width, 2 * width, bias=False)
        self.bn_qkv = nn.BatchNorm1d(2 * width)
        self.bn_logits = nn.BatchNorm2d(3 * num_heads)
        self.bn_out = nn.BatchNorm1d(2 * width)
        self.offsets = nn.Parameter(torch.empty(2 * size, 2 * span - 1))
        nn.init.normal_(self.qkv.weight, std=width**-0.5)
        nn.init.normal_(self.offsets, std=size**-0.5)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Return the map after each row has attended over itself."""
        batch, channels, lines, length = x.shape
        if length > self.span:
            raise ShapeError(
                f"a line of {length} cells", wanted=f"at most {self.span}, which it was built for"
            )
        rows = x.permute(0, 2, 3, 1).reshape(-1, length, channels)
        packed: Tensor = self.bn_qkv(self.qkv(rows).transpose(1, 2)).unflatten(1, (self.num_heads, -1))
        query, key, value = torch.split(packed, self.sizes, dim=2)
        query_offsets, key_offsets, value_offsets = torch.split(self._offsets(length, x.device), self.sizes)
        logits = torch.cat(
            [
                torch.einsum("bhfi,bhfj->bhij", query, key),
                torch.einsum("bhfi,fij->bhij", query, query_offsets),
                torch.einsum("bhfj,fij->bhij", key, key_offsets),
            ],
            dim=1,
        )
        weights = self.bn_logits(logits).unflatten(1, (3, self.num_heads)).sum(1).softmax(-1)
        seen = torch.einsum("bhij,bhfj->bhfi", weights, value)
        placed = torch.einsum("bhij,fij->bhfi", weights, value_offsets)
        both = self.bn_out(torch.stack([seen, placed], dim=3).flatten(1, 3))
        out: Tensor = both.unflatten(1, (channels, 2)).sum(2)
        return out.view(batch, lines, channels, length).transpose(1, 2)

    def _offsets(self, length: int, device: torch.device) -> Tensor:
        """The table's column for each pair: query i, key j → "f i j"."""
        place = torch.arange(length, device=device)
        return self.offsets[:, place[None] - place[:, None] + self.span - 1]


class AxialBottleneck(nn.Module):
    """1×1 to narrow, attention along columns, attention along rows, 1×1 to widen, and a shortcut.

    Args:
        channels_in: channels of the input.
        width: channels of the attention; the output has twice as many.
        stride: 1, or 2 for a mean pool after the attention.
        num_heads: heads of either attention.
        span: longest row or column.
    Source: section 3.2.
    """

    def __init__(self, channels_in: int, width: int, stride: int, num_heads: int, span: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.columns = AxialAttention(width, num_heads, span)
        self.rows = AxialAttention(width, num_heads, span)
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.conv2 = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.downsample = reshaping(channels_in, 2 * width, stride, "B")
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return relu(F(x) + shortcut(x))."""
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.columns(out.transpose(2, 3)).transpose(2, 3)
        out = self.relu(self.pool(self.rows(out)))
        out = self.bn2(self.conv2(out))
        out = self.relu(out.add_(x if self.downsample is None else self.downsample(x)))
        return out


class AxialResNet(nn.Module):
    """A residual network of axial attention.

    Args:
        config: sizes.
    """

    def __init__(self, config: AxialResNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.stem_width
        small = config.cifar_stem
        self.conv1 = conv3x3(3, channels) if small else nn.Conv2d(3, channels, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        span = config.image_size if small else -(-config.image_size // 4)
        blocks = []
        for number, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            for place in range(depth):
                stride = 2 if number and place == 0 else 1
                blocks.append(AxialBottleneck(channels, width, stride, config.num_heads, span))
                channels, span = 2 * width, -(-span // stride)
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, config.num_classes) if config.num_classes else None
        init_convolutions(self)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> ResNetOutput:
        """Read pictures.

        Args:
            pixels: `normed`; no side longer than the config's image size.
        Raises: ShapeError when one is.
        """
        features = self.blocks(self.maxpool(self.relu(self.bn1(self.conv1(pixels)))))
        pooled = features.mean((2, 3))
        logits = pooled[:, :0] if self.fc is None else self.fc(pooled)
        return ResNetOutput(features, pooled, logits)


class AxialViTConfig(Config):
    """Sizes of an Axial-ViT.

    Args:
        image_size: side of the square input, pixels; `patch_size` divides it.
        patch_size: side of a patch.
        width: of a token.
        depth: blocks; each attends along rows, then along columns.
        num_heads: heads of each attention; divides `width`.
        mlp_dim: hidden width of each MLP.
        num_classes: outputs of the classifier; 0 for none.
        drop_path: probability of dropping a branch of the last block, rising from 0 at the first, [0, 1).
    """

    image_size: int = Field(default=224, ge=8)
    patch_size: int = Field(ge=1)
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    mlp_dim: int = Field(ge=1)
    num_classes: int = Field(default=0, ge=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "AxialViTConfig":
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not divisible by patch_size {self.patch_size}")
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not divisible by {self.num_heads} heads")
        return self


class AxialViTOutput(NamedTuple):
    """What an Axial-ViT tells of a picture.

    Args:
        tokens: after the final layer norm, row by row.
        pooled: their mean.
        logits: class scores; k = 0 without a classifier.
    """

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class AxialBlock(nn.Module):
    """Attention along rows and an MLP, then attention along columns and an MLP.

    Args:
        config: sizes.
        drop_path: probability of dropping a branch.
    Source: Dosovitskiy et al. 2020, appendix D.6.
    """

    def __init__(self, config: AxialViTConfig, drop_path: float) -> None:
        super().__init__()
        sizes = (config.width, config.num_heads, config.mlp_dim)
        self.rows = Block(*sizes, drop_path=drop_path)
        self.columns = Block(*sizes, drop_path=drop_path)

    def forward(self, x: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y x d"]:
        """Return the grid of tokens after both."""
        height, width = x.shape[1:3]
        x = self.rows(x.flatten(0, 1)).unflatten(0, (-1, height)).transpose(1, 2)
        out: Tensor = self.columns(x.flatten(0, 1)).unflatten(0, (-1, width)).transpose(1, 2)
        return out


class AxialViT(nn.Module):
    """A vision transformer that attends along one axis at a time.

    Args:
        config: sizes.
    """

    def __init__(self, config: AxialViTConfig) -> None:
        super().__init__()
        self.config = config
        grid = config.image_size // config.patch_size
        self.proj = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, config.width))
        rates = [config.drop_path * i / max(config.depth - 1, 1) for i in range(config.depth)]
        self.blocks = nn.Sequential(*(AxialBlock(config, rate) for rate in rates))
        self.norm = nn.LayerNorm(config.width, 1e-6)
        self.head = nn.Linear(config.width, config.num_classes) if config.num_classes else None
        for part in self.modules():
            init_transformer(part, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> AxialViTOutput:
        """Read pictures.

        Args:
            pixels: `normed`, of the config's image size.
        Raises: ShapeError when they are of another.
        """
        size = self.config.image_size
        if pixels.shape[2:] != (size, size):
            raise ShapeError(f"pictures of {tuple(pixels.shape[2:])} pixels", wanted=f"{size} by {size}")
        grid = self.proj(pixels).permute(0, 2, 3, 1) + self.pos_embed
        tokens = self.norm(self.blocks(grid)).flatten(1, 2)
        pooled = tokens.mean(1)
        logits = pooled[:, :0] if self.head is None else self.head(pooled)
        return AxialViTOutput(tokens, pooled, logits)


_HALF = (0.5, 0.5, 0.5)
_WANG = "Wang et al. 2020, section 3.2"
_VIT = "Dosovitskiy et al. 2020, appendix D.6"


def _resnet(share: float, depths: tuple[int, ...] = (3, 4, 6, 3)) -> ModelEntry:
    widths = tuple(int(width * share) for width in (128, 256, 512, 1024))
    config = AxialResNetConfig(depths=depths, widths=widths, stem_width=int(64 * share))
    return ModelEntry(config, AxialResNet, IMAGENET, _WANG)


def _vit(patch_size: int) -> ModelEntry:
    config = AxialViTConfig(
        patch_size=patch_size, width=768, depth=12, num_heads=12, mlp_dim=3072, num_classes=1000
    )
    return ModelEntry(config, AxialViT, ImageSpec(size=224, mean=_HALF, std=_HALF), _VIT)


_SMALL = AxialResNetConfig(
    image_size=32, depths=(1, 1, 1), widths=(32, 64, 128), num_classes=10, cifar_stem=True, num_heads=4
)
_SMALL_VIT = AxialViTConfig(
    image_size=32, patch_size=4, width=192, depth=4, num_heads=3, mlp_dim=384, num_classes=10
)

VARIANTS: dict[str, ModelEntry] = {
    "axial_resnet26_s": _resnet(0.5, (1, 2, 4, 1)),
    **{f"axial_resnet50_{size}": _resnet(share) for size, share in {"s": 0.5, "m": 0.75, "l": 1.0}.items()},
    "axial_resnet_small": ModelEntry(_SMALL, AxialResNet, CIFAR, "a size for CIFAR"),
    "axial_vit_b32": _vit(32),
    "axial_vit_b16": _vit(16),
    "axial_vit_small": ModelEntry(_SMALL_VIT, AxialViT, CIFAR, "a size for CIFAR"),
}
