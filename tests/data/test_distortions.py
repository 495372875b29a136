"""RandAugment's operations against BLIP's own outputs, and against slow loops from AugReg's definitions."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.distortions import AUGREG, BLIP, DEIT, GREY, rand_augment

GOLDEN = np.load(Path(__file__).with_name("blip_randaugment.npz"))
PICTURE = Image.fromarray(GOLDEN["image"])


class Fixed(np.random.Generator):
    """A generator whose `random` gives one value: 0.1 keeps a sign, 0.9 turns it."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._value = value

    def random(self, *_: object) -> float:
        return self._value


def made(policy, name, level, value=0.1):
    return np.asarray(policy.operations[name](PICTURE, float(level), Fixed(value))).astype(int)


@pytest.mark.parametrize(
    ("golden", "name", "value"),
    [
        ("shear_x_1", "shear_x", 0.9),
        ("shear_x_-1", "shear_x", 0.1),
        ("shear_y_1", "shear_y", 0.9),
        ("shear_y_-1", "shear_y", 0.1),
        ("translate_x_1", "translate_x", 0.1),
        ("translate_x_-1", "translate_x", 0.9),
        ("translate_y_1", "translate_y", 0.1),
        ("translate_y_-1", "translate_y", 0.9),
        ("rotate_1", "rotate", 0.1),
        ("rotate_-1", "rotate", 0.9),
        ("autocontrast", "autocontrast", 0.1),
        ("equalize", "equalize", 0.1),
        ("brightness", "brightness", 0.1),
        ("sharpness", "sharpness", 0.1),
    ],
)
def test_blip_operations_are_its_own_to_one_level(golden, name, value):
    assert np.abs(made(BLIP, name, 5, value) - GOLDEN[golden].astype(int)).max() <= 1


def nearest(back):
    """Each output pixel looked up where `back` sends it."""
    source, out = GOLDEN["image"], np.empty_like(GOLDEN["image"])
    height, width = source.shape[:2]
    for y in range(height):
        for x in range(width):
            u, v = (math.floor(place + 0.5) for place in back(x, y))
            inside = 0 <= u < width and 0 <= v < height
            out[y, x] = source[v, u] if inside else GREY
    return out.astype(int)


def test_augreg_moves_are_nearest_pixels_about_the_corner():
    sheared_x = made(AUGREG, "shear_x", 14) == nearest(lambda x, y: (x + 0.42 * y, y))
    sheared_y = made(AUGREG, "shear_y", 14, 0.9) == nearest(lambda x, y: (x, y - 0.42 * x))
    assert min(sheared_x.mean(), sheared_y.mean()) > 0.96  # one line lies half way between two pixels
    across, down = 1.5 * 100 * 38 / 224, 1.5 * 100 * 26 / 224
    assert (made(AUGREG, "translate_x", 15) == nearest(lambda x, y: (x + across, y))).all()
    assert (made(AUGREG, "translate_y", 15, 0.9) == nearest(lambda x, y: (x, y - down))).all()


def test_augreg_rotates_about_the_middle():
    height, width = GOLDEN["image"].shape[:2]
    middle_x, middle_y, angle = (width - 1) / 2, (height - 1) / 2, math.radians(30)

    def back(x, y):
        across, down = x - middle_x, y - middle_y
        return (
            middle_x + across * math.cos(angle) - down * math.sin(angle),
            middle_y + across * math.sin(angle) + down * math.cos(angle),
        )

    same = (made(AUGREG, "rotate", 10) == nearest(back)).all(axis=2)
    assert same.mean() > 0.99  # a place between two pixels may round either way


def test_augreg_colours_follow_its_definitions():
    image = GOLDEN["image"].astype(int)
    assert (made(AUGREG, "invert", 10) == 255 - image).all()
    assert (made(AUGREG, "posterize", 15) == image >> 2 << 2).all()
    assert (made(AUGREG, "posterize", 0) == 0).all()
    assert (made(AUGREG, "posterize", 20) == image).all()
    assert (made(AUGREG, "solarize", 5) == np.where(image < 128, image, 255 - image)).all()
    assert (made(AUGREG, "solarize", 15) == image).all()
    added = np.where(image < 128, np.clip(image + 110, 0, 255), image)
    assert (made(AUGREG, "solarize_add", 10) == added).all()
    grey = image.shape[0] * image.shape[1] // 256
    contrast = np.clip(grey + 1.9 * (image - grey), 0, 255).astype(int)
    assert np.abs(made(AUGREG, "contrast", 10) - contrast).max() <= 1
    assert np.abs(made(AUGREG, "brightness", 10) - np.clip(1.9 * image, 0, 255).astype(int)).max() <= 1


def test_cutout_is_a_grey_square_with_its_centre_inside():
    image = Image.new("RGB", (224, 60))
    for seed in range(20):
        holed = np.asarray(AUGREG.operations["cutout"](image, 5.0, np.random.default_rng(seed)))
        rows, columns = np.nonzero((holed == GREY).all(axis=2))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width
        assert 20 <= height <= 40
        assert 20 <= width <= 40


def test_policies_hold_what_the_papers_trained_with():
    assert len(AUGREG.operations) == 16
    assert len(BLIP.operations) == 10
    assert not {"colour", "contrast", "posterize", "solarize"} & set(BLIP.operations)


def test_chance_is_the_generators_alone():
    draws = [
        np.asarray(rand_augment(PICTURE, AUGREG, np.random.default_rng(seed), 2, 15.0)) for seed in (1, 1, 2)
    ]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()
    kept = [rand_augment(PICTURE, BLIP, Fixed(0.6), 2, 5.0) is PICTURE for _ in range(5)]
    assert all(kept)  # each drawn operation is applied with a chance of one half


TIMM = {
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing",
    "solarize_add": "SolarizeAdd",
    "colour": "ColorIncreasing",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing",
    "rotate": "Rotate",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}


@pytest.mark.peer
@pytest.mark.parametrize("level", [0.0, 4.5, 9.0, 9.9])
@pytest.mark.parametrize("name", DEIT.operations)
def test_deit_operations_are_timms(monkeypatch, name, level):
    timm = pytest.importorskip("timm.data.auto_augment")
    to_args, moves = timm.LEVEL_TO_ARG[TIMM[name]], name.startswith(("rotate", "shear", "translate"))
    picture = PICTURE.resize((3, 3)).resize((96, 96), Image.Resampling.BICUBIC) if moves else PICTURE
    theirs = []
    for value in (0.1, 0.9):  # one way, the other way
        monkeypatch.setattr(timm.random, "random", lambda value=value: value)
        args = to_args(level, {"translate_pct": 0.45}) if to_args else ()
        how = {"resample": Image.Resampling.BILINEAR, "fillcolor": GREY}
        theirs.append(np.asarray(timm.NAME_TO_OP[TIMM[name]](picture, *args, **how)).astype(int))
    for value, first in ((0.1, 0), (0.9, 1)):
        ours = np.asarray(DEIT.operations[name](picture, level, Fixed(value))).astype(int)
        ways = theirs if name.startswith(("rotate", "shear")) else [theirs[first]]  # which way is a coin's
        apart = min((np.abs(ours - way) for way in ways), key=np.mean)
        assert (np.quantile(apart, 0.9) if moves else apart.max()) <= 4 * moves, name  # half a pixel, edges


def test_a_magnitude_may_spread_and_stays_in_bounds(monkeypatch):
    drawn = []
    monkeypatch.setitem(DEIT.operations, "invert", lambda image, level, rng: drawn.append(level) or image)
    one = DEIT._replace(operations={"invert": DEIT.operations["invert"]}, probability=1.0)
    rng = np.random.default_rng(0)
    for _ in range(500):
        rand_augment(PICTURE, one, rng, 2, 9.0, 0.5)
    assert np.mean(drawn) == pytest.approx(9.0, abs=0.05)
    assert np.std(drawn) == pytest.approx(0.5, abs=0.05)
    assert max(drawn) <= 10
    drawn.clear()
    rand_augment(PICTURE, one, rng, 2, 9.0)
    assert drawn == [9.0, 9.0]
