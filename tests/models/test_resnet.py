import pytest
import torch
from torch import nn

from limner.models import MODELS, build
from limner.models.resnet import BasicBlock, Bottleneck, ResNet, ResNetConfig

NAMES = [name for name in MODELS if name.startswith("resnet")]


def test_strides_are_v1_5() -> None:
    block = Bottleneck(64, 16, stride=2)
    assert block.conv1.stride == (1, 1)
    assert block.conv2.stride == (2, 2)


@pytest.mark.parametrize("block", [BasicBlock(8, 8), Bottleneck(32, 8)])
def test_block_with_a_silent_branch_is_relu(block: nn.Module) -> None:
    last = block.bn2 if isinstance(block, BasicBlock) else block.bn3
    nn.init.zeros_(last.weight)
    x = torch.randn(2, 8 if isinstance(block, BasicBlock) else 32, 5, 5)
    assert torch.equal(block.eval()(x), x.relu())


def test_input_is_not_changed_in_place() -> None:
    x = torch.randn(2, 8, 5, 5)
    kept = x.clone()
    BasicBlock(8, 8)(x)
    assert torch.equal(x, kept)


def test_convolutions_start_as_he_says() -> None:
    model = ResNet(ResNetConfig(block="basic", depths=(1,), widths=(64,), num_classes=0))
    weight = model.get_submodule("layer1.0.conv1").weight
    assert abs(weight.std().item() / (2 / (9 * 64)) ** 0.5 - 1) < 0.02
    assert model.bn1.eps == 1e-5
    assert model.bn1.momentum == 0.1


@pytest.mark.peer
@pytest.mark.parametrize("name", NAMES)
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
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_numbers_are_torchvisions(name: str) -> None:
    from torchvision import models

    theirs = models.get_model(name).eval()
    ours = build(name).eval()
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(pixels).logits, theirs(pixels), atol=1e-5, rtol=1e-5)
