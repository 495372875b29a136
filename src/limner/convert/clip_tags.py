"""Published CLIP weights whose files do not say which activation they were trained with.

QuickGELU and exact GELU have the same tensors; a model that runs with the wrong one loses accuracy and says
nothing. This table holds what open_clip knows of each file it publishes, found by file name or repository.

Source: open_clip 3.3, `pretrained.py`; a test compares every row with it.
"""

import re
from pathlib import PurePath
from typing import Final, Literal, NamedTuple

from limner.shapes import CLIP_MEAN, CLIP_STD, ImageSpec

_HALF: Final = (0.5, 0.5, 0.5)


class Tag(NamedTuple):
    """One published set of weights.

    Args:
        architecture: open_clip's name of the sizes, the same for both activations.
        tag: open_clip's name of the training run.
        activation: of both towers (of the text tower alone where the other is a ResNet).
        sources: repositories on the hub without their owner, and file names without their ending.
        half_norm: pixels are normalised by .5 and .5, not by CLIP's statistics.
        squash: pictures are resized to the square whatever their aspect.
    """

    architecture: str
    tag: str
    activation: Literal["gelu", "quick_gelu"]
    sources: tuple[str, ...]
    half_norm: bool = False
    squash: bool = False

    @property
    def name(self) -> str:
        """Name or alias in `limner.models.MODELS` of these sizes with this activation."""
        quick = self.activation == "quick_gelu"
        return f"{self.architecture}-quickgelu" if quick else self.architecture

    def image_spec(self, image_size: int) -> ImageSpec:
        """How pictures are prepared for these weights."""
        mean, std = (_HALF, _HALF) if self.half_norm else (CLIP_MEAN, CLIP_STD)
        crop: Literal["squash", "center"] = "squash" if self.squash else "center"
        return ImageSpec(size=image_size, mean=mean, std=std, crop=crop)


# A row: tag, sources; then `half_norm` or `squash` where it holds. OpenAI's own files are told by their keys.
_QUICK_GELU: Final = {
    "RN50": (
        "openai resnet50_clip.openai",
        "yfcc15m resnet50_clip.yfcc15m rn50-quickgelu-yfcc15m-455df137",
        "cc12m resnet50_clip.cc12m rn50-quickgelu-cc12m-f000538c",
    ),
    "RN101": (
        "openai resnet101_clip.openai",
        "yfcc15m resnet101_clip.yfcc15m rn101-quickgelu-yfcc15m-3e04b30e",
    ),
    "RN50x4": ("openai resnet50x4_clip.openai",),
    "RN50x16": ("openai resnet50x16_clip.openai",),
    "RN50x64": ("openai resnet50x64_clip.openai",),
    "ViT-B-32": (
        "openai vit_base_patch32_clip_224.openai",
        "laion400m_e31 vit_base_patch32_clip_224.laion400m_e31 vit_b_32-quickgelu-laion400m_e31-d867053b",
        "laion400m_e32 vit_base_patch32_clip_224.laion400m_e32 vit_b_32-quickgelu-laion400m_e32-46683a32",
        "metaclip_400m vit_base_patch32_clip_224.metaclip_400m b32_400m",
        "metaclip_fullcc vit_base_patch32_clip_224.metaclip_2pt5b b32_fullcc2.5b",
    ),
    "ViT-B-16": (
        "openai vit_base_patch16_clip_224.openai",
        "dfn2b DFN2B-CLIP-ViT-B-16",
        "metaclip_400m vit_base_patch16_clip_224.metaclip_400m b16_400m",
        "metaclip_fullcc vit_base_patch16_clip_224.metaclip_2pt5b b16_fullcc2.5b",
    ),
    "ViT-L-14": (
        "openai vit_large_patch14_clip_224.openai",
        "metaclip_400m vit_large_patch14_clip_224.metaclip_400m l14_400m",
        "metaclip_fullcc vit_large_patch14_clip_224.metaclip_2pt5b l14_fullcc2.5b",
        "dfn2b DFN2B-CLIP-ViT-L-14",
    ),
    "ViT-L-14-336": ("openai vit_large_patch14_clip_336.openai",),
    "ViT-H-14": (
        "metaclip_fullcc vit_huge_patch14_clip_224.metaclip_2pt5b h14_fullcc2.5b",
        "dfn5b DFN5B-CLIP-ViT-H-14 squash",
    ),
    "ViT-H-14-378": ("dfn5b DFN5B-CLIP-ViT-H-14-378 squash",),
    "ViT-bigG-14": ("metaclip_fullcc vit_gigantic_patch14_clip_224.metaclip_2pt5b G14_fullcc2.5b",),
}
_GELU: Final = {
    "ViT-B-32": (
        "laion2b_e16 vit_base_patch32_clip_224.laion2b_e16 vit_b_32-laion2b_e16-af8dbd0c",
        "laion2b_s34b_b79k CLIP-ViT-B-32-laion2B-s34B-b79K",
        "datacomp_xl_s13b_b90k CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
        "datacomp_m_s128m_b4k CLIP-ViT-B-32-DataComp.M-s128M-b4K",
        "commonpool_m_clip_s128m_b4k CLIP-ViT-B-32-CommonPool.M.clip-s128M-b4K",
        "commonpool_m_laion_s128m_b4k CLIP-ViT-B-32-CommonPool.M.laion-s128M-b4K",
        "commonpool_m_image_s128m_b4k CLIP-ViT-B-32-CommonPool.M.image-s128M-b4K",
        "commonpool_m_text_s128m_b4k CLIP-ViT-B-32-CommonPool.M.text-s128M-b4K",
        "commonpool_m_basic_s128m_b4k CLIP-ViT-B-32-CommonPool.M.basic-s128M-b4K",
        "commonpool_m_s128m_b4k CLIP-ViT-B-32-CommonPool.M-s128M-b4K",
        "datacomp_s_s13m_b4k CLIP-ViT-B-32-DataComp.S-s13M-b4K",
        "commonpool_s_clip_s13m_b4k CLIP-ViT-B-32-CommonPool.S.clip-s13M-b4K",
        "commonpool_s_laion_s13m_b4k CLIP-ViT-B-32-CommonPool.S.laion-s13M-b4K",
        "commonpool_s_image_s13m_b4k CLIP-ViT-B-32-CommonPool.S.image-s13M-b4K",
        "commonpool_s_text_s13m_b4k CLIP-ViT-B-32-CommonPool.S.text-s13M-b4K",
        "commonpool_s_basic_s13m_b4k CLIP-ViT-B-32-CommonPool.S.basic-s13M-b4K",
        "commonpool_s_s13m_b4k CLIP-ViT-B-32-CommonPool.S-s13M-b4K",
    ),
    "ViT-B-32-256": ("datacomp_s34b_b86k CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",),
    "ViT-B-16": (
        "laion400m_e31 vit_base_patch16_clip_224.laion400m_e31 vit_b_16-laion400m_e31-00efa78f",
        "laion400m_e32 vit_base_patch16_clip_224.laion400m_e32 vit_b_16-laion400m_e32-55e67d44",
        "laion2b_s34b_b88k CLIP-ViT-B-16-laion2B-s34B-b88K",
        "datacomp_xl_s13b_b90k CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
        "datacomp_l_s1b_b8k CLIP-ViT-B-16-DataComp.L-s1B-b8K",
        "commonpool_l_clip_s1b_b8k CLIP-ViT-B-16-CommonPool.L.clip-s1B-b8K",
        "commonpool_l_laion_s1b_b8k CLIP-ViT-B-16-CommonPool.L.laion-s1B-b8K",
        "commonpool_l_image_s1b_b8k CLIP-ViT-B-16-CommonPool.L.image-s1B-b8K",
        "commonpool_l_text_s1b_b8k CLIP-ViT-B-16-CommonPool.L.text-s1B-b8K",
        "commonpool_l_basic_s1b_b8k CLIP-ViT-B-16-CommonPool.L.basic-s1B-b8K",
        "commonpool_l_s1b_b8k CLIP-ViT-B-16-CommonPool.L-s1B-b8K",
    ),
    "ViT-B-16-plus-240": (
        "laion400m_e31 vit_base_patch16_plus_clip_240.laion400m_e31 vit_b_16_plus_240-laion400m_e31-8fb26589",
        "laion400m_e32 vit_base_patch16_plus_clip_240.laion400m_e31 vit_b_16_plus_240-laion400m_e32-699c4b84",
    ),
    "ViT-L-14": (
        "laion400m_e31 vit_large_patch14_clip_224.laion400m_e31 vit_l_14-laion400m_e31-69988bb6",
        "laion400m_e32 vit_large_patch14_clip_224.laion400m_e32 vit_l_14-laion400m_e32-3d133497",
        "laion2b_s32b_b82k CLIP-ViT-L-14-laion2B-s32B-b82K half_norm",
        "datacomp_xl_s13b_b90k CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
        "commonpool_xl_clip_s13b_b90k CLIP-ViT-L-14-CommonPool.XL.clip-s13B-b90K",
        "commonpool_xl_laion_s13b_b90k CLIP-ViT-L-14-CommonPool.XL.laion-s13B-b90K",
        "commonpool_xl_s13b_b90k CLIP-ViT-L-14-CommonPool.XL-s13B-b90K",
        "dfn2b_s39b DFN2B-CLIP-ViT-L-14-39B",
    ),
    "ViT-H-14": (
        "laion2b_s32b_b79k CLIP-ViT-H-14-laion2B-s32B-b79K",
        "metaclip_altogether vit_huge_patch14_clip_224.metaclip_altogether h14_v1.2_altogether",
    ),
    "ViT-g-14": (
        "laion2b_s12b_b42k CLIP-ViT-g-14-laion2B-s12B-b42K",
        "laion2b_s34b_b88k CLIP-ViT-g-14-laion2B-s34B-b88K",
    ),
    "ViT-bigG-14": ("laion2b_s39b_b160k CLIP-ViT-bigG-14-laion2B-39B-b160k",),
}


def _read(table: dict[str, tuple[str, ...]], activation: Literal["gelu", "quick_gelu"]) -> list[Tag]:
    tags = []
    for architecture, rows in table.items():
        for tag, *words in (row.split() for row in rows):
            sources = tuple(word for word in words if word not in ("half_norm", "squash"))
            tags.append(Tag(architecture, tag, activation, sources, "half_norm" in words, "squash" in words))
    return tags


TAGS: Final = (*_read(_QUICK_GELU, "quick_gelu"), *_read(_GELU, "gelu"))


def find(path: PurePath) -> Tag | None:
    """The published weights a file is named after, or lies in the repository of.

    Args:
        path: of the file; a folder of the hub's cache counts as its repository.
    """
    names = _names(path)
    return next((tag for tag in TAGS if any(source.lower() in names for source in tag.sources)), None)


def says_quick_gelu(path: PurePath) -> bool:
    """Whether a file or its folder calls itself `quickgelu`, as open_clip's configs do."""
    return any("quickgelu" in re.sub("[-_]", "", name) for name in _names(path))


def _names(path: PurePath) -> set[str]:
    return {path.stem.lower(), *(part.split("--")[-1].lower() for part in path.parts)}
