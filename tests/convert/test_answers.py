import pytest
import torch
from torch import nn

from limner.convert import answers
from limner.convert.answers import output_checks
from limner.convert.opening import open_bundle
from limner.models import MODELS, build
from limner.models.masked_patch import MaskedPatchConfig


def found(bundle):
    return {check.name: check.ok for check in output_checks(bundle)}


@pytest.mark.parametrize(
    "name",
    [
        "cifar",
        "resnet",
        "vit",
        "deit",
        "clip",
        "clip_resnet",
        "blip",
        "captioner",
        "retriever",
        "vqa",
        "nlvr2",
    ],
)
def test_every_family_answers_the_same_twice_and_alone(small_bundle, name):
    checks = found(small_bundle(name))
    assert {"finite outputs", "same outputs twice", "one picture alone"} <= checks.keys()
    assert all(checks.values())
    assert ("unit embeddings" in checks) == (name in ("clip", "clip_resnet", "blip", "retriever"))


def test_the_shipped_model_answers():
    assert all(found(open_bundle("limner_tiny")).values())


def test_a_model_that_is_not_asked_this_way_is_left_out(small_bundle):
    config = MaskedPatchConfig(vision=small_bundle("vit_features").model.config)
    assert list(output_checks(small_bundle("vit")._replace(model=build(config)))) == []
    assert "masked_patch_b16" in MODELS


def test_infinite_outputs_are_found(small_bundle):
    bundle = small_bundle("vit")
    bundle.model.head.weight.data.fill_(3e38)
    assert not found(bundle)["finite outputs"]


class Drawing(nn.Module):
    """A layer that draws by chance, whatever the mode."""

    def forward(self, x):
        return x + torch.randn_like(x)


def test_outputs_drawn_by_chance_are_found(small_bundle):
    bundle = small_bundle("vit")
    bundle.model.norm = Drawing()
    assert not found(bundle)["same outputs twice"]


class Touching(nn.Module):
    """A layer whose rows touch each other."""

    def forward(self, x):
        return x - x.mean(0)


def test_rows_that_touch_each_other_are_found(small_bundle):
    bundle = small_bundle("vit")
    bundle.model.norm = Touching()
    assert not found(bundle)["one picture alone"]


def test_vectors_of_another_length_are_found(small_bundle, monkeypatch):
    monkeypatch.setattr("limner.models.clip._unit", lambda features: 2 * features)
    assert not found(small_bundle("clip"))["unit embeddings"]


def test_nothing_is_no_gap():
    assert answers._gap(torch.zeros(0), torch.zeros(0)) == 0.0
