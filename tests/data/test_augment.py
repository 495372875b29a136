"""Recipes of augmentation against torchvision, their own papers' numbers and plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from limner.data import transforms
from limner.data.augment import MIXUP, RECIPES, drawn_box, erased, lit, recipe, square_of
from limner.errors import ConfigError
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=32)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth noise: colours change as in a photograph."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


class Draws(np.random.Generator):
    """A generator that returns given integers."""

    def __init__(self, *values: int) -> None:
        super().__init__(np.random.PCG64(0))
        self._values = list(values)

    def integers(self, *_: object) -> int:
        return self._values.pop(0)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("size", [(32, 32), (90, 61), (33, 200), (7, 5)])
def test_every_recipe_gives_the_square_and_repeats_itself(name, size):
    image = photo(*size)
    first, again, other = (recipe(name)(image, SPEC, np.random.default_rng([7, seed])) for seed in (1, 1, 2))
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8
    assert first.flags.writeable
    assert (first == again).all()
    if name not in ("none", "clip", "cifar"):
        many = [recipe(name)(photo(90, 61), SPEC, np.random.default_rng(seed)) for seed in range(12)]
        assert any((many[0] != one).any() for one in many[1:])
    assert other.shape == first.shape


def test_none_is_what_evaluation_sees():
    image = photo(90, 61)
    assert (recipe("none")(image, SPEC, np.random.default_rng(0)) == transforms.to_u8(image, SPEC)).all()


@pytest.mark.peer
def test_boxes_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    peer = v2.RandomResizedCrop(32, scale=(0.08, 1), ratio=(3 / 4, 4 / 3))
    image = photo(90, 61)
    theirs = [peer.make_params([image]) for _ in range(1500)]
    rng = np.random.default_rng(0)
    ours = [drawn_box(90, 61, rng, (0.08, 1.0)) for _ in range(1500)]
    pairs = [
        ([b[2] - b[0] for b in ours], [p["width"] for p in theirs]),
        ([b[3] - b[1] for b in ours], [p["height"] for p in theirs]),
        ([b[0] for b in ours], [p["left"] for p in theirs]),
        ([b[1] for b in ours], [p["top"] for p in theirs]),
    ]
    for mine, peers in pairs:
        assert ks_2samp(mine, peers).pvalue > 0.01
    assert all(0 <= b[0] < b[2] <= 90 and 0 <= b[1] < b[3] <= 61 for b in ours)


def test_a_long_picture_falls_back_to_its_middle():
    assert drawn_box(1000, 10, np.random.default_rng(0), (0.9, 1.0)) == (493, 0, 506, 10)


@pytest.mark.peer
@pytest.mark.parametrize("resampling", ["bilinear", "bicubic"])
def test_an_inception_crop_is_torchvisions_for_the_same_box(resampling):
    spec, image = ImageSpec(size=32, resampling=resampling), photo(90, 61)
    for seed in range(5):
        left, top, right, bottom = drawn_box(90, 61, np.random.default_rng(seed), (0.9, 1.0))
        ours = recipe("open_clip")(image, spec, np.random.default_rng(seed))
        theirs = tv.resized_crop(
            image, top, left, bottom - top, right - left, [32, 32], InterpolationMode(resampling)
        )
        assert (ours == np.asarray(theirs)).all()


@pytest.mark.peer
@pytest.mark.parametrize("size", [(90, 61), (61, 90), (333, 250)])
def test_a_clip_square_is_torchvisions_resize_and_crop(size):
    image = photo(*size)
    whole = tv.resize(image, [32], InterpolationMode.BICUBIC)
    for left, top in ((0, 0), (whole.width - 32, whole.height - 32), ((whole.width - 32) // 2, 0)):
        ours = np.asarray(square_of(image, SPEC, Draws(left, top), 32)).astype(int)
        theirs = np.asarray(tv.crop(whole, top, left, 32, 32)).astype(int)
        assert np.abs(ours - theirs).max() <= 1


def test_scale_jitter_spans_the_papers_range():
    """A white line of one pixel in 480 shows at which scale the square was cut."""
    lengths = []
    spec = ImageSpec(size=224)
    ramp = Image.fromarray(
        np.repeat(np.linspace(0, 255, 960).astype(np.uint8)[None, :, None], 960, 0).repeat(3, 2)
    )
    for seed in range(60):
        row = recipe("resnet").crop(ramp, spec, np.random.default_rng(seed))
        values = np.asarray(row)[100, :, 0].astype(float)
        lengths.append(224 * 255 / (values[-1] - values[0]))
    assert 250 < min(lengths) < 280
    assert 450 < max(lengths) < 490


def test_cifar_pads_four_black_pixels():
    image = Image.new("RGB", (32, 32), (255, 255, 255))
    crop = RECIPES["cifar"].crop
    assert (np.asarray(crop(image, SPEC, Draws(4, 4))) == 255).all()
    corner = np.asarray(crop(image, SPEC, Draws(0, 8)))
    assert (corner[:, :4] == 0).all()
    assert (corner[-4:] == 0).all()
    assert (corner[:-4, 4:] == 255).all()


def test_mirror_is_a_fair_coin():
    image = Image.fromarray(np.repeat(np.arange(32, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2))
    mirrored = []
    for seed in range(400):
        pixels = recipe("vit_finetune")(image, SPEC, np.random.default_rng(seed)).astype(int)
        mirrored.append(pixels[16, -1, 0] < pixels[16, 0, 0])
    assert 150 < sum(mirrored) < 250


def test_lighting_moves_along_the_components():
    pixels = np.full((2, 2, 3), 100, np.uint8)
    shift = lit(pixels, np.array([1.0, 0.0, 0.0])).astype(int)[0, 0] - 100
    assert shift.tolist() == [-31, -32, -32]  # 255 * .2175 * (-.5675, -.5808, -.5836)
    assert (lit(pixels, np.zeros(3)) == pixels).all()
    assert lit(np.full((1, 1, 3), 250, np.uint8), np.array([-9.0, 0, 0])).max() == 255


def test_augreg_strengths_are_figure_4():
    magnitudes = {name: RECIPES[f"augreg_{name}"].magnitude for name in ("light2", "medium1", "strong2")}
    assert magnitudes == {"light2": 10, "medium1": 15, "strong2": 20}
    assert [MIXUP[f"augreg_{name}"] for name in ("light1", "medium2", "strong2")] == [0.0, 0.5, 0.8]


def test_no_recipe_asks_for_a_picture_smaller_than_its_crop():
    for name, one in RECIPES.items():
        side = one.decode_px(ImageSpec(size=224))
        assert side is None or side >= 448, name


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="blip_pretrain"):
        recipe("blip_pretain")


def test_erasing_is_noise_of_the_normalised_scale_in_a_rectangle():
    spec = ImageSpec(size=64, mean=(0.5, 0.4, 0.6), std=(0.1, 0.2, 0.1))
    white = np.full((64, 64, 3), 255, np.uint8)
    shares, levels = [], []
    for seed in range(200):
        out = erased(white, spec, np.random.default_rng(seed))
        changed = (out != white).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        inside = out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shares.append(inside.shape[0] * inside.shape[1] / 64**2)
        levels.append(inside.reshape(-1, 3))
    assert min(shares) > 0.015
    assert max(shares) < 0.35
    found = np.concatenate(levels) / 255
    np.testing.assert_allclose(found.mean(axis=0), spec.mean, atol=0.01)
    np.testing.assert_allclose(found.std(axis=0), spec.std, atol=0.01)
    assert (white == 255).all()


def test_deit_erases_a_quarter(monkeypatch):
    monkeypatch.setattr("limner.data.augment.erased", lambda pixels, spec, rng: pixels * 0)
    grey = Image.new("RGB", (32, 32), (90, 90, 90))
    never = replace(RECIPES["deit"], policy=None)
    black = [not never(grey, ImageSpec(size=16), np.random.default_rng(seed)).any() for seed in range(400)]
    assert np.mean(black) == pytest.approx(0.25, abs=0.06)
