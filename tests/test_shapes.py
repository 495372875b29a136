import pytest
from pydantic import ValidationError

from limner.shapes import CLIP_MEAN, CLIP_STD, ImageSpec


def test_the_default_is_blips_evaluation():
    spec = ImageSpec(size=384)
    assert (spec.mean, spec.std, spec.resampling, spec.crop) == (CLIP_MEAN, CLIP_STD, "bicubic", "squash")


def test_a_spec_survives_json():
    spec = ImageSpec(size=224, mean=(0.5, 0.5, 0.5), crop="center", crop_fraction=0.875)
    assert ImageSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 4},
        {"size": 224, "crop_fraction": 0},
        {"size": 224, "resampling": "area"},
        {"side": 224},
        {"size": 224, "resize_px": 200},
        {"size": 224, "crop_offset": "ceil"},
        {"size": 224, "pad_colour": (0, 0, 256)},
        {"size": 224, "std": (1.0, 0.0, 1.0)},
    ],
)
def test_impossible_specs_are_refused(wrong: dict):
    with pytest.raises(ValidationError):
        ImageSpec.model_validate(wrong)


def test_a_spec_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        ImageSpec(size=224).size = 384  # type: ignore[misc]


def test_specs_saved_before_resize_px_was_there_mean_what_they_meant():
    saved = {"size": 64, "mean": CLIP_MEAN, "std": CLIP_STD, "resampling": "bicubic", "crop": "squash"}
    spec = ImageSpec.model_validate({**saved, "crop_fraction": 1.0})
    assert spec == ImageSpec(size=64)
    assert (spec.resize_px, spec.crop_offset, spec.pad_colour) == (None, "round", None)
