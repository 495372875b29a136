"""He, Zhang, Ren, Sun 2015, Deep Residual Learning for Image Recognition (arXiv 1512.03385).

Implements: the ImageNet networks of Table 1 and the CIFAR networks of section 4.2, with shortcuts of options
A, B and C, and the same networks without any ("plain"); the wider and grouped bottlenecks of Zagoruyko &
Komodakis 2016 (arXiv 1605.07146) and Xie et al. 2016 (arXiv 1611.05431); stochastic depth.
Differs from the paper: a bottleneck's stride sits on its 3×3 convolution, "v1.5", unless `stride_on="1x1"`;
option A pads its zero channels on both sides, as the public CIFAR weights want.
Checked against: torchvision and timm `resnet18 … resnext101_64x4d`, transformers ResNet (both strides), and
the published CIFAR weights of akamaster/pytorch_resnet_cifar10; same keys as torchvision, same numbers.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ConfigError
from limner.models.layers import DropPath

Shortcut = Literal["none", "A", "B", "C"]


class ResNetConfig(Config):
    """Sizes of a residual network.

    Args:
        block: "basic" is two 3×3 convolutions, "bottleneck" 1×1, 3×3, 1×1 with a fourfold output.
        depths: blocks in each stage.
        widths: channels inside the blocks of each stage; the first is also the stem's.
        num_classes: outputs of the classifier; 0 for none.
        stem: "imagenet" is a 7×7 convolution and a pool, each halving the side; "cifar" one 3×3 convolution.
        shortcut: where shapes differ, "A" pads zeros and "B" projects; "C" projects in every block; "none"
            is the plain network.
        stride_on: the convolution of a bottleneck that halves the side: "3x3" or, as in the paper, "1x1".
        groups: of the 3×3 convolution of a bottleneck.
        base_width: channels of a group, for a width of 64.
        zero_init_last: start the last batch norm of each block at zero.
        drop_path: probability of dropping the last block's branch, rising from 0 at the first, [0, 1).
        pool: "pad" pools with a border of one, "ceil" without one and ragged at the end, as Caffe did.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...] = Field(min_length=1)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    num_classes: int = Field(default=1000, ge=0)
    stem: Literal["imagenet", "cifar"] = "imagenet"
    shortcut: Shortcut = "B"
    stride_on: Literal["3x3", "1x1"] = "3x3"
    groups: int = Field(default=1, ge=1)
    base_width: int = Field(default=64, ge=1)
    zero_init_last: bool = False
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    pool: Literal["pad", "ceil"] = "pad"

    @model_validator(mode="after")
    def _fits(self) -> "ResNetConfig":
        if len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.depths)} depths and {len(self.widths)} widths: give one a stage")
        if self.block == "basic" and (self.groups, self.base_width, self.stride_on) != (1, 64, "3x3"):
            raise ValueError('groups, base_width and stride_on belong to block = "bottleneck"')
        if self.shortcut == "A" and list(self.widths) != sorted(self.widths):
            raise ValueError(f"shortcut A adds channels and never takes any away: widths {self.widths}")
        return self


class ResNetOutput(NamedTuple):
    """What a residual network tells of a picture.

    Args:
        features: map after the last stage.
        pooled: its mean over space.
        logits: class scores; k = 0 without a classifier.
    """

    features: Float[Tensor, "b c y x"]
    pooled: Float[Tensor, "b c"]
    logits: Float[Tensor, "b k"]


class Style(NamedTuple):
    """What all blocks of a network share; fields as in `ResNetConfig`."""

    shortcut: Shortcut = "B"
    stride_on: Literal["3x3", "1x1"] = "3x3"
    groups: int = 1
    base_width: int = 64


_STYLE = Style()


def conv3x3(channels_in: int, channels_out: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a padded 3×3 convolution without bias; batch norm follows it."""
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, groups=groups, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut.

    Args:
        channels_in: channels of the input.
        width: channels of both convolutions and of the output.
        stride: of the first convolution and of the shortcut.
        style: the kind of shortcut.
        drop_path: probability of dropping the branch.
    Source: Figure 2; ReLU after the addition.
    """

    expansion = 1

    def __init__(
        self,
        channels_in: int,
        width: int,
        stride: int = 1,
        style: Style = _STYLE,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = reshaping(channels_in, width, stride, style.shortcut)
        self.plain = style.shortcut == "none"
        self.drop_path = DropPath(drop_path)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return relu(F(x) + shortcut(x)), or relu(F(x)) in a plain network."""
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.drop_path(self.bn2(self.conv2(out)))
        if not self.plain:
            out = out.add_(x if self.downsample is None else self.downsample(x))
        out = self.relu(out)
        return out


class Bottleneck(nn.Module):
    """1×1 to narrow, 3×3, 1×1 to widen, and a shortcut.

    Args:
        channels_in: channels of the input.
        width: the output has four times as many channels; the 3×3 has as many for the plainest style.
        stride: of one convolution and of the shortcut.
        style: the kind of shortcut, which convolution has the stride, and the groups of the 3×3.
        drop_path: probability of dropping the branch.
    Source: Figure 5 right; Xie et al. 2016, Figure 3c.
    """

    expansion = 4

    def __init__(
        self,
        channels_in: int,
        width: int,
        stride: int = 1,
        style: Style = _STYLE,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        inner = int(width * style.base_width / 64) * style.groups
        first, second = (stride, 1) if style.stride_on == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(channels_in, inner, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv3x3(inner, inner, second, style.groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = reshaping(channels_in, 4 * width, stride, style.shortcut)
        self.plain = style.shortcut == "none"
        self.drop_path = DropPath(drop_path)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return relu(F(x) + shortcut(x)), or relu(F(x)) in a plain network."""
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.drop_path(self.bn3(self.conv3(out)))
        if not self.plain:
            out = out.add_(x if self.downsample is None else self.downsample(x))
        out = self.relu(out)
        return out


class ZeroPad(nn.Module):
    """The shortcut of option A: every `stride`-th pixel, and zero channels on both sides.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output, at least as many.
        stride: pixels from one that is kept to the next.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        before = (channels_out - channels_in) // 2
        self.pad = (0, 0, 0, 0, before, channels_out - channels_in - before)
        self.stride = stride

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return the smaller map with more channels."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.pad)


def reshaping(channels_in: int, channels_out: int, stride: int, shortcut: Shortcut) -> nn.Module | None:
    """Return what the shortcut of a block does to its input; None when nothing.

    Source: section 3.3, options A, B and C.
    """
    same = stride == 1 and channels_in == channels_out
    if shortcut == "none" or (same and shortcut != "C"):
        return None
    if shortcut == "A":
        return ZeroPad(channels_in, channels_out, stride)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
    )


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


def stage(
    block: type[BasicBlock] | type[Bottleneck],
    channels_in: int,
    width: int,
    depth: int,
    stride: int,
    style: Style = _STYLE,
    drop_paths: Sequence[float] = (),
) -> nn.Sequential:
    """Return `depth` blocks of one width; only the first has the stride."""
    rates = drop_paths or [0.0] * depth
    first = block(channels_in, width, stride, style, rates[0])
    rest = [block(width * block.expansion, width, 1, style, rate) for rate in rates[1:]]
    return nn.Sequential(first, *rest)


def init_convolutions(module: nn.Module) -> None:
    """Set every convolution inside to He's normal weights (fan out, ReLU), in order.

    Source: He et al. 2015, Delving Deep into Rectifiers, equation 14.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class ResNet(nn.Module):
    """A residual network for pictures.

    Args:
        config: sizes.
    Source: Table 1; section 4.2 for CIFAR.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        block = BLOCKS[config.block]
        style = Style(config.shortcut, config.stride_on, config.groups, config.base_width)
        channels = config.widths[0]
        large = config.stem == "imagenet"
        self.conv1 = nn.Conv2d(3, channels, 7, 2, padding=3, bias=False) if large else conv3x3(3, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        padding = int(config.pool == "pad")
        self.maxpool = nn.MaxPool2d(3, 2, padding, ceil_mode=not padding) if large else None
        total = sum(config.depths)
        rates = iter([config.drop_path * i / max(total - 1, 1) for i in range(total)])
        for number, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True), 1):
            own = [next(rates) for _ in range(depth)]
            stride = 1 if number == 1 else 2
            self.add_module(f"layer{number}", stage(block, channels, width, depth, stride, style, own))
            channels = width * block.expansion
        self.fc = nn.Linear(channels, config.num_classes) if config.num_classes else None
        init_convolutions(self)
        for part in self.modules() if config.zero_init_last else ():
            if isinstance(part, (BasicBlock, Bottleneck)):
                nn.init.zeros_((part.bn2 if isinstance(part, BasicBlock) else part.bn3).weight)

    @property
    def map_names(self) -> tuple[str, ...]:
        """What `maps` can give: "stem", then "layer1", "layer2" and so on."""
        return ("stem", *(f"layer{number}" for number in range(1, len(self.config.depths) + 1)))

    def _walk(self, pixels: Tensor) -> Iterator[tuple[str, Tensor]]:
        x: Tensor = self.relu(self.bn1(self.conv1(pixels)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        yield "stem", x
        for name in self.map_names[1:]:
            x = getattr(self, name)(x)
            yield name, x

    def features(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b c y2 x2"]:
        """Return the map after the last stage: 1/32 of the side for four stages behind an ImageNet stem."""
        for _, last in self._walk(pixels):
            x = last
        return x

    def maps(self, pixels: Float[Tensor, "b 3 y x"], names: Sequence[str]) -> dict[str, Tensor]:
        """Return maps on the way, each after its stage's last ReLU; nothing is computed past the last.

        Args:
            pixels: `normed`.
            names: some of `map_names`.
        Returns: name → "b c y x", in the network's order.
        Raises: ConfigError when the network has no such map.
        """
        unknown = [name for name in names if name not in self.map_names]
        if unknown:
            raise ConfigError(f"no map {unknown[0]!r} in this ResNet", wanted=", ".join(self.map_names))
        found: dict[str, Tensor] = {}
        for name, x in self._walk(pixels):
            if name in names:
                found[name] = x
            if len(found) == len(set(names)):
                break
        return found

    def response_points(self) -> tuple[str, ...]:
        """Names of the batch norms whose outputs Figure 7 measures: one after each 3×3 convolution but the
        stem's, before the ReLU and the addition. Both work in place: a hook must measure at once.
        """
        return tuple(
            name.replace("conv", "bn")
            for name, part in self.named_modules()
            if name != "conv1" and isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)
        )

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> ResNetOutput:
        """Read pictures.

        Args:
            pixels: `normed`, any size; from 32 for ImageNet networks.
        """
        features = self.features(pixels)
        pooled = features.mean((2, 3))
        logits = pooled[:, :0] if self.fc is None else self.fc(pooled)
        return ResNetOutput(features, pooled, logits)


def new_head(model: ResNet, num_classes: int) -> ResNet:
    """Copy a model, with a fresh classifier in place of its own, as for fine-tuning.

    Args:
        model: left as it is.
        num_classes: outputs of the new classifier; 0 for none.
    """
    twin = copy.deepcopy(model)
    twin.config = ResNetConfig.model_validate(model.config.model_dump() | {"num_classes": num_classes})
    like = model.conv1.weight
    channels = model.config.widths[-1] * (4 if model.config.block == "bottleneck" else 1)
    twin.fc = nn.Linear(channels, num_classes).to(like) if num_classes else None
    return twin
