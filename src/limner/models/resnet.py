"""He, Zhang, Ren, Sun 2015, Deep Residual Learning for Image Recognition (arXiv 1512.03385).

Implements: the ImageNet networks of Table 1 with projection shortcuts where the shape changes (option B).
Differs from the paper: the stride of a bottleneck sits on its 3×3 convolution, "v1.5", as in torchvision.
Checked against: torchvision and timm `resnet18 … resnet152`; same keys, same numbers.
"""

from typing import Literal, NamedTuple

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from limner.config import Config
from limner.models.entry import ModelEntry
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec


class ResNetConfig(Config):
    """Sizes of a residual network.

    Args:
        block: "basic" is two 3×3 convolutions, "bottleneck" 1×1, 3×3, 1×1 with a fourfold output.
        depths: blocks in each stage.
        widths: channels inside the blocks of each stage.
        num_classes: outputs of the classifier; 0 for none.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...] = Field(min_length=1)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    num_classes: int = Field(default=1000, ge=0)


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


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """Return a padded 3×3 convolution without bias; batch norm follows it."""
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut.

    Args:
        channels_in: channels of the input.
        width: channels of both convolutions and of the output.
        stride: of the first convolution and of the shortcut.
    Source: Figure 2; ReLU after the addition.
    """

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(channels_in, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return relu(F(x) + shortcut(x))."""
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = self.relu(out.add_(x if self.downsample is None else self.downsample(x)))
        return out


class Bottleneck(nn.Module):
    """1×1 to narrow, 3×3, 1×1 to widen, and a shortcut.

    Args:
        channels_in: channels of the input.
        width: channels of the 3×3 convolution; the output has four times as many.
        stride: of the 3×3 convolution and of the shortcut.
    Source: Figure 5 right, with the stride moved to the 3×3.
    """

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = projection(channels_in, 4 * width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return relu(F(x) + shortcut(x))."""
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = self.relu(out.add_(x if self.downsample is None else self.downsample(x)))
        return out


def projection(channels_in: int, channels_out: int, stride: int) -> nn.Sequential | None:
    """Return the shortcut of option B: 1×1 convolution and batch norm where the shape changes, else None."""
    if stride == 1 and channels_in == channels_out:
        return None
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
    )


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


def stage(
    block: type[BasicBlock] | type[Bottleneck], channels_in: int, width: int, depth: int, stride: int
) -> nn.Sequential:
    """Return `depth` blocks of one width; only the first has the stride."""
    first = block(channels_in, width, stride)
    rest = [block(width * block.expansion, width) for _ in range(depth - 1)]
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
    Source: Table 1.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        block = BLOCKS[config.block]
        channels = config.widths[0]
        self.conv1 = nn.Conv2d(3, channels, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        for number, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True), 1):
            self.add_module(f"layer{number}", stage(block, channels, width, depth, 1 if number == 1 else 2))
            channels = width * block.expansion
        self.fc = nn.Linear(channels, config.num_classes) if config.num_classes else None
        init_convolutions(self)

    def features(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b c y2 x2"]:
        """Return the map after the last stage, 1/32 of the input's side for four stages."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))
        for number in range(1, len(self.config.depths) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> ResNetOutput:
        """Read pictures.

        Args:
            pixels: `normed`, any size from 32.
        """
        features = self.features(pixels)
        pooled = features.mean((2, 3))
        logits = pooled[:, :0] if self.fc is None else self.fc(pooled)
        return ResNetOutput(features, pooled, logits)


_IMAGES = ImageSpec(
    size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bilinear", crop="center", crop_fraction=0.875
)


def _variant(block: str, *depths: int) -> ModelEntry:
    config = ResNetConfig.model_validate({"block": block, "depths": depths})
    return ModelEntry(config, ResNet, _IMAGES, "He et al. 2015, Table 1")


VARIANTS: dict[str, ModelEntry] = {
    "resnet18": _variant("basic", 2, 2, 2, 2),
    "resnet34": _variant("basic", 3, 4, 6, 3),
    "resnet50": _variant("bottleneck", 3, 4, 6, 3),
    "resnet101": _variant("bottleneck", 3, 4, 23, 3),
    "resnet152": _variant("bottleneck", 3, 8, 36, 3),
}
