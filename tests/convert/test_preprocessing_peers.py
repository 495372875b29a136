"""Preprocessing parity: the same picture through limner and through each library's own code, pixel by pixel.

Where the library resizes with Pillow the difference is 0 of 255. transformers' default processors resize
uint8 tensors instead: at most 3 of 255 on these pictures. Libraries that drop alpha, ignore EXIF or resize
before they convert to RGB are given the upright RGB picture that limner's intake made; what they do to the
raw file is stated in the tests below the parity table.
"""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from limner.convert import preprocessing as prep
from limner.data.intake import open_picture
from limner.data.transforms import normalise, to_u8
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec

Transform = Callable[[Image.Image], Tensor]
HALVES = {"mean": prep.HALF, "std": prep.HALF}


def waves(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    bands = [127 + 120 * np.sin(x / 7 + k) * np.cos(y / (5 + k)) for k in range(3)]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def _with_alpha() -> Image.Image:
    image = waves(301, 200).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(waves(230, 171), "JPEG", quality=95, exif=exif)


FILES: dict[str, bytes] = {
    "rgb": encoded(waves(427, 320), "PNG"),
    "grey": encoded(waves(227, 230).convert("L"), "PNG"),
    "alpha": encoded(_with_alpha(), "PNG"),
    "cmyk": encoded(waves(200, 333).convert("CMYK"), "JPEG"),
    "exif": _rotated(),
    "one_wide": encoded(waves(1, 40), "PNG"),
    "palette": encoded(waves(150, 151).quantize(64), "GIF"),
}
VERY_LARGE = encoded(waves(500, 375).resize((4000, 3000), Image.Resampling.NEAREST), "JPEG")


@pytest.fixture(scope="module", params=sorted(FILES))
def upright(request: pytest.FixtureRequest) -> Image.Image:
    return open_picture(FILES[request.param]).image


def ours(image: Image.Image, spec: ImageSpec) -> Tensor:
    return normalise(torch.from_numpy(to_u8(image, spec)).permute(2, 0, 1)[None], spec)[0]


def levels(a: Tensor, b: Tensor, spec: ImageSpec) -> Tensor:
    """Differences in levels of 255, before mean and std."""
    return (a - b).abs() * torch.tensor(spec.std).view(3, 1, 1) * 255


def _torchvision(name: str) -> tuple[ImageSpec, Transform]:
    from torchvision.models import ResNet50_Weights, ViT_B_16_Weights

    if name == "swag":
        return prep.TORCHVISION_SWAG, ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1.transforms()
    spec = prep.TORCHVISION_V1 if name == "v1" else prep.TORCHVISION_V2
    return spec, getattr(ResNet50_Weights, f"IMAGENET1K_{name.upper()}").transforms()


def _timm(mode: str, fraction: float, size: int = 224) -> tuple[ImageSpec, Transform]:
    from timm.data import create_transform

    asked = {"interpolation": "bicubic", "crop_pct": fraction, "crop_mode": mode}
    spec = prep.from_timm({"input_size": [3, size, size], **HALVES, **asked})
    return spec, create_transform((3, size, size), **HALVES, **asked)


def _open_clip(mode: str, interpolation: str) -> tuple[ImageSpec, Transform]:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    asked = {"resize_mode": mode, "interpolation": interpolation, "fill_color": 30}
    spec = prep.from_open_clip({"preprocess_cfg": asked, "model_cfg": {"vision_cfg": {"image_size": 240}}})
    return spec, image_transform_v2(PreprocessCfg(size=240, **asked), is_train=False)


def _hf(processor: Any) -> tuple[ImageSpec, Transform]:
    spec = prep.from_hf(json.loads(processor.to_json_string()))
    return spec, lambda image: processor(image, return_tensors="pt")["pixel_values"][0]


def _hf_pil(module: str, name: str, **options: Any) -> tuple[ImageSpec, Transform]:
    found = __import__(f"transformers.models.{module}.image_processing_pil_{module}", fromlist=[name])
    return _hf(getattr(found, f"{name}ImageProcessorPil")(**options))


def _hf_default(name: str, **options: Any) -> tuple[ImageSpec, Transform]:
    import transformers

    return _hf(getattr(transformers, f"{name}ImageProcessor")(**options))


RESNET = {"size": {"shortest_edge": 224}, "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
EXACT: dict[str, Callable[[], tuple[ImageSpec, Transform]]] = {
    "torchvision V1": lambda: _torchvision("v1"),
    "torchvision V2": lambda: _torchvision("v2"),
    "torchvision SWAG": lambda: _torchvision("swag"),
    "timm center": lambda: _timm("center", 0.9),
    "timm center odd": lambda: _timm("center", 0.95, 192),
    "timm squash": lambda: _timm("squash", 1.0),
    "timm squash crop": lambda: _timm("squash", 0.9),
    "timm border": lambda: _timm("border", 1.0),
    "timm border crop": lambda: _timm("border", 0.8),
    "open_clip shortest": lambda: _open_clip("shortest", "bicubic"),
    "open_clip squash": lambda: _open_clip("squash", "bilinear"),
    "open_clip longest": lambda: _open_clip("longest", "bicubic"),
    "ViT": lambda: _hf_pil("vit", "ViT"),
    "ViT lanczos": lambda: _hf_pil("vit", "ViT", resample=1, size={"height": 48, "width": 48}),
    "DeiT": lambda: _hf_pil("deit", "DeiT"),
    "CLIP": lambda: _hf_pil("clip", "CLIP"),
    "CLIP crop": lambda: _hf_pil("clip", "CLIP", size={"shortest_edge": 251}),
    "BLIP": lambda: _hf_pil("blip", "Blip"),
    "ResNet": lambda: _hf_pil("convnext", "ConvNext", **RESNET),
    "ResNet 384": lambda: _hf_pil("convnext", "ConvNext"),
}
TENSOR = {
    "ViT": lambda: _hf_default("ViT"),
    "DeiT": lambda: _hf_default("DeiT"),
    "CLIP": lambda: _hf_default("CLIP"),
    "BLIP": lambda: _hf_default("Blip"),
    "ResNet": lambda: _hf_default("ConvNext", **RESNET),
}


@pytest.mark.peer
@pytest.mark.parametrize("peer", EXACT)
def test_pixels_equal_the_peers(peer: str, upright: Image.Image) -> None:
    spec, transform = EXACT[peer]()
    assert levels(ours(upright, spec), transform(upright), spec).max() < 1e-3


@pytest.mark.peer
def test_very_large_pictures_too() -> None:
    image = open_picture(VERY_LARGE).image
    assert image.size == (4000, 3000)
    for peer in ("torchvision V2", "timm squash crop", "open_clip longest", "CLIP"):
        spec, transform = EXACT[peer]()
        assert levels(ours(image, spec), transform(image), spec).max() < 1e-3


@pytest.mark.peer
@pytest.mark.parametrize("peer", TENSOR)
def test_processors_that_resize_tensors_differ_by_three_levels_at_most(
    peer: str, upright: Image.Image
) -> None:
    spec, transform = TENSOR[peer]()
    apart = levels(ours(upright, spec), transform(upright), spec)
    assert apart.max() < 3.001
    assert apart.mean() < 0.2


@pytest.mark.peer
def test_how_far_tensor_resizing_goes() -> None:
    """Trap 34: uint8 with antialias within 1, float with antialias within 3, without antialias far off."""
    from torchvision.transforms.v2 import functional as tv

    noise = np.random.default_rng(0).integers(0, 256, (320, 427, 3), dtype=np.uint8)

    def apart(image: Image.Image, dtype: torch.dtype, antialias: bool) -> float:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(dtype)
        bicubic = tv.InterpolationMode.BICUBIC
        resized = tv.resize(pixels, [224, 224], interpolation=bicubic, antialias=antialias)
        expected = torch.from_numpy(to_u8(image, ImageSpec(size=224))).permute(2, 0, 1)
        return float((resized.float().clamp(0, 255) - expected).abs().max())

    smooth = open_picture(FILES["rgb"]).image
    assert apart(smooth, torch.uint8, True) <= 1
    assert apart(smooth, torch.float32, True) <= 3
    assert apart(Image.fromarray(noise), torch.uint8, True) <= 1
    assert apart(Image.fromarray(noise), torch.float32, False) > 100


@pytest.mark.parametrize("crop", ["squash", "center", "pad"])
@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (1, 1), (3, 5000)])
def test_thin_pictures_are_prepared(size: tuple[int, int], crop: str) -> None:
    image = open_picture(Image.new("RGB", size, (200, 100, 50))).image
    pixels = to_u8(image, ImageSpec(size=224, crop=crop))
    assert pixels.shape == (224, 224, 3)
    assert tuple(pixels[111, 111]) == (200, 100, 50)


@pytest.mark.peer
@pytest.mark.parametrize("peer", ["timm border", "open_clip longest"])
def test_peers_that_pad_fail_on_a_line(peer: str) -> None:
    """Their short side rounds to no pixel at all; ours is at least one."""
    with pytest.raises(ValueError, match="must be > 0"):
        EXACT[peer]()[1](Image.new("RGB", (1, 2000)))


def test_the_intake_makes_upright_rgb() -> None:
    """Against Pillow's own steps: turned by EXIF, laid on white, converted; one level where alpha rounds."""
    for name, data in FILES.items():
        by_hand = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if name == "alpha":
            by_hand = Image.alpha_composite(Image.new("RGBA", by_hand.size, "white"), by_hand)
        a, b = (np.asarray(i, dtype=int) for i in (open_picture(data).image, by_hand.convert("RGB")))
        assert np.abs(a - b).max() <= (1 if name == "alpha" else 0), name


@pytest.mark.peer
def test_alpha_is_laid_on_white_where_some_peers_show_what_is_hidden() -> None:
    """open_clip drops alpha, so hidden red shows; transformers' do_convert_rgb lays on white, as limner."""
    hidden = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    white = open_picture(encoded(hidden, "PNG")).image
    spec, open_clip = EXACT["open_clip shortest"]()
    assert levels(ours(white, spec), open_clip(hidden), spec).max() > 254
    assert levels(ours(white, spec), open_clip(white), spec).max() < 1e-3
    spec, transformers = EXACT["CLIP"]()
    assert levels(ours(white, spec), transformers(hidden), spec).max() < 1e-3


@pytest.mark.peer
def test_exif_is_ignored_by_the_peers() -> None:
    raw, turned = Image.open(io.BytesIO(FILES["exif"])), open_picture(FILES["exif"]).image
    assert raw.size == turned.size[::-1]
    spec, transform = EXACT["open_clip squash"]()
    assert levels(ours(turned, spec), transform(raw), spec).max() > 50


@pytest.mark.peer
@pytest.mark.parametrize("name", ["cmyk", "palette"])
def test_open_clip_resizes_before_it_converts(name: str) -> None:
    """So its pixels of CMYK and palette files are its own; given the RGB picture they are ours."""
    spec, transform = EXACT["open_clip squash"]()
    raw = Image.open(io.BytesIO(FILES[name]))
    assert levels(ours(open_picture(FILES[name]).image, spec), transform(raw), spec).max() > 0.9


@pytest.mark.peer
@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_transformers_vit_reads_rgb_only(mode: str) -> None:
    with pytest.raises(ValueError, match="mean must have"):
        EXACT["ViT"]()[1](waves(30, 40).convert(mode))
