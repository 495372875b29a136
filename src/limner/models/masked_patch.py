"""Dosovitskiy et al. 2020, An Image is Worth 16x16 Words (arXiv 2010.11929), appendix B.1.2.

Implements: masked patch prediction, the paper's self-supervision: half of the embedded patches are corrupted
    (80 % a learned [mask], 10 % another patch, 10 % left as they are) and the mean colour of each corrupted
    patch, at 3 bits a channel, is predicted as one of 512 classes.
Differs from the paper: the paper does not say where the other patch comes from; here it is another patch of
    the same picture, so that rows of a batch stay independent.
Checked against: the shares the paper gives, counted over 10⁶ patches; a loop over patches for the colours.
"""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ShapeError
from limner.models.entry import ModelEntry
from limner.models.layers import init_transformer
from limner.models.vit import ViT
from limner.models.vit_config import ViTConfig
from limner.models.vit_variants import VARIANTS as VITS

MASK = -1
COLOURS = 512
BINS = 8


class MaskedPatchConfig(Config):
    """Sizes of a masked patch model.

    Args:
        vision: the encoder that is to learn; without a classifier, `pre_logits` or `gap_norm`, which masked
            patches would not train.
    """

    vision: ViTConfig

    @model_validator(mode="after")
    def _encoder_alone(self) -> "MaskedPatchConfig":
        vision = self.vision
        if vision.num_classes or vision.representation_dim or vision.distilled or vision.pool == "gap_norm":
            raise ValueError(
                "vision: wanted num_classes=0, representation_dim=0, distilled=False and "
                'pool="token" or "gap"; masked patches train the encoder alone'
            )
        return self


class MaskedPatchOutput(NamedTuple):
    """What the model tells of corrupted pictures.

    Args:
        tokens: of the encoder, prefix tokens first.
        logits: a score a colour for every patch, row by row; p patches, k = 512.
    """

    tokens: Float[Tensor, "b n d"]
    logits: Float[Tensor, "b p k"]


class Corruption(NamedTuple):
    """Which patches are corrupted, and what stands in their place.

    Args:
        corrupted: those whose colour is predicted.
        source: the patch whose embedding is read at each place, or `MASK`.
    """

    corrupted: Bool[Tensor, "b p"]
    source: Int[Tensor, "b p"]


def corruption_plan(
    batch: int,
    patches: int,
    generator: torch.Generator,
    *,
    rate: float = 0.5,
    mask_share: float = 0.8,
    other_share: float = 0.1,
) -> Corruption:
    """Draw which patches to corrupt, each patch by itself, on the generator's device.

    Args:
        batch: pictures.
        patches: of each picture, at least 2.
        generator: gives the numbers, three a patch.
        rate: probability that a patch is corrupted, [0, 1]; .15 was worse.
        mask_share: of the corrupted, those that become the mask, [0, 1].
        other_share: of the corrupted, those that become another patch of the picture; the rest stay.
    Raises: ShapeError when a picture has no other patch, or the shares are no shares.
    Source: appendix B.1.2.
    """
    shares = (rate, mask_share, other_share, 1 - mask_share - other_share)
    if patches < 2 or min(shares) < -1e-9 or max(shares) > 1:
        raise ShapeError(
            f"{patches} patches, rate {rate}, mask_share {mask_share}, other_share {other_share}",
            wanted="at least 2 patches, and shares in [0, 1] that add up to at most 1",
            hint="the paper's are rate=0.5, mask_share=0.8, other_share=0.1",
        )
    device = generator.device
    chosen, kind = torch.rand(2, batch, patches, generator=generator, device=device)
    step = torch.randint(1, patches, (batch, patches), generator=generator, device=device)
    own = torch.arange(patches, device=device).expand(batch, patches)
    corrupted = chosen < rate
    masked = corrupted & (kind < mask_share)
    moved = corrupted & (kind >= mask_share) & (kind < mask_share + other_share)
    source = torch.where(moved, (own + step) % patches, own).masked_fill(masked, MASK)
    return Corruption(corrupted, source)


def mean_colours(pixels: Float[Tensor, "b 3 y x"], patch_size: int) -> Int[Tensor, "b p"]:
    """Name the mean colour of each patch, 3 bits a channel.

    Args:
        pixels: `unit`; what is left beyond whole patches is not looked at.
        patch_size: side of a patch, pixels.
    Returns: 64 red + 8 green + blue, each in 0..7, row by row; 0..511.
    Source: appendix B.1.2, "3-bit, mean color (i.e., 512 colors in total)".
    """
    means = F.avg_pool2d(pixels.float(), patch_size)
    red, green, blue = (means * BINS).long().clamp(0, BINS - 1).flatten(2).unbind(1)
    return (red * BINS + green) * BINS + blue


class MaskedPatch(nn.Module):
    """A ViT that names the colours of patches it cannot see.

    Args:
        config: sizes.
    """

    def __init__(self, config: MaskedPatchConfig) -> None:
        super().__init__()
        self.config = config
        width, std = config.vision.width, config.vision.init_std
        self.vision = ViT(config.vision)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.head = nn.Linear(width, COLOURS)
        self.head.apply(partial(init_transformer, std=std))
        nn.init.trunc_normal_(self.mask_token, std=std)

    def forward(self, pixels: Float[Tensor, "b 3 y x"], source: Int[Tensor, "b p"]) -> MaskedPatchOutput:
        """Read corrupted pictures.

        Args:
            pixels: `normed`, of the config's image size.
            source: of `corruption_plan`.
        Raises: ShapeError when `source` does not have one number a patch.
        """
        patches = self.vision.patch_embed(pixels)
        if source.shape != patches.shape[:2]:
            raise ShapeError(
                f"a plan of {tuple(source.shape)} for patches of {tuple(patches.shape[:2])}",
                wanted="one number a patch",
                hint=f"corruption_plan({len(patches)}, {patches.shape[1]}, generator)",
            )
        index = source.clamp(min=0)[..., None].expand_as(patches)
        seen = torch.where((source == MASK)[..., None], self.mask_token.to(patches), patches.gather(1, index))
        tokens = self.vision.encode(seen)
        return MaskedPatchOutput(tokens, self.head(tokens[:, self.config.vision.prefix_tokens :]))


def _variant(name: str) -> ModelEntry:
    line = VITS[name]
    vision = ViTConfig.model_validate(line.config.model_dump() | {"num_classes": 0})
    return ModelEntry(
        MaskedPatchConfig(vision=vision), MaskedPatch, line.image_spec, "Dosovitskiy et al. 2020, B.1.2"
    )


VARIANTS: dict[str, ModelEntry] = {"masked_patch_b16": _variant("vit_b16")}
