import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.models.bit import BitBottleneck, SameMaxPool, StdConv, bit_stem, pad_same, standardised
from limner.models.vit import ViT, ViTConfig


@torch.no_grad()
def stir(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.uniform_(-0.3, 0.3)
    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            module.weight.add_(1.0)


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_filters_are_standardised_one_by_one() -> None:
    weight = torch.randn(4, 3, 5, 5) * 0.02 + 0.01
    for row, inside, outside in zip(
        weight, standardised(weight), standardised(weight, "outside"), strict=True
    ):
        mean = row.mean()
        variance = (row - mean).square().sum() / 75  # biased
        torch.testing.assert_close(inside, (row - mean) / (variance + 1e-8).sqrt())
        torch.testing.assert_close(outside, (row - mean) / (variance.sqrt() + 1e-5))


def test_the_two_epsilons_differ_by_their_sizes() -> None:
    weight = torch.randn(1, 64, 3, 3)
    for std in (0.02, 1e-3):
        scaled = standardised(weight) * std
        ratio = standardised(scaled, "outside").std() / standardised(scaled).std()
        want = math.sqrt(std**2 + 1e-8) / (std + 1e-5)
        assert ratio.item() == pytest.approx(want, rel=1e-5)
    assert abs(want - 1) > 4e-3


@pytest.mark.parametrize(("size", "before", "after"), [(8, 2, 3), (9, 3, 3), (224, 2, 3)])
def test_odd_padding_is_larger_after(size: int, before: int, after: int) -> None:
    padded = pad_same(torch.ones(1, 1, size, 6), 7, 2)
    column = padded[0, 0, :, 3]
    assert column.tolist() == [0.0] * before + [1.0] * size + [0.0] * after
    assert pad_same(padded, 1, 2) is padded


def test_same_convolution_reads_other_pixels_than_a_centred_one() -> None:
    ramp = torch.arange(64.0).view(1, 1, 8, 8).expand(1, 3, 8, 8)
    convolution = StdConv(3, 2, 3, 2, "inside")
    weight = standardised(convolution.weight)
    want = F.conv2d(F.pad(ramp, (0, 1, 0, 1)), weight, stride=2)
    assert_near(convolution(ramp), want)
    assert not torch.allclose(convolution(ramp), F.conv2d(ramp, weight, stride=2, padding=1), atol=0.1)


@pytest.mark.parametrize("size", [7, 8])
def test_border_never_wins_the_pool(size: int) -> None:
    pooled = SameMaxPool()(torch.full((1, 1, size, size), -3.0))
    assert torch.equal(pooled, torch.full((1, 1, 4, 4), -3.0))


def test_fresh_block_passes_its_shortcut_on() -> None:
    stem = bit_stem((1, 2), 32)
    block = stem.stages[1].blocks[1]
    x = torch.randn(1, 256, 4, 4)
    assert isinstance(block, BitBottleneck)
    torch.testing.assert_close(block(x), x.relu())


@pytest.mark.parametrize("depths", [(), (1,), (2, 1)])
def test_every_parameter_of_a_stirred_stem_gets_a_gradient(depths: tuple[int, ...]) -> None:
    stem = bit_stem(depths, 32)
    stir(stem)
    stem(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in stem.parameters())


def hybrid(depths: tuple[int, ...], image_size: int, patch: int) -> tuple[ViT, nn.Module]:
    """Our small hybrid and timm's, with the same stirred weights."""
    from timm.layers import HybridEmbed, StdConv2dSame
    from timm.models.resnetv2 import ResNetV2, create_resnetv2_stem
    from timm.models.vision_transformer import VisionTransformer

    kind = {"stem_type": "same", "preact": False, "conv_layer": partial(StdConv2dSame, eps=1e-8)}
    backbone = (
        ResNetV2(depths, (128, 256, 512), num_classes=0, global_pool="", stem_chs=32, **kind)
        if depths
        else create_resnetv2_stem(3, 32, **kind)
    )
    theirs = VisionTransformer(
        img_size=image_size,
        patch_size=patch,
        embed_dim=24,
        depth=2,
        num_heads=3,
        num_classes=7,
        embed_layer=partial(HybridEmbed, backbone=backbone),
    ).eval()
    stir(theirs)
    stride = 4 * 2 ** max(len(depths) - 1, 0)
    sizes = {"width": 24, "depth": 2, "num_heads": 3, "mlp_dim": 96, "num_classes": 7}
    ours = ViT(
        ViTConfig(image_size=image_size, patch_size=patch * stride, bit_stem=depths, bit_width=32, **sizes)
    ).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.peer
@pytest.mark.parametrize(
    ("depths", "image_size", "patch"),
    [((), 64, 8), ((), 33, 3), ((2, 1), 64, 1), ((1, 1, 2), 49, 1), ((1, 2), 45, 2)],
)
def test_numbers_are_timms(depths: tuple[int, ...], image_size: int, patch: int) -> None:
    ours, theirs = hybrid(depths, image_size, patch)
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, image_size, image_size)
        with torch.no_grad():
            assert_near(ours(pixels).tokens, theirs.forward_features(pixels))
            assert_near(ours(pixels).logits, theirs(pixels))


@pytest.mark.peer
def test_google_s_epsilon_is_not_timms_on_faint_filters() -> None:
    ours, theirs = hybrid((1, 1), 32, 1)
    google = ViT(ours.config.model_copy(update={"bit_epsilon": "outside"})).eval()
    with torch.no_grad():
        for model in (theirs, ours):
            for module in model.patch_embed.modules():
                if isinstance(module, nn.Conv2d) and module.bias is None:
                    # filters of one group differ in size, or the group norm would undo it
                    module.weight.mul_(torch.logspace(-3, 0, len(module.weight))[:, None, None, None])
        google.load_state_dict(ours.state_dict())
        pixels = torch.randn(1, 3, 32, 32)
        want = theirs(pixels)
        assert_near(ours(pixels).logits, want)
        assert (google(pixels).logits - want).abs().max() > 1e-4 * want.abs().max()


@pytest.mark.peer
@pytest.mark.slow
def test_the_published_size_has_timms_numbers() -> None:
    import timm

    from limner.models import build

    theirs = timm.create_model("vit_small_r26_s32_224").eval()
    ours = build("vit_r26_s32").eval()
    stir(theirs)
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert (ours(pixels).logits - theirs(pixels)).abs().max() <= 1e-4 * theirs(pixels).abs().max()
