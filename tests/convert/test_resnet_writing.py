import pytest

from limner.convert.dialect import Description
from limner.convert.resnet_writing import (
    check_hf,
    check_timm,
    check_torchvision,
    companions_hf,
    companions_timm,
    companions_torchvision,
)
from limner.errors import CheckpointError
from limner.models.resnet import ResNetConfig
from limner.models.resnet_variants import IMAGENET, VARIANTS

NAMED = VARIANTS["resnext50_32x4d"].config


def described(config: ResNetConfig, labels: tuple[str, ...] = ()) -> Description:
    return Description(config, IMAGENET, "classification", labels)


def test_named_networks_keep_their_name_at_timm() -> None:
    config = NAMED.model_copy(update={"num_classes": 3, "drop_path": 0.1})
    side = companions_timm(config, described(config, ("a", "b", "c")))["config.json"]
    assert side["architecture"] == "resnext50_32x4d"
    assert "model_args" not in side
    assert (side["num_features"], side["label_names"]) == (2048, ["a", "b", "c"])
    assert side["pretrained_cfg"]["crop_pct"] == 0.875


def test_other_depths_are_told_to_timm_as_changes() -> None:
    config = NAMED.model_copy(update={"depths": (1, 1, 1, 1)})
    side = companions_timm(config, described(config))["config.json"]
    assert side["architecture"] == "resnet50"
    assert side["model_args"] == {"layers": [1, 1, 1, 1], "cardinality": 32, "base_width": 4}


def test_transformers_is_told_sizes_stride_and_classes() -> None:
    config = ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16), num_classes=2)
    sides = companions_hf(config, described(config))
    assert sides["config.json"]["hidden_sizes"] == [8, 16]
    assert sides["config.json"]["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    first = ResNetConfig(block="bottleneck", depths=(1,), widths=(8,), num_classes=0, stride_on="1x1")
    side = companions_hf(first, described(first))["config.json"]
    assert (side["hidden_sizes"], side["downsample_in_bottleneck"]) == ([32], True)
    assert side["architectures"] == ["ResNetModel"]


def test_torchvision_keeps_nothing_beside_the_weights() -> None:
    assert companions_torchvision(NAMED, described(NAMED)) == {}


@pytest.mark.parametrize("check", [check_torchvision, check_timm, check_hf])
def test_all_that_is_odd_is_named_at_once(check: object) -> None:
    config = VARIANTS["cifar_resnet20"].config
    with pytest.raises(CheckpointError, match="a CIFAR stem and shortcuts A"):
        check(config)  # type: ignore[operator]


def test_plain_sizes_pass_everywhere() -> None:
    for check in (check_torchvision, check_timm, check_hf):
        check(VARIANTS["resnet50"].config)
