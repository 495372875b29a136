"""Residual networks of four libraries: the same numbers, there and back."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from limner.convert import keymap
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.labels import CIFAR_10, IMAGENET_1K
from limner.convert.preprocessing import TORCHVISION_V1, TORCHVISION_V2
from limner.convert.resnet import DIALECTS, PUBLISHED
from limner.convert.weights import read_weights
from limner.data.transforms import normalise, to_u8
from limner.errors import CheckpointError
from limner.models.resnet import ResNet, ResNetConfig
from limner.models.resnet_variants import VARIANTS
from limner.shapes import ImageSpec

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
SMALL = {"depths": (1, 1, 1, 1), "num_classes": 7}
CIFAR = ResNetConfig(
    block="basic", depths=(2, 1, 1), widths=(4, 8, 16), num_classes=10, stem="cifar", shortcut="A"
)


@torch.no_grad()
def stirred(model: nn.Module) -> Any:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.3, 0.3)
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked.fill_(9)
    return model.eval()


def file(tensors: Mapping[str, Tensor], name: str = "model.safetensors", **more: Any) -> Weights:
    facts, sides = more.get("facts", {}), more.get("sides", {})
    return Weights(dict(tensors), facts, sides, Path(name), more.get("sha256", "0" * 64), "safetensors")


def dialect_of(weights: Weights) -> Dialect:
    (found,) = [dialect for dialect in DIALECTS if dialect.recognises(weights)]
    return found


def opened(weights: Weights) -> tuple[ResNet, Description, Dialect]:
    dialect = dialect_of(weights)
    found = dialect.describe(weights)
    model = ResNet(found.config)
    model.load_state_dict(keymap.read(weights.tensors, dialect.keymap(found.config), "file"))
    return model.eval(), found, dialect


def written(model: ResNet, name: str, found: Description) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and JSON files as the dialect has them."""
    dialect = BY_NAME[name]
    dialect.checks(model.config)
    sides = dialect.companions(model.config, found)
    return keymap.write(model.state_dict(), dialect.keymap(model.config)), json.loads(json.dumps(sides))


def folder(path: Path, tensors: Mapping[str, Tensor], sides: Mapping[str, Any]) -> str:
    save_file(dict(tensors), path / "model.safetensors", metadata={"format": "pt"})
    for name, side in sides.items():
        (path / name).write_text(json.dumps(side))
    return str(path)


@torch.no_grad()
def error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def assert_same(ours: ResNet, theirs: Any, pick: Any = lambda out: out) -> None:
    for batch, height, width in ((1, 64, 96), (3, 71, 65)):
        pixels = torch.randn(batch, 3, height, width)
        with torch.no_grad():
            assert error(ours(pixels).logits, pick(theirs(pixels))) < 1e-5


def theirs_of_torchvision(kind: str, **changes: Any) -> nn.Module:
    from torchvision.models import resnet

    block = resnet.BasicBlock if kind == "basic" else resnet.Bottleneck
    return stirred(resnet.ResNet(block, [2, 1, 1, 1], 7, **changes))


def hf_sides(config: Any) -> dict[str, Any]:
    return {"config.json": json.loads(config.to_json_string())}


def theirs_of_hf(head: bool = True, **changes: Any) -> nn.Module:
    from transformers import ResNetConfig as Config
    from transformers import ResNetForImageClassification, ResNetModel

    config = Config(depths=[1, 2], embedding_size=16, num_labels=5, **{"hidden_sizes": [64, 96], **changes})
    return stirred((ResNetForImageClassification if head else ResNetModel)(config))


# ---- torchvision -----------------------------------------------------------------------------------------


@pytest.mark.peer
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("basic", {}),
        ("bottleneck", {}),
        ("wide", {"width_per_group": 128}),
        ("grouped", {"groups": 32, "width_per_group": 4}),
    ],
)
def test_torchvision_there_and_back(kind: str, changes: dict[str, int]) -> None:
    theirs = theirs_of_torchvision(kind, **changes)
    ours, found, dialect = opened(file(theirs.state_dict()))
    assert dialect.name == "torchvision"
    assert found.image_spec == TORCHVISION_V1
    assert_same(ours, theirs)
    back, sides = written(ours, "torchvision", found)
    assert sides == {}
    theirs.load_state_dict(back)  # strict
    again = opened(file(back))[0].state_dict()
    assert all(torch.equal(value, again[key]) for key, value in ours.state_dict().items())


@pytest.mark.parametrize("name", [name for name in VARIANTS if "1202" not in name])
def test_every_named_network_is_told_by_its_shapes(name: str) -> None:
    config = VARIANTS[name].config
    with torch.device("meta"):
        found = dialect_of(weights := file(ResNet(config).state_dict())).describe(weights).config
    invisible = {"stride_on": "3x3"}  # papers.md, trap 1
    if config.shortcut == "none":
        invisible["shortcut"] = "A"
    assert found == config.model_copy(update=invisible)


def test_trap_1_an_assumed_stride_is_said() -> None:
    def notes(block: str) -> str:
        model = ResNet(ResNetConfig.model_validate(SMALL | {"block": block}))
        return " ".join(BY_NAME["torchvision"].describe(file(model.state_dict())).notes)

    assert "3×3" in notes("bottleneck")
    assert "3×3" not in notes("basic")


def test_trap_5_files_without_batch_counts_open_and_lack_nothing_else() -> None:
    model = stirred(ResNet(CIFAR))
    state = model.state_dict()
    old = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    filled = opened(file(old))[0].state_dict()
    kept = opened(file(state))[0].state_dict()
    assert filled["bn1.num_batches_tracked"] == 0
    assert kept["bn1.num_batches_tracked"] == 9
    del old["bn1.running_var"]
    with pytest.raises(CheckpointError, match=r"1 missing keys \['bn1.running_var'\]"):
        opened(file(old))


def test_a_key_without_a_place_is_fatal() -> None:
    state = stirred(ResNet(CIFAR)).state_dict() | {"layer1.0.bn9.weight": torch.ones(4)}
    with pytest.raises(CheckpointError, match="bn9"):
        opened(file(state))


@pytest.mark.parametrize(
    ("name", "sha256", "spec", "word"),
    [
        ("resnet18-f37072fd.pth", "0" * 64, TORCHVISION_V1, "69.758"),
        ("renamed.pth", "f37072fd" + "0" * 56, TORCHVISION_V1, "69.758"),
        ("resnet50-11ad3fa6.pth", "0" * 64, TORCHVISION_V2, "80.858"),
    ],
)
def test_published_files_are_known_by_their_hash(name: str, sha256: str, spec: object, word: str) -> None:
    config = VARIANTS[PUBLISHED["11ad3fa6" if "11ad" in name else "f37072fd"].name].config
    with torch.device("meta"):
        weights = file(ResNet(config).state_dict(), name, sha256=sha256)
    found = BY_NAME["torchvision"].describe(weights)
    assert found.image_spec == spec
    assert found.labels == IMAGENET_1K
    (note,) = found.notes
    assert word in note


@pytest.mark.peer
def test_published_hashes_names_scores_and_sizes_are_torchvisions() -> None:
    from torchvision.models import get_model_weights, list_models

    known = {}
    for name in list_models():
        if name in VARIANTS:
            for line in get_model_weights(name):
                score = line.meta["_metrics"]["ImageNet-1K"]["acc@1"]
                resize = line.transforms.keywords.get("resize_size", 256)
                known[line.url[-12:-4]] = (name, score, resize)
    ours = {key: (line.name, line.top1, line.image_spec.resize_px) for key, line in PUBLISHED.items()}
    assert {key: ours[key] for key in known} == known
    scores = {line for line in known.values() if line[2] == 256}
    assert {ours[key] for key in ours.keys() - known.keys()} <= scores  # the first uploads, same weights


# ---- timm ------------------------------------------------------------------------------------------------


@pytest.mark.peer
@pytest.mark.parametrize(
    ("name", "classes"), [("resnet18", 7), ("resnet50", 7), ("resnext50_32x4d", 7), ("resnet50", 0)]
)
def test_timm_opens_what_we_write(name: str, classes: int, tmp_path: Path) -> None:
    import timm

    base = VARIANTS[name].config.model_copy(update={"num_classes": classes, "depths": (1, 1, 2, 1)})
    ours = stirred(ResNet(base))
    labels = tuple("abcdefg") if classes else ()
    found = Description(base, VARIANTS[name].image_spec, "classification", labels)
    tensors, sides = written(ours, "timm", found)
    theirs = timm.create_model(f"local-dir:{folder(tmp_path, tensors, sides)}", pretrained=True).eval()
    if classes:
        assert_same(ours, theirs)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert error(ours(pixels).features, theirs.forward_features(pixels)) < 1e-5
    again, described, dialect = opened(file(tensors, sides=sides))
    assert dialect.name == "timm"
    assert described.config == base
    assert described.labels == labels
    assert described.image_spec.size == 224
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in ours.state_dict().items())


@pytest.mark.peer
@pytest.mark.parametrize(
    ("tag", "size", "fraction", "resampling"),
    [
        ("resnet50.a1_in1k", 224, 0.95, "bicubic"),
        ("resnet50.tv_in1k", 224, 0.875, "bilinear"),
        ("resnet50.a3_in1k", 160, 0.95, "bicubic"),
        ("resnet50.tv2_in1k", 176, 0.875, "bilinear"),
        ("resnet50.gluon_in1k", 224, 0.875, "bicubic"),
    ],
)
def test_trap_12_each_timm_tag_has_its_own_preparation(
    tag: str, size: int, fraction: float, resampling: str
) -> None:
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    theirs = get_pretrained_cfg(tag)
    side = {"architecture": "resnet50", "pretrained_cfg": json.loads(json.dumps(theirs.to_dict()))}
    with torch.device("meta"):
        weights = file(ResNet(VARIANTS["resnet50"].config).state_dict(), sides={"config.json": side})
    spec = BY_NAME["timm"].describe(weights).image_spec
    assert (spec.size, spec.crop_fraction, spec.resampling) == (size, fraction, resampling)
    transform = create_transform(**resolve_data_config(pretrained_cfg=theirs.to_dict()))
    resize, crop = transform.transforms[:2]
    assert resize.size == int(spec.size / spec.crop_fraction)
    assert tuple(crop.size) == (size, size)
    assert resize.interpolation.value == resampling


@pytest.mark.peer
@pytest.mark.parametrize(
    ("name", "word"),
    [("resnet18d", "stem"), ("seresnet18", "weigh their channels"), ("resnetblur18", "resnetblur18")],
)
def test_relatives_are_refused_with_the_reason(name: str, word: str) -> None:
    import timm

    with torch.device("meta"):
        theirs = timm.create_model(name)
    weights = file(theirs.state_dict(), sides={"config.json": {"architecture": name, "pretrained_cfg": {}}})
    with pytest.raises(CheckpointError, match=word):
        dialect_of(weights).describe(weights)


def test_changed_arguments_of_timm_are_refused() -> None:
    side = {"architecture": "resnet18", "model_args": {"act_layer": "silu"}}
    with torch.device("meta"):
        weights = file(ResNet(VARIANTS["resnet18"].config).state_dict(), sides={"config.json": side})
    with pytest.raises(CheckpointError, match="act_layer"):
        BY_NAME["timm"].describe(weights)


# ---- transformers ----------------------------------------------------------------------------------------


@pytest.mark.peer
@pytest.mark.parametrize(("block", "first"), [("basic", False), ("bottleneck", False), ("bottleneck", True)])
def test_trap_1_transformers_flag_decides_the_stride(block: str, first: bool) -> None:
    sizes = {"hidden_sizes": [16, 24], "layer_type": block} if block == "basic" else {"layer_type": block}
    theirs = theirs_of_hf(downsample_in_bottleneck=first, **sizes)
    ours, found, dialect = opened(file(theirs.state_dict(), sides=hf_sides(theirs.config)))
    assert dialect.name == "hf"
    assert found.config.stride_on == ("1x1" if first else "3x3")
    assert_same(ours, theirs, lambda out: out.logits)
    if block == "bottleneck":
        other = ResNet(found.config.model_copy(update={"stride_on": "3x3" if first else "1x1"})).eval()
        other.load_state_dict(ours.state_dict())
        pixels = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            assert error(other(pixels).logits, theirs(pixels).logits) > 1e-3


@pytest.mark.peer
@pytest.mark.parametrize("head", [True, False])
def test_transformers_opens_what_we_write(head: bool, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, ResNetForImageClassification, ResNetModel

    config = ResNetConfig(
        block="bottleneck", depths=(1, 2), widths=(16, 24), num_classes=3 * head, stride_on="1x1"
    )
    ours = stirred(ResNet(config))
    found = Description(config, TORCHVISION_V2, "classification", ("cat", "dog", "cat") if head else ())
    tensors, sides = written(ours, "hf", found)
    path = folder(tmp_path, tensors, sides)
    kind = ResNetForImageClassification if head else ResNetModel
    theirs, report = kind.from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        features = ours(pixels).features
        assert error(features, (theirs.eval().resnet if head else theirs.eval())(pixels)[0]) < 1e-5
    if head:
        assert_same(ours, theirs, lambda out: out.logits)
    processor = AutoImageProcessor.from_pretrained(path)
    assert processor.size["shortest_edge"] == 232
    again, described, dialect = opened(file(tensors, sides=sides))
    assert (dialect.name, described.config, described.labels) == ("hf", config, found.labels)
    assert described.image_spec == TORCHVISION_V2.model_copy(update={"crop_offset": "floor"})
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in ours.state_dict().items())


def test_published_transformers_preparation_is_read() -> None:
    model = stirred(ResNet(ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=0)))
    config = Description(model.config, TORCHVISION_V1, "features")
    tensors, sides = written(model, "hf", config)
    processor = {
        "crop_pct": 0.875,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": 224,
    }  # as beside microsoft/resnet-50
    sides["preprocessor_config.json"] = processor
    spec = opened(file(tensors, sides=sides))[1].image_spec
    assert (spec.size, spec.resize_px, spec.resampling, spec.crop) == (224, 256, "bicubic", "center")
    del sides["preprocessor_config.json"]
    found = opened(file(tensors, sides=sides))[1]
    assert "no preprocessor_config.json" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("field", "value"), [("hidden_act", "silu"), ("downsample_in_first_stage", True), ("num_channels", 1)]
)
def test_other_networks_of_transformers_are_refused(field: str, value: object) -> None:
    model = ResNet(ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=0))
    tensors, sides = written(model, "hf", Description(model.config, TORCHVISION_V1, "features"))
    sides["config.json"][field] = value
    with pytest.raises(CheckpointError, match=field):
        opened(file(tensors, sides=sides))


def test_a_classifier_goes_with_its_prefix() -> None:
    model = ResNet(ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=2))
    tensors, _ = written(model, "hf", Description(model.config, TORCHVISION_V1, "classification"))
    headless = {key: tensor for key, tensor in tensors.items() if "classifier" not in key}
    with pytest.raises(CheckpointError, match="0 outputs"):
        opened(file(headless))


@pytest.mark.peer
def test_regnet_is_not_taken_for_a_resnet() -> None:
    from transformers import RegNetConfig, RegNetModel

    theirs = RegNetModel(RegNetConfig(depths=[1, 1], hidden_sizes=[8, 16], embedding_size=8, groups_width=4))
    weights = file(theirs.state_dict())
    assert not any(dialect.recognises(weights) for dialect in DIALECTS)


# ---- akamaster -------------------------------------------------------------------------------------------


def akamaster_of(model: ResNet) -> dict[str, Tensor]:
    """The model's weights as akamaster's training script saves them."""
    return {
        key.replace("fc.", "linear.").replace("downsample", "shortcut"): tensor
        for key, tensor in model.state_dict().items()
        if "num_batches" not in key
    }


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_akamasters_files_open(shortcut: str) -> None:
    model = stirred(ResNet(CIFAR.model_copy(update={"shortcut": shortcut})))
    weights = file(akamaster_of(model), facts={"best_prec1": 91.78})
    ours, found, dialect = opened(weights)
    assert dialect.name == "akamaster"
    assert found.config == model.config
    assert found.labels == CIFAR_10
    assert (found.image_spec.size, found.image_spec.mean[0]) == (32, 0.485)
    assert "91.78" in " ".join(found.notes)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(ours(pixels).logits, model(pixels).logits)


CASES = {"resnet20-12fca82f.th": (99.80, 81.03), "resnet56-4bfd9763.th": (100.0, 83.20)}


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "weights").exists(), reason="the real weights are not here")
@pytest.mark.parametrize("name", CASES)
def test_trap_2_real_weights_score_as_published(name: str) -> None:
    model, found, dialect = opened(read_weights(SHARED / "weights" / name))
    assert dialect.name == "akamaster"
    assert found.config == VARIANTS[f"cifar_{name.split('-')[0]}"].config
    files = ("lossless_first4000_train", "test")
    scores = tuple(
        accuracy(model, SHARED / "cifar10" / f"{stem}.parquet", found.image_spec) for stem in files
    )
    assert scores == CASES[name]


@torch.no_grad()
def accuracy(model: ResNet, path: Path, spec: ImageSpec) -> float:
    """Percent of a table's pictures that the model names right."""
    rows = parquet.read_table(path).to_pydict()
    pictures, labels = next(rows[key] for key in ("png", "jpeg") if key in rows), torch.tensor(rows["label"])
    right = 0
    for start in range(0, len(labels), 500):
        batch = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures[start : start + 500]]
        pixels = torch.from_numpy(np.stack([to_u8(picture, spec) for picture in batch])).permute(0, 3, 1, 2)
        guesses = model(normalise(pixels, spec)).logits.argmax(1)
        right += int((guesses == labels[start : start + 500]).sum())
    return round(100 * right / len(labels), 2)


# ---- what cannot be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "changes", "word"),
    [
        ("torchvision", {"shortcut": "A"}, "shortcuts A"),
        ("torchvision", {"num_classes": 0}, "no classifier"),
        ("timm", {"pool": "ceil"}, "Caffe's pool"),
        ("timm", {"stride_on": "1x1"}, "1×1"),
        ("hf", {"groups": 32, "base_width": 4}, "grouped"),
        ("hf", {"stem": "cifar"}, "CIFAR stem"),
    ],
)
def test_what_a_library_cannot_build_is_not_written(library: str, changes: dict[str, Any], word: str) -> None:
    config = ResNetConfig.model_validate({"block": "bottleneck", **SMALL, **changes})
    with pytest.raises(CheckpointError, match=word):
        BY_NAME[library].checks(config)
