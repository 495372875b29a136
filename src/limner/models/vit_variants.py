"""The published ViTs, hybrids and DeiTs by name, with their names in other libraries."""

from typing import NamedTuple

from limner.models.entry import ModelEntry
from limner.models.vit import ViT
from limner.models.vit_config import ViTConfig
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec

_PAPER = "Dosovitskiy et al. 2020, Table 1"
_AUGREG = "Steiner et al. 2021, Table 2"
_DEIT = "Touvron et al. 2020, Table 1"


class _Size(NamedTuple):
    """One row of Table 1."""

    width: int
    depth: int
    num_heads: int

    @property
    def mlp_dim(self) -> int:
        """Four times the width in all of them."""
        return 4 * self.width


_TI, _S, _B = _Size(192, 12, 3), _Size(384, 12, 6), _Size(768, 12, 12)
_L, _H = _Size(1024, 24, 16), _Size(1280, 32, 16)


def _images(size: int) -> ImageSpec:
    fraction = 0.9 if size == 224 else 1.0
    half = (0.5, 0.5, 0.5)
    return ImageSpec(size=size, mean=half, std=half, crop="center", crop_fraction=fraction)


def _plain(
    size: _Size, patch_size: int, image_size: int, *aliases: str, bit_stem: tuple[int, ...] | None = None
) -> ModelEntry:
    config = ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        width=size.width,
        depth=size.depth,
        num_heads=size.num_heads,
        mlp_dim=size.mlp_dim,
        num_classes=1000,
        bit_stem=bit_stem,
    )
    paper = _AUGREG if size in (_TI, _S) else _PAPER
    return ModelEntry(config, ViT, _images(image_size), paper, aliases)


def _deit(size: _Size, image_size: int, *aliases: str, distilled: bool = False) -> ModelEntry:
    line = _plain(size, 16, image_size, *aliases)
    config = line.config.model_copy(update={"distilled": distilled})
    images = _images(image_size).model_copy(update={"mean": IMAGENET_MEAN, "std": IMAGENET_STD})
    return ModelEntry(config, ViT, images, _DEIT, aliases)


VARIANTS: dict[str, ModelEntry] = {
    "vit_ti16": _plain(_TI, 16, 224, "vit_tiny_patch16_224", "ViT-Ti_16", "Ti_16", "Ti/16"),
    "vit_ti16_384": _plain(_TI, 16, 384, "vit_tiny_patch16_384"),
    "vit_s32": _plain(_S, 32, 224, "vit_small_patch32_224", "ViT-S_32", "S_32", "S/32"),
    "vit_s32_384": _plain(_S, 32, 384, "vit_small_patch32_384"),
    "vit_s16": _plain(_S, 16, 224, "vit_small_patch16_224", "ViT-S_16", "S_16", "S/16"),
    "vit_s16_384": _plain(_S, 16, 384, "vit_small_patch16_384"),
    "vit_b32": _plain(_B, 32, 224, "vit_base_patch32_224", "vit_b_32", "ViT-B_32", "B_32", "B/32"),
    "vit_b32_384": _plain(_B, 32, 384, "vit_base_patch32_384", "google/vit-base-patch32-384"),
    "vit_b16": _plain(
        _B,
        16,
        224,
        "vit_base_patch16_224",
        "vit_b_16",
        "google/vit-base-patch16-224",
        "ViT-B_16",
        "B_16",
        "B/16",
    ),
    "vit_b16_384": _plain(_B, 16, 384, "vit_base_patch16_384", "google/vit-base-patch16-384"),
    "vit_b8": _plain(_B, 8, 224, "vit_base_patch8_224", "ViT-B_8", "B_8", "B/8"),
    "vit_l32": _plain(_L, 32, 224, "vit_large_patch32_224", "vit_l_32", "ViT-L_32", "L_32", "L/32"),
    "vit_l32_384": _plain(_L, 32, 384, "vit_large_patch32_384", "google/vit-large-patch32-384"),
    "vit_l16": _plain(
        _L,
        16,
        224,
        "vit_large_patch16_224",
        "vit_l_16",
        "google/vit-large-patch16-224",
        "ViT-L_16",
        "L_16",
        "L/16",
    ),
    "vit_l16_384": _plain(_L, 16, 384, "vit_large_patch16_384", "google/vit-large-patch16-384"),
    "vit_l16_512": _plain(_L, 16, 512),
    "vit_h14": _plain(_H, 14, 224, "vit_huge_patch14_224", "vit_h_14", "ViT-H_14", "H_14", "H/14"),
    "vit_h14_518": _plain(_H, 14, 518),
    "vit_r_ti16": _plain(_TI, 32, 224, "vit_tiny_r_s16_p8_224", "R_Ti_16", "R+Ti/16", bit_stem=()),
    "vit_r_ti16_384": _plain(_TI, 32, 384, "vit_tiny_r_s16_p8_384", bit_stem=()),
    "vit_r26_s32": _plain(
        _S, 32, 224, "vit_small_r26_s32_224", "R26_S_32", "R26+S/32", bit_stem=(2, 2, 2, 2)
    ),
    "vit_r26_s32_384": _plain(_S, 32, 384, "vit_small_r26_s32_384", bit_stem=(2, 2, 2, 2)),
    "vit_r50_b16": _plain(
        _B,
        16,
        224,
        "vit_base_r50_s16_224",
        "R50+ViT-B_16",
        "R50-ViT-B_16",
        "R50_B_16",
        "R50+B/16",
        bit_stem=(3, 4, 9),
    ),
    "vit_r50_b16_384": _plain(_B, 16, 384, "vit_base_r50_s16_384", bit_stem=(3, 4, 9)),
    "vit_r50_l32": _plain(
        _L, 32, 224, "vit_large_r50_s32_224", "R50_L_32", "R50+L/32", bit_stem=(3, 4, 6, 3)
    ),
    "vit_r50_l32_384": _plain(_L, 32, 384, "vit_large_r50_s32_384", bit_stem=(3, 4, 6, 3)),
    "deit_ti16": _deit(_TI, 224, "deit_tiny_patch16_224", "facebook/deit-tiny-patch16-224"),
    "deit_s16": _deit(_S, 224, "deit_small_patch16_224", "facebook/deit-small-patch16-224"),
    "deit_b16": _deit(_B, 224, "deit_base_patch16_224", "facebook/deit-base-patch16-224"),
    "deit_b16_384": _deit(_B, 384, "deit_base_patch16_384", "facebook/deit-base-patch16-384"),
    "deit_ti16_distilled": _deit(
        _TI,
        224,
        "deit_tiny_distilled_patch16_224",
        "facebook/deit-tiny-distilled-patch16-224",
        distilled=True,
    ),
    "deit_s16_distilled": _deit(
        _S,
        224,
        "deit_small_distilled_patch16_224",
        "facebook/deit-small-distilled-patch16-224",
        distilled=True,
    ),
    "deit_b16_distilled": _deit(
        _B,
        224,
        "deit_base_distilled_patch16_224",
        "facebook/deit-base-distilled-patch16-224",
        distilled=True,
    ),
    "deit_b16_384_distilled": _deit(
        _B,
        384,
        "deit_base_distilled_patch16_384",
        "facebook/deit-base-distilled-patch16-384",
        distilled=True,
    ),
}
