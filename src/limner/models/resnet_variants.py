"""The named residual networks, with how pictures are prepared for them and their names elsewhere."""

from typing import Any, Final

from limner.models.entry import ModelEntry
from limner.models.resnet import ResNet, ResNetConfig
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec

IMAGENET: Final = ImageSpec(
    size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bilinear", crop="center", crop_fraction=0.875
)
CIFAR: Final = ImageSpec(size=32, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bilinear")

_DEPTHS: Final[dict[int, tuple[str, tuple[int, ...]]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
_HE: Final = "He et al. 2015, Table 1"
_ZAGORUYKO: Final = "Zagoruyko & Komodakis 2016, WRN-50-2-bottleneck"
_XIE: Final = "Xie et al. 2016, Table 1"


def _aliases(name: str, hf: str = "") -> tuple[str, ...]:
    """Names of the same sizes elsewhere: torchvision's and timm's own are ours."""
    tagged = tuple(f"{name}.{tag}" for tag in ("tv_in1k", "tv2_in1k", "a1_in1k"))
    return (f"timm/{name}", *tagged, *(f"timm/{tag}" for tag in tagged), *([hf] if hf else []))


def _imagenet(depth: int, paper: str = _HE, aliases: tuple[str, ...] = (), **sizes: Any) -> ModelEntry:
    block, depths = _DEPTHS[depth]
    config = ResNetConfig.model_validate({"block": block, "depths": depths} | sizes)
    return ModelEntry(config, ResNet, IMAGENET, paper, aliases)


def _named(name: str, depth: int, paper: str, **sizes: Any) -> dict[str, ModelEntry]:
    return {name: _imagenet(depth, paper, _aliases(name), **sizes)}


def _cifar(depth: int, shortcut: str, aliases: tuple[str, ...] = ()) -> ModelEntry:
    config = ResNetConfig.model_validate(
        {"block": "basic", "depths": (depth // 6,) * 3, "widths": (16, 32, 64)}
        | {"num_classes": 10, "stem": "cifar", "shortcut": shortcut}
    )
    return ModelEntry(config, ResNet, CIFAR, "He et al. 2015, section 4.2", aliases)


VARIANTS: dict[str, ModelEntry] = {
    **{
        f"resnet{depth}": _imagenet(depth, aliases=_aliases(f"resnet{depth}", f"microsoft/resnet-{depth}"))
        for depth in _DEPTHS
    },
    **{f"resnet{depth}_v1": _imagenet(depth, stride_on="1x1") for depth in (50, 101, 152)},
    **{f"resnet34_{option.lower()}": _imagenet(34, shortcut=option) for option in ("A", "C")},
    **{f"plain{depth}": _imagenet(depth, shortcut="none") for depth in _DEPTHS},
    **_named("wide_resnet50_2", 50, _ZAGORUYKO, base_width=128),
    **_named("wide_resnet101_2", 101, _ZAGORUYKO, base_width=128),
    **_named("resnext50_32x4d", 50, _XIE, groups=32, base_width=4),
    **_named("resnext101_32x4d", 101, _XIE, groups=32, base_width=4),
    **_named("resnext101_32x8d", 101, _XIE, groups=32, base_width=8),
    **_named("resnext101_64x4d", 101, _XIE, groups=64, base_width=4),
    **{
        f"cifar_resnet{depth}": _cifar(depth, "A", (f"resnet{depth}", f"akamaster/resnet{depth}"))
        for depth in (20, 32, 44, 56, 110, 1202)
    },
    **{f"cifar_plain{depth}": _cifar(depth, "none") for depth in (20, 32, 44, 56, 110)},
}
