"""Dosovitskiy et al. 2020, An Image is Worth 16x16 Words (arXiv 2010.11929).

Implements: the ViT of Table 1; hybrids (section 3.1); the position embeddings of Table 8; class token or mean
    of the patches (appendix D.3); the one-layer pre-training head; dropout where appendix B.1 puts it. Also
    what its successors ask: DeiT's distillation token (Touvron et al. 2020, arXiv 2012.12877), CLIP's norm
    before the blocks.
Differs from the paper: exact GELU, as timm and torchvision have it (the released JAX code has the tanh form;
    `activation` chooses). Beside the paper's BiT stem there is one of He's basic blocks for small pictures.
Checked against: timm's plain, averaged, pre-normed, distilled and hybrid ViTs (same keys, same numbers) and
    torchvision's `VisionTransformer`.
"""

import copy
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.models.bit import bit_stem
from limner.models.layers import Block, init_transformer, split_heads
from limner.models.resnet import BasicBlock, conv3x3, init_convolutions, stage
from limner.models.vit_config import ViTConfig

__all__ = ["PatchEmbed", "RelativeAttention", "ResidualStem", "ViT", "ViTConfig", "ViTOutput", "new_head"]


class ViTOutput(NamedTuple):
    """What a ViT tells of a picture.

    Args:
        tokens: after the final layer norm (before any with `pool="gap_norm"`); the class token and the
            distillation token where there are any, then the patches row by row.
        pooled: the class token or the mean of the patches, after `pre_logits` where there is one.
        logits: class scores, the mean of both heads of a distilled model; k = 0 without a classifier.
    """

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b r"]
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
    """Cut pixels, or a stem's map, into squares and project each to a token.

    Args:
        config: sizes.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.stem = ResidualStem(config.stem, config.stem_blocks) if config.stem else None
        self.backbone = (
            None
            if config.bit_stem is None
            else bit_stem(config.bit_stem, config.bit_width, config.bit_epsilon)
        )
        side = config.patch_size // config.stem_stride
        self.proj = nn.Conv2d(config.stem_channels, config.width, side, side, bias=config.patch_bias)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b n d"]:
        """Return one token a patch, row by row."""
        stem = self.stem if self.backbone is None else self.backbone
        grid: Tensor = self.proj(pixels if stem is None else stem(pixels))
        return grid.flatten(2).transpose(1, 2)


class RelativeAttention(nn.Module):
    """Self-attention that adds to each logit the query's product with an embedding of the offset to the key.

    Patches are counted in reading order, so offsets go from 1 - patches to patches - 1. All heads share their
    embeddings; pairs with a prefix token have none. Both products are divided by √f.

    Args:
        config: sizes.
    Source: appendix D.4, "Relative positional embeddings".
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.num_heads, self.prefix = config.num_heads, config.prefix_tokens
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)
        self.offsets = nn.Parameter(torch.zeros(2 * config.num_patches - 1, config.width // config.num_heads))
        self.dropout = nn.Dropout(config.dropout)

    def offset_logits(self, query: Float[Tensor, "b h n f"]) -> Float[Tensor, "b h n n"]:
        """Return query i · embedding of offset i - j, 0 where i or j is a prefix token."""
        patches = query.shape[2] - self.prefix
        place = torch.arange(patches, device=query.device)
        offset = (place[:, None] - place + patches - 1).expand(*query.shape[:2], -1, -1)
        logits = (query[:, :, self.prefix :] @ self.offsets.to(query.dtype).T).gather(3, offset)
        return F.pad(logits, (self.prefix, 0, self.prefix, 0))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the attended tokens."""
        query, key, value = split_heads(self.qkv(x), 3, self.num_heads)
        bias = self.offset_logits(query) * query.shape[-1] ** -0.5
        heads = F.scaled_dot_product_attention(query, key, value, bias)
        out: Tensor = self.dropout(self.proj(heads.transpose(1, 2).flatten(2)))
        return out


class PreLogits(nn.Module):
    """Linear and tanh: the hidden layer of the pre-training head, or the pooler of transformers.

    Args:
        width: of a token.
        representation_dim: of the output.
    """

    def __init__(self, width: int, representation_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, representation_dim)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b r"]:
        """Return the representation."""
        return torch.tanh(self.fc(x))


def _block(config: ViTConfig, number: int) -> Block:
    rate = config.drop_path * number / max(config.depth - 1, 1)
    sizes = (config.width, config.num_heads, config.mlp_dim, config.layer_norm_eps)
    block = Block(*sizes, config.activation, rate, dropout=config.dropout)
    if config.position == "relative":
        block.attn = RelativeAttention(config)
    return block


class ViT(nn.Module):
    """A vision transformer.

    Args:
        config: sizes.
    Source: equations 1 to 4.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        width, layers = config.width, config.depth if config.position_at == "every" else 1
        flat = config.prefix_tokens + config.num_patches if config.position == "1d" else 0
        side = config.grid_size if config.position == "2d" else 0
        self.patch_embed = PatchEmbed(config)
        self.cls_token = _table(1, 1, width) if config.class_token else None
        self.dist_token = _table(1, 1, width) if config.distilled else None
        self.pos_embed = _table(layers, flat, width) if flat else None
        self.pos_embed_x = _table(layers, side, width // 2) if side else None
        self.pos_embed_y = _table(layers, side, width // 2) if side else None
        self.dropout = nn.Dropout(config.dropout)
        eps, after = config.layer_norm_eps, config.pool == "gap_norm"
        self.norm_pre = nn.LayerNorm(width, eps) if config.pre_norm else nn.Identity()
        self.blocks = nn.Sequential(*(_block(config, number) for number in range(config.depth)))
        self.norm = nn.Identity() if after else nn.LayerNorm(width, eps)
        self.fc_norm = nn.LayerNorm(width, eps) if after else nn.Identity()
        inner = config.representation_dim
        self.pre_logits = PreLogits(width, inner) if inner else nn.Identity()
        self.head = _head(config)
        self.head_dist = _head(config) if config.distilled else None
        self._init_weights()

    def _init_weights(self) -> None:
        std = self.config.init_std
        self.apply(partial(init_transformer, std=std))
        tables = (self.pos_embed, self.cls_token, self.dist_token, self.pos_embed_x, self.pos_embed_y)
        offsets = [m.offsets for m in self.modules() if isinstance(m, RelativeAttention)]
        for table in (*tables, *offsets):
            if table is not None:
                nn.init.trunc_normal_(table, std=std)

    def positions(self) -> Float[Tensor, "l n d"] | None:
        """Return what is added to the tokens, prefix tokens first; None when nothing is.

        Returns: l is `depth` with `position_at="every"`, else 1; row by row, 0 for the prefix tokens of "2d".
        """
        if self.pos_embed_x is None or self.pos_embed_y is None:
            return self.pos_embed
        layers, side, half = self.pos_embed_x.shape
        x = self.pos_embed_x[:, None].expand(layers, side, side, half)
        y = self.pos_embed_y[:, :, None].expand(layers, side, side, half)
        return F.pad(torch.cat([x, y], -1).flatten(1, 2), (0, 0, self.config.prefix_tokens, 0))

    def encode(self, patches: Float[Tensor, "b p d"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of `ViTOutput` from embedded patches, row by row."""
        prefix = [t.expand(len(patches), -1, -1) for t in (self.cls_token, self.dist_token) if t is not None]
        x = torch.cat([*prefix, patches], 1) if prefix else patches
        positions = self.positions()
        if positions is None or self.config.position_at == "stem":
            x = self.norm_pre(self.dropout(x if positions is None else x + positions))
            x = self.blocks(x)
        else:
            x = self._encode_placing_often(x, positions)
        tokens: Tensor = self.norm(x)
        return tokens

    def _encode_placing_often(self, x: Tensor, positions: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            x = x + positions[number % len(positions)]
            x = block(x if number else self.norm_pre(self.dropout(x)))
        return x

    def pool(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b r"]:
        """Return one vector a picture from the tokens of `encode`."""
        if self.config.pool == "token":
            pooled = tokens[:, 0]
        else:
            pooled = self.fc_norm(tokens[:, self.config.prefix_tokens :].mean(1))
        out: Tensor = self.pre_logits(pooled)
        return out

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> ViTOutput:
        """Read pictures.

        Args:
            pixels: `normed`, of the config's image size.
        Raises: ShapeError when they have another size.
        """
        side = self.config.image_size
        if pixels.shape[-2:] != (side, side):
            raise ShapeError(
                f"pictures of {pixels.shape[-1]} by {pixels.shape[-2]} pixels",
                wanted=f"{side} by {side}, the size this model's positions were made for",
                hint="limner.models.positions.with_image_size(model, size, method) makes a model for another",
            )
        tokens = self.encode(self.patch_embed(pixels))
        pooled = self.pool(tokens)
        logits = pooled[:, :0] if self.head is None else self.head(pooled)
        if self.head_dist is not None:
            logits = (logits + self.head_dist(tokens[:, 1])) / 2
        return ViTOutput(tokens, pooled, logits)


def _table(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*shape))


def _head(config: ViTConfig) -> nn.Linear | None:
    width = config.representation_dim or config.width
    return nn.Linear(width, config.num_classes) if config.num_classes else None


def new_head(model: ViT, num_classes: int) -> ViT:
    """Copy a model, with a classifier of zeros in place of its own, as for fine-tuning.

    Args:
        model: left as it is.
        num_classes: outputs of the new classifier; 0 for none.
    Returns: a model whose first loss is exactly ln K; its `pre_logits` are gone, as is the old classifier.
    Source: section 3.2, "we remove the whole pre-trained prediction head and attach a zero-initialized".
    """
    values = model.config.model_dump() | {"num_classes": num_classes, "representation_dim": 0}
    twin = copy.deepcopy(model)
    twin.config = ViTConfig.model_validate(values)
    like = model.patch_embed.proj.weight
    twin.pre_logits = nn.Identity()
    twin.head = _head(twin.config)
    twin.head_dist = _head(twin.config) if twin.config.distilled else None
    for head in (twin.head, twin.head_dist):
        if head is not None:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
            head.to(like)
    return twin
