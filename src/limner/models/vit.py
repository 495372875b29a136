"""Dosovitskiy et al. 2020, An Image is Worth 16x16 Words (arXiv 2010.11929).

Implements: the plain ViT of Table 1, and a hybrid (section 3.1) whose patches come from a residual stem.
Differs from the paper: exact GELU, as timm and torchvision have it (the released JAX code has the tanh form);
    the hybrid's stem is He's basic blocks with batch norm, for small pictures, not the paper's BiT stem.
Checked against: timm `vit_{tiny,small,base}_patch{16,32}_224` (same keys) and torchvision `vit_b_16`.
"""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.models.entry import ModelEntry
from limner.models.layers import DropPath, attend, init_transformer, split_heads
from limner.models.resnet import BasicBlock, conv3x3, init_convolutions, stage
from limner.shapes import ImageSpec


class ViTConfig(Config):
    """Sizes of a vision transformer.

    Args:
        image_size: side of the square input, pixels.
        patch_size: side of the square one token stands for, pixels; a stem's stride divides it.
        width: of a token.
        depth: transformer blocks.
        num_heads: heads of each attention; divides `width`.
        mlp_dim: hidden width of each MLP.
        num_classes: outputs of the classifier; 0 for none.
        stem: channels of the residual stages before the patches; empty for the plain ViT. The first
            convolution and every stage after the first halve the resolution.
        stem_blocks: blocks in each stage.
        drop_path: probability of dropping a branch of the last block, rising from 0 at the first, [0, 1).
        layer_norm_eps: of every layer norm.
        init_std: of the truncated normal weights.
    """

    image_size: int = Field(ge=8)
    patch_size: int = Field(ge=1)
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    mlp_dim: int = Field(ge=1)
    num_classes: int = Field(default=0, ge=0)
    stem: tuple[int, ...] = ()
    stem_blocks: int = Field(default=1, ge=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    layer_norm_eps: float = Field(default=1e-6, gt=0)
    init_std: float = Field(default=0.02, gt=0)

    @model_validator(mode="after")
    def _sizes_divide(self) -> "ViTConfig":
        for name, whole, part in (
            ("width by num_heads", self.width, self.num_heads),
            ("image_size by patch_size", self.image_size, self.patch_size),
            ("patch_size by the stem's stride", self.patch_size, self.stem_stride),
        ):
            if whole % part:
                raise ValueError(f"{name}: {whole} is not divisible by {part}")
        return self

    @property
    def stem_stride(self) -> int:
        """Pixels a side of one cell of the stem's map."""
        return int(2 ** len(self.stem))

    @property
    def grid_size(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


class ViTOutput(NamedTuple):
    """What a ViT tells of a picture.

    Args:
        tokens: after the final layer norm; token 0 is the class token, then the patches row by row.
        pooled: the class token.
        logits: class scores; k = 0 without a classifier.
    """

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class ResidualStem(nn.Module):
    """A small residual network that turns pixels into the map patches are cut from.

    Args:
        channels: of each stage.
        blocks: basic blocks in each stage.
    """

    def __init__(self, channels: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, channels[0], stride=2)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        before = (channels[0], *channels[:-1])
        self.stages = nn.Sequential(
            *(
                stage(BasicBlock, channels_in, width, blocks, stride=2 if number else 1)
                for number, (channels_in, width) in enumerate(zip(before, channels, strict=True))
            )
        )
        init_convolutions(self)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b c y2 x2"]:
        """Return the last stage's map."""
        x: Tensor = self.stages(self.relu(self.bn1(self.conv1(pixels))))
        return x


class PatchEmbed(nn.Module):
    """Cut pixels, or the stem's map, into squares and project each to a token.

    Args:
        config: sizes.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.stem = ResidualStem(config.stem, config.stem_blocks) if config.stem else None
        side = config.patch_size // config.stem_stride
        channels = config.stem[-1] if config.stem else 3
        self.proj = nn.Conv2d(channels, config.width, side, side)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b n d"]:
        """Return one token a patch, row by row."""
        x = pixels if self.stem is None else self.stem(pixels)
        grid: Tensor = self.proj(x)
        return grid.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens.

    Args:
        width: of a token.
        num_heads: heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the attended tokens."""
        out: Tensor = self.proj(attend(*split_heads(self.qkv(x), 3, self.num_heads)))
        return out


class MLP(nn.Module):
    """Linear, exact GELU, Linear, on each token alone.

    Args:
        width: of a token.
        mlp_dim: hidden width.
    """

    def __init__(self, width: int, mlp_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, mlp_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(mlp_dim, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the transformed tokens."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """Pre-norm attention and MLP, each added to its input.

    Args:
        config: sizes.
        drop_path: probability of dropping either branch.
    Source: equations 2 and 3.
    """

    def __init__(self, config: ViTConfig, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.attn = Attention(config.width, config.num_heads)
        self.norm2 = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.mlp = MLP(config.width, config.mlp_dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the tokens after both branches."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


class ViT(nn.Module):
    """A vision transformer with a class token.

    Args:
        config: sizes.
    Source: equations 1 to 4.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid_size**2, config.width))
        rates = [config.drop_path * i / max(config.depth - 1, 1) for i in range(config.depth)]
        self.blocks = nn.Sequential(*(Block(config, rate) for rate in rates))
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.head = nn.Linear(config.width, config.num_classes) if config.num_classes else None
        self.apply(partial(init_transformer, std=config.init_std))
        nn.init.trunc_normal_(self.pos_embed, std=config.init_std)
        nn.init.trunc_normal_(self.cls_token, std=config.init_std)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> ViTOutput:
        """Read pictures.

        Args:
            pixels: `normed`, of the config's image size.
        """
        patches = self.patch_embed(pixels)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        tokens = self.norm(self.blocks(x))
        pooled = tokens[:, 0]
        logits = pooled[:, :0] if self.head is None else self.head(pooled)
        return ViTOutput(tokens, pooled, logits)


_IMAGES = ImageSpec(size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop="center", crop_fraction=0.9)
_PAPER = "Dosovitskiy et al. 2020, Table 1"
_AUGREG = "Steiner et al. 2021, Table 2"


def _variant(patch_size: int, width: int, depth: int, num_heads: int, paper: str = _PAPER) -> ModelEntry:
    config = ViTConfig(
        image_size=224,
        patch_size=patch_size,
        width=width,
        depth=depth,
        num_heads=num_heads,
        mlp_dim=4 * width,
        num_classes=1000,
    )
    return ModelEntry(config, ViT, _IMAGES, paper)


VARIANTS: dict[str, ModelEntry] = {
    "vit_ti16": _variant(16, 192, 12, 3, _AUGREG),
    "vit_s16": _variant(16, 384, 12, 6, _AUGREG),
    "vit_b16": _variant(16, 768, 12, 12),
    "vit_b32": _variant(32, 768, 12, 12),
    "vit_l16": _variant(16, 1024, 24, 16),
}
