"""The published CLIPs by name, with their names in other libraries.

A name without an ending has the activation its first weights were trained with: QuickGELU for OpenAI's nine
models, exact GELU for every other size. The same sizes with the other activation end in `_gelu` or
`_quickgelu`. The tensors of both have the same shapes, so nothing but the name tells them apart.

Sources: Radford et al. 2021, Tables 19 and 20; Cherti et al. 2022 (H, g, bigG); open_clip's model configs.
"""

from typing import Literal, NamedTuple

from limner.models.clip import CLIP, CLIPConfig, CLIPTextConfig
from limner.models.clip_resnet import CLIPResNetConfig
from limner.models.entry import ModelEntry
from limner.models.vit_config import ViTConfig
from limner.shapes import ImageSpec

_OPENAI = "Radford et al. 2021, Tables 19 and 20"
_OPEN_CLIP = "Cherti et al. 2022; open_clip model configs"

_Activation = Literal["gelu", "quick_gelu"]


class _Text(NamedTuple):
    """A text tower; heads are 64 wide, the MLP four times the tower."""

    width: int
    depth: int = 12

    def config(self, activation: _Activation) -> CLIPTextConfig:
        """Return its sizes."""
        return CLIPTextConfig(
            width=self.width,
            depth=self.depth,
            num_heads=self.width // 64,
            mlp_dim=4 * self.width,
            activation=activation,
        )


class _ViT(NamedTuple):
    """A vision tower and what goes with it."""

    width: int
    depth: int
    head_width: int
    mlp_dim: int
    text: _Text
    embed_dim: int


_S = _ViT(384, 12, 64, 1536, _Text(384), 384)
_S_ALT = _S._replace(text=_Text(256, 10), embed_dim=256)
_M = _ViT(512, 12, 64, 2048, _Text(512), 512)
_M_ALT = _M._replace(text=_Text(384), embed_dim=384)
_B = _ViT(768, 12, 64, 3072, _Text(512), 512)
_B_PLUS = _ViT(896, 12, 64, 3584, _Text(640), 640)
_L = _ViT(1024, 24, 64, 4096, _Text(768), 768)
_H = _ViT(1280, 32, 80, 5120, _Text(1024, 24), 1024)
_G = _ViT(1408, 40, 88, 6144, _Text(1024, 24), 1024)
_BIG_G = _ViT(1664, 48, 104, 8192, _Text(1280, 32), 1280)
_E = _ViT(1792, 56, 112, 15360, _Text(1280, 36), 1280)


def _resnet(
    depths: tuple[int, int, int, int], width: int, image_size: int, text: int, embed_dim: int, *aliases: str
) -> ModelEntry:
    vision = CLIPResNetConfig(
        depths=depths, width=width, image_size=image_size, num_heads=width // 2, embed_dim=embed_dim
    )
    config = CLIPConfig(vision=vision, text=_Text(text).config("quick_gelu"), embed_dim=embed_dim)
    return ModelEntry(config, CLIP, ImageSpec(size=image_size, crop="center"), _OPENAI, aliases)


def _vit(
    size: _ViT,
    patch_size: int,
    image_size: int,
    activation: _Activation,
    *aliases: str,
    paper: str = _OPEN_CLIP,
) -> ModelEntry:
    vision = ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        width=size.width,
        depth=size.depth,
        num_heads=size.width // size.head_width,
        mlp_dim=size.mlp_dim,
        activation=activation,
        pre_norm=True,
        patch_bias=False,
        layer_norm_eps=1e-5,
    )
    config = CLIPConfig(vision=vision, text=size.text.config(activation), embed_dim=size.embed_dim)
    return ModelEntry(config, CLIP, ImageSpec(size=image_size, crop="center"), paper, aliases)


def _openai(size: _ViT, patch_size: int, image_size: int, *aliases: str) -> ModelEntry:
    return _vit(size, patch_size, image_size, "quick_gelu", *aliases, paper=_OPENAI)


def _laion(size: _ViT, patch_size: int, image_size: int, *aliases: str) -> ModelEntry:
    return _vit(size, patch_size, image_size, "gelu", *aliases)


# "RN50" and its kin are OpenAI's names; open_clip calls its exact-GELU text towers so too, but publishes no
# weights of them: all weights it lists under these names are QuickGELU.
VARIANTS: dict[str, ModelEntry] = {
    "clip_rn50": _resnet((3, 4, 6, 3), 64, 224, 512, 1024, "RN50", "RN50-quickgelu"),
    "clip_rn101": _resnet((3, 4, 23, 3), 64, 224, 512, 512, "RN101", "RN101-quickgelu"),
    "clip_rn50x4": _resnet((4, 6, 10, 6), 80, 288, 640, 640, "RN50x4", "RN50x4-quickgelu"),
    "clip_rn50x16": _resnet((6, 8, 18, 8), 96, 384, 768, 768, "RN50x16", "RN50x16-quickgelu"),
    "clip_rn50x64": _resnet((3, 15, 36, 10), 128, 448, 1024, 1024, "RN50x64", "RN50x64-quickgelu"),
    "clip_vit_b32": _openai(_B, 32, 224, "ViT-B/32", "ViT-B-32-quickgelu", "openai/clip-vit-base-patch32"),
    "clip_vit_b16": _openai(_B, 16, 224, "ViT-B/16", "ViT-B-16-quickgelu", "openai/clip-vit-base-patch16"),
    "clip_vit_l14": _openai(_L, 14, 224, "ViT-L/14", "ViT-L-14-quickgelu", "openai/clip-vit-large-patch14"),
    "clip_vit_l14_336": _openai(
        _L, 14, 336, "ViT-L/14@336px", "ViT-L-14-336-quickgelu", "openai/clip-vit-large-patch14-336"
    ),
    "clip_vit_s32": _laion(_S, 32, 224, "ViT-S-32"),
    "clip_vit_s16": _laion(_S, 16, 224, "ViT-S-16"),
    "clip_vit_s32_alt": _laion(_S_ALT, 32, 224, "ViT-S-32-alt"),
    "clip_vit_s16_alt": _laion(_S_ALT, 16, 224, "ViT-S-16-alt"),
    "clip_vit_m32": _laion(_M, 32, 224, "ViT-M-32"),
    "clip_vit_m16": _laion(_M, 16, 224, "ViT-M-16"),
    "clip_vit_m32_alt": _laion(_M_ALT, 32, 224, "ViT-M-32-alt"),
    "clip_vit_b32_gelu": _laion(_B, 32, 224, "ViT-B-32"),
    "clip_vit_b32_256": _laion(_B, 32, 256, "ViT-B-32-256"),
    "clip_vit_b16_gelu": _laion(_B, 16, 224, "ViT-B-16"),
    "clip_vit_b32_plus_256": _laion(_B_PLUS, 32, 256, "ViT-B-32-plus-256"),
    "clip_vit_b16_plus": _laion(_B_PLUS, 16, 224, "ViT-B-16-plus"),
    "clip_vit_b16_plus_240": _laion(_B_PLUS, 16, 240, "ViT-B-16-plus-240"),
    "clip_vit_l16": _laion(_L, 16, 224, "ViT-L-16"),
    "clip_vit_l16_320": _laion(_L, 16, 320, "ViT-L-16-320"),
    "clip_vit_l14_gelu": _laion(_L, 14, 224, "ViT-L-14"),
    "clip_vit_l14_280": _laion(_L, 14, 280, "ViT-L-14-280"),
    "clip_vit_l14_336_gelu": _laion(_L, 14, 336, "ViT-L-14-336"),
    "clip_vit_h16": _laion(_H, 16, 224, "ViT-H-16"),
    "clip_vit_h14": _laion(_H, 14, 224, "ViT-H-14"),
    "clip_vit_h14_quickgelu": _vit(_H, 14, 224, "quick_gelu", "ViT-H-14-quickgelu"),
    "clip_vit_h14_378": _laion(_H, 14, 378, "ViT-H-14-378"),
    "clip_vit_h14_378_quickgelu": _vit(_H, 14, 378, "quick_gelu", "ViT-H-14-378-quickgelu"),
    "clip_vit_g14": _laion(_G, 14, 224, "ViT-g-14"),
    "clip_vit_bigg14": _laion(_BIG_G, 14, 224, "ViT-bigG-14"),
    "clip_vit_bigg14_quickgelu": _vit(_BIG_G, 14, 224, "quick_gelu", "ViT-bigG-14-quickgelu"),
    "clip_vit_e14": _laion(_E, 14, 224, "ViT-e-14"),
}
