"""Kolesnikov et al. 2019, Big Transfer (BiT) (arXiv 1912.11370), as the stem of ViT's hybrids.

Implements: the residual network that Dosovitskiy et al. 2020 (arXiv 2010.11929, section 3.1) put before the
    patches: standardised convolutions (Qiao et al. 2019, arXiv 1903.10520), group norm, TensorFlow's SAME
    padding, a root of stride 4, then stages of bottleneck blocks.
Differs from the paper: as in Google's released hybrids, ReLU comes after the norm and after the addition;
    BiT's own networks activate first.
Checked against: timm `vit_tiny_r_s16_p8_224`, `vit_small_r26_s32_224`, `vit_base_r50_s16_224` and
    `vit_large_r50_s32_224`; same keys, same numbers.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.models.resnet import init_convolutions

StdEpsilon = Literal["inside", "outside"]
GROUPS = 32


def standardised(
    weight: Float[Tensor, "o c y x"], epsilon: StdEpsilon = "inside"
) -> Float[Tensor, "o c y x"]:
    """Bring the weights of every output channel to mean 0 and (biased) standard deviation 1.

    Args:
        weight: of a convolution.
        epsilon: "inside" divides by √(variance + 1e-8), as timm does, "outside" by √variance + 1e-5, as
            Google's code does. A filter whose deviation is .02 differs by 5e-4 between them.
    Source: Qiao et al. 2019, equation 5.
    """
    if epsilon == "inside":
        return F.layer_norm(weight, weight.shape[1:], eps=1e-8)
    std, mean = torch.std_mean(weight, (1, 2, 3), correction=0, keepdim=True)
    return (weight - mean) / (std + 1e-5)


def pad_same(
    x: Float[Tensor, "b c y x"], kernel_size: int, stride: int, value: float = 0.0
) -> Float[Tensor, "b c y2 x2"]:
    """Pad so that a window gives ⌈side / stride⌉ outputs; of an odd padding the larger half is after.

    Args:
        x: a map.
        kernel_size: side of the window.
        stride: of the window.
        value: what the border is filled with.
    Source: TensorFlow's "SAME".
    """
    rows, columns = (max((-(-side // stride) - 1) * stride + kernel_size - side, 0) for side in x.shape[-2:])
    if rows == columns == 0:
        return x
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), value=value)


class StdConv(nn.Conv2d):
    """A convolution without bias, SAME padding, whose weights are standardised each time they are used.

    Args:
        channels_in: of the input.
        channels_out: filters.
        kernel_size: side, odd.
        stride: of the window.
        epsilon: see `standardised`.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel_size: int, stride: int, epsilon: StdEpsilon
    ) -> None:
        padding = kernel_size // 2 if stride == 1 else 0
        super().__init__(channels_in, channels_out, kernel_size, stride, padding, bias=False)
        self.epsilon = epsilon

    def forward(self, input: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return the filtered map."""
        x = input if self.stride[0] == 1 else pad_same(input, self.kernel_size[0], self.stride[0])
        return F.conv2d(x, standardised(self.weight, self.epsilon), None, self.stride, self.padding)


class SameMaxPool(nn.Module):
    """Maximum over 3×3 windows of stride 2, SAME padding; the border never wins."""

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y2 x2"]:
        """Return the map at half the resolution, rounded up."""
        return F.max_pool2d(pad_same(x, 3, 2, float("-inf")), 3, 2)


class Shortcut(nn.Module):
    """1×1 convolution and norm, where a block changes the shape.

    Args:
        channels_in: of the input.
        channels_out: of the output.
        stride: of the convolution.
        epsilon: see `standardised`.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, epsilon: StdEpsilon) -> None:
        super().__init__()
        self.conv = StdConv(channels_in, channels_out, 1, stride, epsilon)
        self.norm = nn.GroupNorm(GROUPS, channels_out)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return the projected map."""
        out: Tensor = self.norm(self.conv(x))
        return out


class BitBottleneck(nn.Module):
    """1×1 to narrow, 3×3, 1×1 to widen, and a shortcut; a fresh one passes its shortcut on.

    Args:
        channels_in: of the input.
        channels_out: of the output; the 3×3 convolution has a quarter of them.
        stride: of the 3×3 convolution and of the shortcut.
        epsilon: see `standardised`.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, epsilon: StdEpsilon) -> None:
        super().__init__()
        width = channels_out // 4
        same = stride == 1 and channels_in == channels_out
        self.downsample = None if same else Shortcut(channels_in, channels_out, stride, epsilon)
        self.conv1 = StdConv(channels_in, width, 1, 1, epsilon)
        self.norm1 = nn.GroupNorm(GROUPS, width)
        self.conv2 = StdConv(width, width, 3, stride, epsilon)
        self.norm2 = nn.GroupNorm(GROUPS, width)
        self.conv3 = StdConv(width, channels_out, 1, 1, epsilon)
        self.norm3 = nn.GroupNorm(GROUPS, channels_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return relu(F(x) + shortcut(x))."""
        out: Tensor = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        out = self.norm3(self.conv3(out))
        out = self.relu(out.add_(x if self.downsample is None else self.downsample(x)))
        return out


class BitStage(nn.Module):
    """Blocks of one width; only the first has the stride.

    Args:
        channels_in: of the input.
        channels_out: of every block's output.
        depth: blocks.
        stride: of the first block.
        epsilon: see `standardised`.
    """

    def __init__(
        self, channels_in: int, channels_out: int, depth: int, stride: int, epsilon: StdEpsilon
    ) -> None:
        super().__init__()
        first = BitBottleneck(channels_in, channels_out, stride, epsilon)
        rest = (BitBottleneck(channels_out, channels_out, 1, epsilon) for _ in range(depth - 1))
        self.blocks = nn.Sequential(first, *rest)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        """Return the last block's map."""
        out: Tensor = self.blocks(x)
        return out


def bit_root(width: int, epsilon: StdEpsilon) -> nn.Sequential:
    """Make 7×7 convolution, norm, ReLU and max pool: stride 4, `width` channels.

    Args:
        width: a multiple of 32.
        epsilon: see `standardised`.
    """
    root = nn.Sequential()
    root.add_module("conv", StdConv(3, width, 7, 2, epsilon))
    root.add_module("norm", nn.GroupNorm(GROUPS, width))
    root.add_module("act", nn.ReLU(inplace=True))
    root.add_module("pool", SameMaxPool())
    return root


class BitStages(nn.Module):
    """The root and its stages; stage i has width · 4 · 2ⁱ channels and, but for the first, stride 2.

    Args:
        depths: blocks in each stage.
        width: channels of the root, a multiple of 32.
        epsilon: see `standardised`.
    """

    def __init__(self, depths: tuple[int, ...], width: int, epsilon: StdEpsilon) -> None:
        super().__init__()
        self.stem = bit_root(width, epsilon)
        channels = [width, *(width * 4 * 2**number for number in range(len(depths)))]
        self.stages = nn.Sequential(
            *(
                BitStage(channels[number], channels[number + 1], depth, 2 if number else 1, epsilon)
                for number, depth in enumerate(depths)
            )
        )

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b c y2 x2"]:
        """Return the last stage's map."""
        x: Tensor = self.stages(self.stem(pixels))
        return x


def bit_stem(depths: tuple[int, ...], width: int = 64, epsilon: StdEpsilon = "inside") -> nn.Module:
    """Make the stem of a hybrid, with fresh weights; the last norm of each block starts at 0.

    Args:
        depths: blocks in each stage; () for the root alone.
        width: channels of the root, a multiple of 32.
        epsilon: see `standardised`.
    Source: the last norm's zero is Goyal et al. 2017, section 5.1, and in Google's code.
    """
    stem = BitStages(depths, width, epsilon) if depths else bit_root(width, epsilon)
    init_convolutions(stem)
    for module in stem.modules():
        if isinstance(module, BitBottleneck):
            nn.init.zeros_(module.norm3.weight)
    return stem
