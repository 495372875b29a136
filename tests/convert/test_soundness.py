import pytest
import torch
from torch import nn

from limner.convert.opening import open_bundle
from limner.convert.soundness import weight_checks


def wrong(bundle):
    return {check.name: check.found for check in weight_checks(bundle) if not check.ok}


@pytest.mark.parametrize("name", ["cifar", "vit", "clip_resnet", "blip"])
def test_a_trained_model_is_sound(small_bundle, name):
    assert wrong(small_bundle(name)) == {}


def test_the_shipped_model_is_sound():
    assert wrong(open_bundle("limner_tiny")) == {}


@torch.no_grad()
def test_what_was_lost_or_never_filled_is_named(small_bundle):
    bundle = small_bundle("cifar")
    state = bundle.model.state_dict()
    state["conv1.weight"][0, 0, 0, 0] = float("nan")
    state["fc.weight"].zero_()
    state["layer1.0.conv1.weight"].fill_(0.5)
    state["bn1.running_var"][0] = -1
    state["bn1.bias"].zero_()  # a vector of zeros may be
    assert wrong(bundle) == {
        "finite weights": "conv1.weight",
        "no matrix of zeros": "fc.weight",
        "no matrix of one number": "layer1.0.conv1.weight",
        "no variance below zero": "bn1.running_var",
    }


def test_many_names_are_counted(small_bundle):
    bundle = small_bundle("cifar")
    for parameter in bundle.model.parameters():
        parameter.data.fill_(float("inf"))
    assert " and " in wrong(bundle)["finite weights"]


def test_a_tie_that_should_not_be_is_found(small_bundle):
    bundle = small_bundle("vit")
    bundle.model.blocks[1].norm1 = bundle.model.blocks[0].norm1
    assert wrong(bundle) == {"tied weights": "2"}


def test_a_tie_that_should_be_is_not_missed(small_bundle, monkeypatch):
    bundle = small_bundle("vit")

    class Tied(type(bundle.model)):
        def __init__(self, config):
            super().__init__(config)
            self.blocks[1].norm1.weight = self.blocks[0].norm1.weight

    from limner.models import ARCHITECTURES, Architecture

    monkeypatch.setitem(ARCHITECTURES, "vit", Architecture(type(bundle.model.config), Tied))
    assert wrong(bundle) == {"tied weights": "0"}
    bundle.model.blocks[1].norm1.weight = nn.Parameter(bundle.model.blocks[0].norm1.weight)
    assert "tied weights" in wrong(bundle)
