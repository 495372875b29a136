"""How pictures are prepared, from the JSON beside a checkpoint and back; and for formats that carry none.

Three dialects are read: timm's `pretrained_cfg`, transformers' `preprocessor_config.json` and open_clip's
`preprocess_cfg`. A value that cannot be honoured exactly is an error that names its field. What a library
does without saying so in its JSON travels too: transformers begins the middle of an odd margin one pixel
earlier than torchvision (`crop_offset`).
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from limner.convert.fields import (
    RESAMPLE,
    image_spec,
    number,
    numbers,
    one_of,
    refused,
    resampling,
    side,
    square_or_short,
    table,
)
from limner.errors import CheckpointError
from limner.shapes import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, ImageSpec

HALF: Final = (0.5, 0.5, 0.5)

OPENAI_CLIP: Final = ImageSpec(size=224, crop="center")
BLIP: Final = ImageSpec(size=384)
GOOGLE_VIT: Final = ImageSpec(size=224, mean=HALF, std=HALF, resampling="bilinear")
GOOGLE_VIT_NOTE: Final = (
    "Google's own evaluation resizes with TensorFlow's bilinear filter, which does not smooth when it "
    "shrinks; limner's does, so pixels may differ by 100 of 255 and more on fine texture."
)
TORCHVISION_V1: Final = ImageSpec(
    size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bilinear", crop="center", resize_px=256
)
TORCHVISION_V2: Final = ImageSpec(
    size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bilinear", crop="center", resize_px=232
)
TORCHVISION_SWAG: Final = ImageSpec(
    size=384, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bicubic", crop="center"
)
CIFAR: Final = ImageSpec(size=32, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bilinear")


class _Processor(NamedTuple):
    """What a class of transformers does where its JSON is silent.

    Args:
        size: to resize to.
        square: whether a bare number means both sides, not the short one.
        resample: Pillow's number of the filter.
        mean: per channel.
        std: per channel.
        crops: whether it cuts the middle.
    """

    size: Mapping[str, int]
    square: bool
    resample: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crops: bool


_CLIP_LIKE: Final = _Processor({"shortest_edge": 224}, False, 3, CLIP_MEAN, CLIP_STD, True)
_PROCESSORS: Final = {
    "ViT": _Processor({"height": 224, "width": 224}, True, 2, HALF, HALF, False),
    "DeiT": _Processor({"height": 256, "width": 256}, True, 3, HALF, HALF, True),
    "Blip": _Processor({"height": 384, "width": 384}, True, 3, CLIP_MEAN, CLIP_STD, False),
    "ConvNext": _Processor({"shortest_edge": 384}, False, 3, HALF, HALF, False),
    "CLIP": _CLIP_LIKE,
    "Bit": _CLIP_LIKE,
    "ViTHybrid": _CLIP_LIKE,
}
_OF_MODEL: Final = {
    "vit": "ViT", "deit": "DeiT", "blip": "Blip", "clip": "CLIP", "clip_vision_model": "CLIP",
    "resnet": "ConvNext", "convnext": "ConvNext", "bit": "Bit", "vit-hybrid": "ViTHybrid",
}  # fmt: skip
_HARMLESS: Final = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")


def at_size(spec: ImageSpec, size: int) -> ImageSpec:
    """Return the same preparation for another input size; a side to resize to grows in proportion."""
    resize_px = None if spec.resize_px is None else round(spec.resize_px * size / spec.size)
    return image_spec({**spec.model_dump(), "size": size, "resize_px": resize_px}, "the input size")


def from_timm(config: Mapping[str, Any], origin: str = "config.json") -> ImageSpec:
    """Read timm's config.json, or the `pretrained_cfg` in it.

    Args:
        config: parsed JSON.
        origin: file name, for the message.
    Raises: CheckpointError that names the field limner cannot honour.
    """
    fields = table(config, "pretrained_cfg", origin) or config
    channels, height, width = numbers(fields, "input_size", (3, 224, 224), origin, count=3)
    if channels != 3 or height != width:
        raise refused(origin, "input_size", fields["input_size"], "three channels and a square")
    if fields.get("crop_border_pixels"):
        raise refused(origin, "crop_border_pixels", fields["crop_border_pixels"], "none")
    crops = {"center": "center", "squash": "squash", "border": "pad"}
    mode = one_of(fields, "crop_mode", "center", crops, origin)
    fraction = number(fields, "crop_pct", 0.875, origin)
    if not 0 < fraction <= 1:
        raise refused(origin, "crop_pct", fraction, "above 0, at most 1")
    resize_px = math.floor(height / fraction)
    return image_spec(
        {
            "size": height,
            "mean": numbers(fields, "mean", IMAGENET_MEAN, origin),
            "std": numbers(fields, "std", IMAGENET_STD, origin),
            "resampling": resampling(fields.get("interpolation") or "bicubic", "interpolation", origin),
            "crop": crops[mode],
            "crop_fraction": fraction if mode == "center" else 1.0,
            "resize_px": resize_px if mode != "center" and resize_px != height else None,
        },
        origin,
    )


def to_timm(spec: ImageSpec) -> dict[str, Any]:
    """Return the fields of timm's `pretrained_cfg`.

    Raises: CheckpointError when timm has no word for the padding's colour.
    """
    if spec.crop == "pad" and spec.pad_colour is not None:
        raise _cannot_write("timm", "pad_colour", spec.pad_colour, "the mean colour (pad_colour None)")
    return {
        "input_size": [3, spec.size, spec.size],
        "interpolation": spec.resampling,
        "crop_pct": _crop_pct(spec),
        "crop_mode": {"center": "center", "squash": "squash", "pad": "border"}[spec.crop],
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def _crop_pct(spec: ImageSpec) -> float:
    """The share whose division timm rounds down to exactly the wanted side."""
    if spec.resize_px is None:
        return spec.crop_fraction if spec.crop == "center" else 1.0
    share = spec.size / spec.resize_px
    return share if math.floor(spec.size / share) == spec.resize_px else spec.size / (spec.resize_px + 0.5)


def from_open_clip(config: Mapping[str, Any], origin: str = "open_clip_config.json") -> ImageSpec:
    """Read open_clip_config.json; the model's own image size goes before the preprocessing's, as there.

    Args:
        config: parsed JSON with `preprocess_cfg` and, for the size, `model_cfg`.
        origin: file name, for the message.
    Raises: CheckpointError that names the field limner cannot honour.
    """
    fields = table(config, "preprocess_cfg", origin)
    vision = table(table(config, "model_cfg", origin), "vision_cfg", origin)
    size = side(vision.get("image_size", fields.get("size", 224)), "image_size", origin)
    crops = {"shortest": "center", "squash": "squash", "longest": "pad"}
    mode = one_of(fields, "resize_mode", "shortest", crops, origin)
    one_of(fields, "mode", "RGB", ("RGB",), origin)
    asked = fields.get("interpolation") or "bicubic"
    grey = int(number(fields, "fill_color", 0.0, origin))
    return image_spec(
        {
            "size": size,
            "mean": numbers(fields, "mean", CLIP_MEAN, origin),
            "std": numbers(fields, "std", CLIP_STD, origin),
            "resampling": "bicubic" if asked == "random" else resampling(asked, "interpolation", origin),
            "crop": crops[mode],
            "pad_colour": (grey, grey, grey) if mode == "longest" else None,
        },
        origin,
    )


def to_open_clip(spec: ImageSpec) -> dict[str, Any]:
    """Return open_clip's `preprocess_cfg`.

    Raises: CheckpointError when open_clip has no word for the filter, the crop or the colour.
    """
    if spec.resampling not in ("bicubic", "bilinear"):
        raise _cannot_write("open_clip", "resampling", spec.resampling, "bicubic or bilinear")
    if _resize_px(spec) != spec.size:
        raise _cannot_write("open_clip", "resize_px", _resize_px(spec), f"the input size, {spec.size}")
    colour = spec.pad_colour or tuple(round(255 * value) for value in spec.mean)
    if spec.crop == "pad" and len(set(colour)) > 1:
        raise _cannot_write("open_clip", "pad_colour", colour, "a grey")
    return {
        "size": [spec.size, spec.size],
        "mode": "RGB",
        "mean": list(spec.mean),
        "std": list(spec.std),
        "interpolation": spec.resampling,
        "resize_mode": {"center": "shortest", "squash": "squash", "pad": "longest"}[spec.crop],
        "fill_color": colour[0] if spec.crop == "pad" else 0,
    }


def from_hf(
    config: Mapping[str, Any], model_type: str = "", origin: str = "preprocessor_config.json"
) -> ImageSpec:
    """Read transformers' preprocessor_config.json as its own class would.

    Args:
        config: parsed JSON.
        model_type: of config.json, for old files that do not name their class.
        origin: file name, for the message.
    Raises: CheckpointError that names the field limner cannot honour.
    """
    name = _processor_name(config, model_type, origin)
    kind = _PROCESSORS[name]
    _refuse_unknown_steps(config, origin)
    resize = square_or_short(config.get("size") or kind.size, kind.square, origin)
    if name == "ConvNext":
        geometry = _convnext(config, resize, origin)
    elif config.get("do_center_crop", kind.crops):
        crop = square_or_short(config.get("crop_size") or 224, True, origin, "crop_size")
        geometry = _geometry(resize, crop, origin)
    else:
        geometry = _geometry(resize, {}, origin)
    mean, std = _hf_colour(config, kind, origin)
    return image_spec(
        {
            **geometry,
            "mean": mean,
            "std": std,
            "resampling": resampling(config.get("resample", kind.resample), "resample", origin),
            "crop_offset": "floor",
        },
        origin,
    )


def to_hf(spec: ImageSpec, processor: str = "") -> dict[str, Any]:
    """Return a preprocessor_config.json that transformers 4 and 5 open.

    Args:
        spec: what the model reads; its `crop_offset` cannot be said, transformers always rounds down.
        processor: class to name, such as "BlipImageProcessor"; chosen by the crop when empty.
    Raises: CheckpointError for padding, which these classes cannot do.
    """
    if spec.crop == "pad":
        raise _cannot_write("transformers", "crop", spec.crop, "center or squash")
    resize, cut = _resize_px(spec), spec.crop == "center" or _resize_px(spec) != spec.size
    chosen = (
        "CLIPImageProcessor"
        if spec.crop == "center"
        else "DeiTImageProcessor"
        if cut
        else "ViTImageProcessor"
    )
    written: dict[str, Any] = {
        "image_processor_type": processor or chosen,
        "do_resize": True,
        "size": {"shortest_edge": resize} if spec.crop == "center" else {"height": resize, "width": resize},
        "resample": {name: code for code, name in RESAMPLE.items()}[spec.resampling],
        "do_center_crop": cut,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
        "do_convert_rgb": True,
    }
    return {**written, "crop_size": {"height": spec.size, "width": spec.size}} if cut else written


def _processor_name(config: Mapping[str, Any], model_type: str, origin: str) -> str:
    named = config.get("image_processor_type") or config.get("feature_extractor_type")
    if named is None:
        named = _OF_MODEL.get(model_type, f"nothing, and the model is a {model_type or 'riddle'}")
    name = re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", str(named))
    if name not in _PROCESSORS:
        raise refused(
            origin, "image_processor_type", named, ", ".join(f"{key}ImageProcessor" for key in _PROCESSORS)
        )
    return name


def _refuse_unknown_steps(config: Mapping[str, Any], origin: str) -> None:
    """A step that is switched on and that limner does not know would change the pixels."""
    if not config.get("do_resize", True):
        raise refused(origin, "do_resize", False, "true")
    for field, value in config.items():
        if field.startswith("do_") and value and field not in _HARMLESS:
            raise refused(origin, field, value, "false")


def _hf_colour(
    config: Mapping[str, Any], kind: _Processor, origin: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of `unit` pixels, whatever the pixels were multiplied with before."""
    factor = number(config, "rescale_factor", 1 / 255, origin) if config.get("do_rescale", True) else 1.0
    if factor <= 0:
        raise refused(origin, "rescale_factor", factor, "above 0")
    scale = 1.0 if abs(255 * factor - 1) < 1e-6 else 255 * factor
    if not config.get("do_normalize", True):
        return (0.0,) * 3, (1 / scale,) * 3
    mean = numbers(config, "image_mean", kind.mean, origin)
    std = numbers(config, "image_std", kind.std, origin)
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def _geometry(resize: Mapping[str, int], crop: Mapping[str, int], origin: str) -> dict[str, Any]:
    """Size, crop and side to resize to, from where the picture is resized to and what is cut of it."""
    whole, squash = next(iter(resize.values())), "height" in resize
    if not crop and not squash:
        raise refused(
            origin, "do_center_crop", False, "true, because the shortest edge alone makes no square"
        )
    size = next(iter(crop.values())) if crop else whole
    if size > whole:
        raise refused(origin, "crop_size", size, f"at most the size it is cut from, {whole}")
    return {
        "size": size,
        "crop": "squash" if squash else "center",
        "resize_px": whole if whole != size else None,
    }


def _convnext(config: Mapping[str, Any], resize: Mapping[str, int], origin: str) -> dict[str, Any]:
    """ResNet and ConvNeXt: below 384 the short side goes to size / crop_pct, from 384 on nothing is cut."""
    if config.get("do_center_crop"):
        raise refused(origin, "do_center_crop", True, "false, because this class cuts by crop_pct")
    size = resize.get("shortest_edge")
    if size is None:
        raise refused(origin, "size", dict(resize), "the shortest edge")
    if size >= 384:
        return {"size": size, "crop": "squash"}
    resized = int(size / number(config, "crop_pct", 224 / 256, origin))
    return {"size": size, "crop": "center", "resize_px": resized if resized != size else None}


def _resize_px(spec: ImageSpec) -> int:
    """The side that a picture is resized to before it is cut."""
    if spec.resize_px is not None:
        return spec.resize_px
    return math.floor(spec.size / spec.crop_fraction) if spec.crop == "center" else spec.size


def _cannot_write(library: str, field: str, value: object, wanted: str) -> CheckpointError:
    return CheckpointError(f"{library} has no word for {field} {value!r}", wanted=wanted)
