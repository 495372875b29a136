import pytest
import torch

from limner.models import build, canonical
from limner.models.resnet_variants import CIFAR, IMAGENET, VARIANTS

CIFAR_PARAMETERS = {
    20: 269_722,
    32: 464_154,
    44: 658_586,
    56: 853_018,
    110: 1_727_962,
}


@pytest.mark.parametrize("depth", CIFAR_PARAMETERS)
def test_cifar_nets_have_6n_plus_2_layers_and_their_sizes(depth: int) -> None:
    with torch.device("meta"):
        model = build(f"cifar_resnet{depth}")
    layers = [name for name, tensor in model.named_parameters() if tensor.ndim > 1]
    assert len(layers) == depth
    assert sum(p.numel() for p in model.parameters()) == CIFAR_PARAMETERS[depth]


@pytest.mark.parametrize("name", [name for name in VARIANTS if "plain" in name])
def test_plain_nets_are_residual_ones_without_their_shortcuts(name: str) -> None:
    twin = VARIANTS[name.replace("plain", "resnet")].config
    assert VARIANTS[name].config == twin.model_copy(update={"shortcut": "none"})


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("microsoft/resnet-50", "resnet50"),
        ("timm/resnet50.a1_in1k", "resnet50"),
        ("resnet18.tv_in1k", "resnet18"),
        ("timm/wide_resnet50_2", "wide_resnet50_2"),
        ("resnet20", "cifar_resnet20"),
        ("akamaster/resnet1202", "cifar_resnet1202"),
    ],
)
def test_names_of_others_are_known(alias: str, name: str) -> None:
    assert canonical(alias) == name


def test_pictures_are_prepared_as_their_data_sets_want() -> None:
    assert {line.image_spec for name, line in VARIANTS.items() if "cifar" in name} == {CIFAR}
    assert {line.image_spec for name, line in VARIANTS.items() if "cifar" not in name} == {IMAGENET}
