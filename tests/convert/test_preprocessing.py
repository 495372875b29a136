"""The JSON beside a checkpoint: read, written, opened by the library that owns it, refused by its field.

The pixels themselves are held against the libraries' in test_preprocessing_peers.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.convert import preprocessing as prep
from limner.data.transforms import normalise, to_u8
from limner.errors import CheckpointError
from limner.shapes import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, ImageSpec

HALVES = {"mean": prep.HALF, "std": prep.HALF}


def waves(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    bands = [127 + 120 * np.sin(x / 7 + k) * np.cos(y / (5 + k)) for k in range(3)]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))


def ours(image: Image.Image, spec: ImageSpec) -> Tensor:
    return normalise(torch.from_numpy(to_u8(image, spec)).permute(2, 0, 1)[None], spec)[0]


def levels(a: Tensor, b: Tensor, spec: ImageSpec) -> Tensor:
    """Differences in levels of 255, before mean and std."""
    return (a - b).abs() * torch.tensor(spec.std).view(3, 1, 1) * 255


SPECS = (
    prep.OPENAI_CLIP,
    prep.BLIP,
    prep.GOOGLE_VIT,
    prep.TORCHVISION_V1,
    prep.TORCHVISION_V2,
    prep.TORCHVISION_SWAG,
    prep.CIFAR,
    ImageSpec(size=96, crop="squash", resize_px=112, resampling="lanczos"),
    ImageSpec(size=97, crop="center", crop_fraction=0.9, resampling="nearest"),
)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [(230, 171), (171, 233)])
def test_what_is_written_prepares_the_same(spec: ImageSpec, size: tuple[int, int]) -> None:
    image = waves(*size)
    timm = prep.from_timm(json.loads(json.dumps(prep.to_timm(spec))))
    assert np.array_equal(to_u8(image, timm), to_u8(image, spec))
    floored = spec.model_copy(update={"crop_offset": "floor"})
    hf = prep.from_hf(json.loads(json.dumps(prep.to_hf(spec))))
    assert np.array_equal(to_u8(image, hf), to_u8(image, floored))
    assert (timm.mean, timm.std, hf.mean, hf.std) == (spec.mean, spec.std, spec.mean, spec.std)


@pytest.mark.parametrize(
    "spec",
    [
        prep.OPENAI_CLIP,
        prep.BLIP,
        prep.GOOGLE_VIT,
        ImageSpec(size=64, crop="pad", pad_colour=(7, 7, 7)),
        ImageSpec(size=64, crop="pad", **HALVES),
    ],
)
def test_open_clips_json_comes_back(spec: ImageSpec) -> None:
    back = prep.from_open_clip({"preprocess_cfg": json.loads(json.dumps(prep.to_open_clip(spec)))})
    assert np.array_equal(to_u8(waves(90, 40), back), to_u8(waves(90, 40), spec))
    assert (back.mean, back.std) == (spec.mean, spec.std)


def test_timms_border_comes_back() -> None:
    spec = ImageSpec(size=64, crop="pad", resize_px=80)
    assert prep.from_timm(prep.to_timm(spec)) == spec


def test_the_crop_share_gives_every_side_back() -> None:
    for resize_px in range(225, 420):
        spec = ImageSpec(size=224, crop="squash", resize_px=resize_px)
        assert prep.from_timm(prep.to_timm(spec)) == spec


def test_transformers_begins_the_middle_of_an_odd_margin_one_pixel_earlier() -> None:
    """A margin of 3: torchvision, timm and open_clip start at 2, transformers at 1."""
    image = waves(67, 64)
    for offset, left in (("round", 2), ("floor", 1)):
        spec = ImageSpec(size=64, crop="center", crop_offset=offset)
        assert np.array_equal(to_u8(image, spec), np.asarray(image)[:, left : left + 64])


@pytest.mark.peer
@pytest.mark.parametrize("spec", SPECS[:6])
def test_transformers_opens_what_is_written(tmp_path: Path, spec: ImageSpec) -> None:
    from transformers import AutoImageProcessor

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(prep.to_hf(spec)))
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    theirs = processor(waves(230, 170), return_tensors="pt")["pixel_values"][0]
    floored = spec.model_copy(update={"crop_offset": "floor"})
    assert levels(ours(waves(230, 170), floored), theirs, spec).max() < 3.001


def test_googles_numbers_are_around_127() -> None:
    """Trap 21: mean and std .5, not ImageNet's, and the whole picture squashed to the square."""
    image = waves(60, 90)
    by_hand = (
        np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR), dtype=np.float32) - 127.5
    ) / 127.5
    prepared = ours(image, prep.GOOGLE_VIT).permute(1, 2, 0).numpy()
    assert np.abs(prepared - by_hand).max() < 1e-6


def test_old_files_without_a_class_are_read_by_the_model_type() -> None:
    old = {
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": 224,
    }
    assert prep.from_hf(old, "vit") == prep.GOOGLE_VIT.model_copy(update={"crop_offset": "floor"})
    clip = {"crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": 224}
    assert prep.from_hf(clip) == prep.OPENAI_CLIP.model_copy(update={"crop_offset": "floor"})
    resnet = {"crop_pct": 0.875, "feature_extractor_type": "ConvNextFeatureExtractor", "size": 224}
    assert prep.from_hf(resnet).resize_px == 256
    assert prep.from_hf({"size": 256, "crop_size": 224}, "deit").resize_px == 256


def test_pixels_that_are_not_rescaled_or_not_normalised() -> None:
    unscaled = {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3}
    assert prep.from_hf(unscaled, "vit").mean == prep.HALF
    assert (
        prep.from_hf({"rescale_factor": 1 / 127.5, "image_mean": 1.0, "image_std": 1.0}, "vit").std
        == prep.HALF
    )
    bare = prep.from_hf({"do_normalize": False}, "vit")
    assert (bare.mean, bare.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_defaults_of_silent_files() -> None:
    assert prep.from_timm({}) == ImageSpec(
        size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop="center", crop_fraction=0.875
    )
    assert prep.from_open_clip({}) == ImageSpec(size=224, mean=CLIP_MEAN, std=CLIP_STD, crop="center")
    assert prep.from_open_clip({"preprocess_cfg": {"interpolation": "random"}}).resampling == "bicubic"


def test_the_same_preparation_for_another_size() -> None:
    assert prep.at_size(prep.BLIP, 480).size == 480
    assert prep.at_size(prep.TORCHVISION_V1, 448).resize_px == 512
    with pytest.raises(CheckpointError, match="size"):
        prep.at_size(prep.BLIP, 4)


CONVNEXT: dict[str, Any] = {"image_processor_type": "ConvNextImageProcessor"}
VIT: dict[str, Any] = {"image_processor_type": "ViTImageProcessor"}


@pytest.mark.parametrize(
    ("read", "config", "field"),
    [
        (prep.from_timm, {"input_size": [1, 28, 28]}, "input_size"),
        (prep.from_timm, {"input_size": [3, 224, 192]}, "input_size"),
        (prep.from_timm, {"pretrained_cfg": {"crop_mode": "five"}}, "crop_mode"),
        (prep.from_timm, {"crop_pct": 1.2}, "crop_pct"),
        (prep.from_timm, {"interpolation": "box"}, "interpolation"),
        (prep.from_timm, {"mean": [0.5]}, "mean"),
        (prep.from_timm, {"crop_border_pixels": 4}, "crop_border_pixels"),
        (prep.from_timm, {"pretrained_cfg": [1]}, "pretrained_cfg"),
        (prep.from_open_clip, {"preprocess_cfg": {"resize_mode": "crop"}}, "resize_mode"),
        (prep.from_open_clip, {"preprocess_cfg": {"mode": "L"}}, "mode"),
        (prep.from_open_clip, {"preprocess_cfg": {"interpolation": "lanczos4"}}, "interpolation"),
        (prep.from_open_clip, {"model_cfg": {"vision_cfg": {"image_size": [224, 196]}}}, "image_size"),
        (
            prep.from_open_clip,
            {"preprocess_cfg": {"fill_color": 300, "resize_mode": "longest"}},
            "pad_colour",
        ),
        (prep.from_hf, {"image_processor_type": "LevitImageProcessor"}, "image_processor_type"),
        (prep.from_hf, {}, "image_processor_type"),
        (prep.from_hf, {**VIT, "do_resize": False}, "do_resize"),
        (prep.from_hf, {**VIT, "do_pad": True}, "do_pad"),
        (prep.from_hf, {**VIT, "do_flip_channel_order": True}, "do_flip_channel_order"),
        (prep.from_hf, {**VIT, "size": {"height": 224, "width": 196}}, "size"),
        (prep.from_hf, {**VIT, "size": {"shortest_edge": 224, "longest_edge": 512}}, "size"),
        (prep.from_hf, {**VIT, "size": {"shortest_edge": 224}}, "do_center_crop"),
        (prep.from_hf, {**VIT, "size": "224"}, "size"),
        (prep.from_hf, {**VIT, "do_center_crop": True, "crop_size": 256}, "crop_size"),
        (prep.from_hf, {**VIT, "resample": 4}, "resample"),
        (prep.from_hf, {**VIT, "image_std": [0.5, 0.5]}, "image_std"),
        (prep.from_hf, {**VIT, "image_std": [0.5, 0.0, 0.5]}, "std"),
        (prep.from_hf, {**VIT, "rescale_factor": 0}, "rescale_factor"),
        (prep.from_hf, {**CONVNEXT, "size": {"height": 8, "width": 8}}, "size"),
        (prep.from_hf, {**CONVNEXT, "do_center_crop": True}, "do_center_crop"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    read: Callable[..., ImageSpec], config: dict[str, Any], field: str
) -> None:
    with pytest.raises(CheckpointError, match=field):
        read(config)


@pytest.mark.parametrize(
    ("write", "spec", "field"),
    [
        (prep.to_hf, ImageSpec(size=64, crop="pad"), "crop"),
        (prep.to_timm, ImageSpec(size=64, crop="pad", pad_colour=(0, 0, 0)), "pad_colour"),
        (prep.to_open_clip, prep.TORCHVISION_V1, "resize_px"),
        (prep.to_open_clip, ImageSpec(size=64, resampling="lanczos"), "resampling"),
        (prep.to_open_clip, ImageSpec(size=64, crop="pad"), "pad_colour"),
    ],
)
def test_what_a_library_has_no_word_for_is_not_written(
    write: Callable[..., dict[str, Any]], spec: ImageSpec, field: str
) -> None:
    with pytest.raises(CheckpointError, match=field):
        write(spec)
