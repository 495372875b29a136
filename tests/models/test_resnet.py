"""Traps of the residual family, one test each, and torchvision's, timm's and transformers' numbers."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from limner.errors import ConfigError
from limner.models import build
from limner.models.layers import DropPath
from limner.models.resnet import BasicBlock, Bottleneck, ResNet, ResNetConfig, Style, ZeroPad
from limner.models.resnet_variants import VARIANTS

CIFAR = ResNetConfig(
    block="basic", depths=(2, 2, 2), widths=(4, 8, 16), num_classes=10, stem="cifar", shortcut="A"
)
TINY = ResNetConfig(block="bottleneck", depths=(1, 1, 1, 1), num_classes=10)


@torch.no_grad()
def stir(model: nn.Module) -> nn.Module:
    """Give norms, their statistics and biases values that show when they are used wrongly."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.3, 0.3)
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.Linear):
            module.bias.uniform_(-0.3, 0.3)
    return model.eval()


def relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def tiny(**changes: Any) -> ResNet:
    return ResNet(ResNetConfig.model_validate(TINY.model_dump() | changes))


@pytest.mark.parametrize(("where", "strides"), [("3x3", (1, 2)), ("1x1", (2, 1))])
def test_stride_is_where_the_config_says(where: str, strides: tuple[int, int]) -> None:
    block = Bottleneck(64, 16, 2, Style(stride_on=where))
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides


@pytest.mark.parametrize(("name", "billions"), [("resnet50", 4.089), ("resnet50_v1", 3.858)])
def test_trap_1_strides_cost_what_papers_say(name: str, billions: float) -> None:
    with torch.device("meta"):
        model, pixels = build(name), torch.empty(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        model(pixels)
    assert round(counter.get_total_flops() / 2e9, 3) == billions


def test_trap_2_option_a_keeps_every_second_pixel_between_zero_channels() -> None:
    x = torch.randn(2, 4, 5, 6)
    out = ZeroPad(4, 8, 2)(x)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()
    assert out.shape == BasicBlock(4, 8, 2)(x).shape == (2, 8, 3, 3)


@pytest.mark.parametrize("block", [BasicBlock(8, 8), Bottleneck(32, 8)])
def test_trap_3_block_with_a_silent_branch_is_relu(block: nn.Module) -> None:
    last = block.bn2 if isinstance(block, BasicBlock) else block.bn3
    nn.init.zeros_(last.weight)
    x = torch.randn(2, 8 if isinstance(block, BasicBlock) else 32, 5, 5)
    assert torch.equal(block.eval()(x), x.relu())


def test_trap_3_projection_has_a_batch_norm_and_no_relu() -> None:
    block = stir(BasicBlock(4, 8, 2))
    nn.init.zeros_(block.bn2.weight)
    nn.init.zeros_(block.bn2.bias)
    x = torch.randn(2, 4, 6, 6)
    conv, norm = block.downsample
    wanted = norm(F.conv2d(x, conv.weight, stride=2))
    assert (wanted < 0).any()
    assert torch.equal(block(x), wanted.relu())


def test_plain_block_has_no_shortcut() -> None:
    block = stir(BasicBlock(4, 8, 2, Style(shortcut="none")))
    x = torch.randn(2, 4, 6, 6)
    wanted = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu())).relu()
    assert torch.equal(block(x), wanted)


def test_input_is_not_changed_in_place() -> None:
    x = torch.randn(2, 8, 5, 5)
    kept = x.clone()
    BasicBlock(8, 8)(x)
    assert torch.equal(x, kept)


def test_trap_4_convolutions_start_as_he_says_by_fan_out() -> None:
    model = ResNet(ResNetConfig(block="basic", depths=(1, 1), widths=(64, 128), num_classes=0))
    widening = model.get_submodule("layer2.0.conv1").weight  # fan in 576, fan out 1152
    assert abs(widening.std().item() / (2 / (9 * 128)) ** 0.5 - 1) < 0.02
    stem = model.conv1.weight  # fan in 147, fan out 3136
    assert abs(stem.std().item() / (2 / (49 * 64)) ** 0.5 - 1) < 0.02


def test_trap_6_batch_norm_has_the_usual_constants() -> None:
    assert all(
        (part.eps, part.momentum) == (1e-5, 0.1)
        for part in ResNet(CIFAR).modules()
        if isinstance(part, nn.BatchNorm2d)
    )


def test_trap_11_caffes_pool_has_no_border_and_a_ragged_end() -> None:
    ramp = torch.arange(12.0).expand(1, 64, 12, 12)
    padded, ragged = (tiny(pool=pool).maxpool(ramp)[0, 0, 0] for pool in ("pad", "ceil"))
    assert padded.tolist() == [1, 3, 5, 7, 9, 11]
    assert ragged.tolist() == [2, 4, 6, 8, 10, 11]


@pytest.mark.parametrize("blocks", [1, 3])
def test_trap_13_responses_are_measured_after_the_norm_before_relu_and_sum(blocks: int) -> None:
    config = CIFAR.model_copy(update={"depths": (blocks,) * 3})
    model = stir(ResNet(config))
    points = model.response_points()
    assert len(points) == 6 * blocks
    assert points[:2] == ("layer1.0.bn1", "layer1.0.bn2")
    seen: dict[str, Tensor] = {}
    for name in points:
        model.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.__setitem__(name, out.clone())
        )
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        stem = model.maps(pixels, ["stem"])["stem"]
        model(pixels)
        first = model.get_submodule("layer1.0")
        one = first.bn1(F.conv2d(stem, first.conv1.weight, padding=1))
        two = first.bn2(F.conv2d(one.relu(), first.conv2.weight, padding=1))
    torch.testing.assert_close(seen["layer1.0.bn1"], one)
    torch.testing.assert_close(seen["layer1.0.bn2"], two)
    assert [tuple(seen[name].shape[1:]) for name in points[:: 2 * blocks]] == [
        (4, 16, 16),
        (8, 8, 8),
        (16, 4, 4),
    ]


def test_bottlenecks_have_one_response_a_block() -> None:
    assert tiny().response_points() == tuple(f"layer{number}.0.bn2" for number in range(1, 5))


def test_option_c_projects_everywhere() -> None:
    with torch.device("meta"):
        projections = {
            name: sum(isinstance(part, nn.Sequential) and len(part) == 2 for part in _shortcuts(name))
            for name in ("resnet34", "resnet34_a", "resnet34_c")
        }
    assert projections == {"resnet34": 3, "resnet34_a": 0, "resnet34_c": 16}


def _shortcuts(name: str) -> list[nn.Module | None]:
    return [part.downsample for part in build(name).modules() if isinstance(part, (BasicBlock, Bottleneck))]


def test_last_norms_start_at_zero_when_asked() -> None:
    model = tiny(zero_init_last=True)
    assert not model.get_submodule("layer2.0.bn3").weight.any()
    assert model.get_submodule("layer2.0.bn2").weight.all()
    assert tiny().get_submodule("layer2.0.bn3").weight.all()


def test_stochastic_depth_rises_to_the_last_block() -> None:
    model = ResNet(CIFAR.model_copy(update={"drop_path": 0.5}))
    rates = [part.probability for part in model.modules() if isinstance(part, DropPath)]
    assert rates == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_dropped_branch_leaves_the_shortcut() -> None:
    block = BasicBlock(8, 8, drop_path=0.99)
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(block(x), x.relu())


def test_maps_are_those_on_the_way() -> None:
    model = stir(ResNet(CIFAR))
    pixels = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        found = model.maps(pixels, ["layer3", "stem", "layer1"])
        assert list(found) == ["stem", "layer1", "layer3"]
        assert torch.equal(found["layer3"], model(pixels).features)
    assert found["stem"].shape == (2, 4, 16, 24)
    assert tiny().maps(torch.randn(1, 3, 64, 64), ["layer1"])["layer1"].shape == (1, 256, 16, 16)


def test_nothing_is_computed_past_the_last_map() -> None:
    model = ResNet(CIFAR)
    model.get_submodule("layer3").register_forward_hook(lambda *_: pytest.fail("layer3 ran"))
    model.maps(torch.randn(1, 3, 16, 16), ["layer2"])


def test_unknown_map_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'layer4'[\s\S]*stem, layer1, layer2, layer3"):
        ResNet(CIFAR).maps(torch.randn(1, 3, 16, 16), ["layer4"])


@pytest.mark.parametrize(
    ("sizes", "word"),
    [
        ({"depths": (1, 1)}, "give one a stage"),
        ({"groups": 2}, "bottleneck"),
        ({"stride_on": "1x1"}, "bottleneck"),
        ({"widths": (16, 8, 4)}, "never takes any away"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        ResNetConfig.model_validate(CIFAR.model_dump() | sizes)


def test_channels_last_gives_the_same_numbers() -> None:
    model = stir(ResNet(CIFAR))
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        wanted = model(pixels)
        found = model.to(memory_format=torch.channels_last)(pixels.to(memory_format=torch.channels_last))
    assert found.features.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.logits, wanted.logits, atol=1e-5, rtol=1e-5)


SAME_NAME = [name for name in VARIANTS if not name.startswith(("cifar", "plain")) and "_v1" not in name]
SAME_NAME = [name for name in SAME_NAME if name not in ("resnet34_a", "resnet34_c", "resnext101_32x4d")]


@pytest.mark.peer
@pytest.mark.parametrize("name", SAME_NAME)
def test_keys_are_torchvisions_and_timms(name: str) -> None:
    import timm
    from torchvision import models

    with torch.device("meta"):
        ours = {key: value.shape for key, value in build(name).state_dict().items()}
        theirs = models.get_model(name).state_dict()
        timms = timm.create_model(name).state_dict()
    assert ours == {key: value.shape for key, value in theirs.items()}
    assert ours == {key: value.shape for key, value in timms.items()}


@pytest.mark.peer
@pytest.mark.parametrize("block", ["basic", "bottleneck", "wide", "grouped"])
@pytest.mark.parametrize("sides", [(64, 96), (71, 65)])
def test_numbers_are_torchvisions(block: str, sides: tuple[int, int]) -> None:
    from torchvision.models import resnet

    kind = resnet.BasicBlock if block == "basic" else resnet.Bottleneck
    style = {"wide": {"width_per_group": 128}, "grouped": {"groups": 32, "width_per_group": 4}}.get(block, {})
    theirs = stir(resnet.ResNet(kind, [2, 1, 1, 1], 10, **style))
    ours = tiny(
        block="basic" if block == "basic" else "bottleneck",
        depths=(2, 1, 1, 1),
        groups=style.get("groups", 1),
        base_width=style.get("width_per_group", 64),
    ).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        for batch in (1, 3):
            pixels = torch.randn(batch, 3, *sides)
            assert relative(ours(pixels).logits, theirs(pixels)) < 1e-5


@pytest.mark.peer
def test_trap_1_torchvision_has_the_stride_on_the_3x3() -> None:
    from torchvision.models import resnet

    theirs = stir(resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], 10))
    pixels = torch.randn(1, 3, 96, 96)
    errors = {}
    for where in ("3x3", "1x1"):
        ours = tiny(stride_on=where).eval()
        ours.load_state_dict(theirs.state_dict())
        with torch.no_grad():
            errors[where] = relative(ours(pixels).logits, theirs(pixels))
    assert errors["3x3"] < 1e-5
    assert errors["1x1"] > 1e-2
