"""Pixels as the spec says: against Pillow by hand, and against torchvision and timm."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from limner.data.transforms import augment, multi_scale, normalise, ten_crop, to_u8
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec


def picture(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(x / 7 + k) * np.cos(y / (5 + k)) for k in range(3)]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def test_squash_is_pillows_resize() -> None:
    image = picture(90, 50)
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(to_u8(image, ImageSpec(size=32)), expected)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    image = picture(32, 32)
    for crop in ("squash", "center", "pad"):
        pixels = to_u8(image, ImageSpec(size=32, crop=crop))
        assert np.array_equal(pixels, np.asarray(image))
        assert pixels.flags.writeable
        assert pixels.flags.c_contiguous


def test_center_keeps_the_middle() -> None:
    pixels = np.zeros((40, 100, 3), dtype=np.uint8)
    pixels[:, 30:70] = 255
    assert to_u8(Image.fromarray(pixels), ImageSpec(size=40, crop="center")).min() == 255


def test_pad_keeps_the_whole_picture_on_the_mean_colour() -> None:
    spec = ImageSpec(size=40, crop="pad", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    pixels = to_u8(Image.new("RGB", (100, 50), (255, 0, 0)), spec)
    assert np.array_equal(pixels[20, 20], (255, 0, 0))
    border = normalise(torch.from_numpy(pixels[:1, :1]).permute(2, 0, 1)[None], spec)
    assert border.abs().max() < 0.01
    assert (pixels[:10] == pixels[0, 0]).all()
    assert (pixels[10:30] == (255, 0, 0)).all()


@pytest.mark.parametrize("width", [1, 2000])
def test_extreme_aspects_survive(width: int) -> None:
    for crop in ("squash", "center", "pad"):
        assert to_u8(picture(width, 3), ImageSpec(size=16, crop=crop)).shape == (16, 16, 3)


def test_resize_px_is_the_side_before_the_middle_is_cut() -> None:
    image = picture(90, 70)
    resized = image.resize((51, 40), Image.Resampling.BICUBIC)
    spec = ImageSpec(size=32, crop="center", resize_px=40)
    assert np.array_equal(to_u8(image, spec), np.asarray(resized)[4:36, 10:42])
    squashed = np.asarray(image.resize((40, 40), Image.Resampling.BICUBIC))
    assert np.array_equal(to_u8(image, ImageSpec(size=32, resize_px=40)), squashed[4:36, 4:36])


def test_pad_with_a_longer_side_cuts_it_and_pads_the_other() -> None:
    spec = ImageSpec(size=32, crop="pad", resize_px=40, pad_colour=(1, 2, 3))
    pixels = to_u8(Image.new("RGB", (80, 20), (200, 200, 200)), spec)
    assert (pixels[:11] == (1, 2, 3)).all()
    assert (pixels[11:21] == 200).all()
    assert (pixels[21:] == (1, 2, 3)).all()


def test_where_the_middle_of_an_odd_margin_begins() -> None:
    image = picture(35, 32)
    for offset, left in (("round", 2), ("floor", 1)):
        spec = ImageSpec(size=32, crop="center", crop_offset=offset)
        assert np.array_equal(to_u8(image, spec), np.asarray(image)[:, left : left + 32])


def test_a_thin_picture_is_cut_while_it_is_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole would take gigabytes; only the rounding between two passes differs from cutting it after."""
    spec = ImageSpec(size=32, crop="center", resampling="bilinear", crop_fraction=0.9)
    for size in [(40, 900), (900, 40)]:
        whole = to_u8(picture(*size), spec).astype(int)
        monkeypatch.setattr("limner.data.transforms._MOST_PIXELS", 0)
        assert np.abs(to_u8(picture(*size), spec).astype(int) - whole).max() <= 2
        monkeypatch.undo()
    line = to_u8(Image.new("RGB", (1, 2_000_000), (9, 8, 7)), ImageSpec(size=224, crop="center"))
    assert (line == (9, 8, 7)).all()


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(90, 57), (57, 90), (64, 64), (33, 200)])
@pytest.mark.parametrize("fraction", [1.0, 0.875])
def test_center_equals_timm(size: tuple[int, int], fraction: float) -> None:
    from timm.data import create_transform

    spec = ImageSpec(size=32, crop="center", crop_fraction=fraction, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    peer = create_transform(
        (3, 32, 32), interpolation="bicubic", crop_pct=fraction, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    ours = normalise(torch.from_numpy(to_u8(picture(*size), spec)).permute(2, 0, 1)[None], spec)[0]
    torch.testing.assert_close(ours, peer(picture(*size)), atol=2e-6, rtol=0)


@pytest.mark.peer
def test_center_equals_torchvision() -> None:
    from torchvision.transforms import v2

    peer = v2.Compose([v2.Resize(40, v2.InterpolationMode.BILINEAR), v2.CenterCrop(32), v2.PILToTensor()])
    spec = ImageSpec(size=32, crop="center", crop_fraction=0.8, resampling="bilinear")
    for size in [(101, 70), (70, 101), (41, 43)]:
        ours = torch.from_numpy(to_u8(picture(*size), spec)).permute(2, 0, 1)
        assert torch.equal(ours, peer(picture(*size)))


def test_normalise_is_the_formula() -> None:
    spec = ImageSpec(size=8, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    images = torch.randint(
        0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (spec.mean, spec.std))
    expected = (images.double() / 255 - mean) / std
    torch.testing.assert_close(normalise(images, spec).double(), expected, atol=2e-6, rtol=0)


def test_augment_is_seeded_and_light() -> None:
    image = np.asarray(picture(64, 64))
    before = image.copy()
    one, same, other = (augment(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(image, before)
    assert one.shape == image.shape
    assert one.dtype == np.uint8


def test_augment_with_no_strength_and_no_shift_changes_nothing() -> None:
    image = np.asarray(picture(20, 30))
    assert np.array_equal(augment(image, np.random.default_rng(0), strength=0.0, shift=0.0), image)


def test_augment_never_mirrors() -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    for seed in range(50):
        moved = augment(ramp, np.random.default_rng(seed)).astype(int)
        assert moved[32, 60, 0] > moved[32, 4, 0]


@pytest.mark.peer
def test_ten_crops_are_torchvisions_of_the_rectangle():
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (30, 50, 3)).astype(np.uint8))
    spec = ImageSpec(size=14, resize_px=16, resampling="bilinear", crop="center")
    whole = tv.resize(image, [16], InterpolationMode.BILINEAR)
    theirs = [np.asarray(crop) for crop in tv.ten_crop(whole, [14, 14])]
    assert (ten_crop(image, spec) == np.stack(theirs)).all()


def test_ten_crops_of_300_by_500_stand_in_the_corners_of_the_rectangle():
    """Short side 256: the rectangle is 426 wide, and the right corner begins at 202."""
    ramp = np.repeat(np.linspace(0, 255, 500).astype(np.uint8)[None, :, None], 300, 0).repeat(3, 2)
    crops = ten_crop(Image.fromarray(ramp), ImageSpec(size=224)).astype(int)
    assert crops.shape == (10, 224, 224, 3)
    assert abs(crops[1, 0, 0, 0] - 255 * 202 / 426) <= 2
    assert abs(crops[4, 0, 0, 0] - 255 * 101 / 426) <= 2
    assert (crops[5:] != crops[:5]).any()
    assert (crops[9] == crops[4][:, ::-1]).mean() > 0.9


def test_multi_scale_keeps_the_aspect():
    image = Image.new("RGB", (300, 200))
    shapes = [a.shape for a in multi_scale(image, ImageSpec(size=224), (100, 200, 400))]
    assert shapes == [(100, 150, 3), (200, 300, 3), (400, 600, 3)]
