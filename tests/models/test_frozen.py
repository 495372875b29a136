import copy

import pytest
import torch
from torch import nn

from limner.models.frozen import FrozenBatchNorm, freeze_batch_norm
from limner.models.resnet import ResNet, ResNetConfig

CONFIG = ResNetConfig(block="basic", depths=(1, 1), widths=(4, 8), num_classes=3, stem="cifar")


@pytest.fixture
def model() -> ResNet:
    net = ResNet(CONFIG)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
    return net


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]


def test_trap_6_training_does_not_move_frozen_statistics(model: ResNet) -> None:
    freeze_batch_norm(model)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    model(torch.randn(4, 3, 8, 8)).logits.square().sum().backward()
    optimizer.step()
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved
    assert all("conv" in key or "fc" in key or "downsample.0" in key for key in moved)
    assert all(isinstance(norm, FrozenBatchNorm) and not norm.training for norm in norms(model))
    assert all(not p.requires_grad and p.grad is None for norm in norms(model) for p in norm.parameters())


def test_the_same_without_freezing_does_move_them(model: ResNet) -> None:
    before = model.bn1.running_mean.clone()
    model.train()(torch.randn(4, 3, 8, 8))
    assert not torch.equal(model.bn1.running_mean, before)


def test_keys_numbers_and_the_rest_of_the_model_stay(model: ResNet) -> None:
    pixels = torch.randn(2, 3, 8, 8)
    wanted, keys = model.eval()(pixels).logits, list(model.state_dict())
    freeze_batch_norm(model)
    freeze_batch_norm(model)  # a second time changes nothing
    assert list(model.state_dict()) == keys
    assert torch.equal(model.train()(pixels).logits, wanted)
    assert model.training
    assert model.conv1.weight.requires_grad
