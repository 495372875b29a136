import colorsys
from random import Random

import numpy as np
import pytest

from limner.data.scene_drawing import REGIONS, Placement, Plan, draw, shade
from limner.data.scene_language import GROUNDS, Scenery, Thing

BOX = (20, 30, 84, 94)


def _plan(*, angle: float = 0.0, mirrored: bool = False, jitter: bool = False) -> Plan:
    placement = Placement("🐕", BOX, 64 / 92, angle, mirrored)
    truth = Scenery((Thing("dog", "", BOX),), "blue")
    return Plan("scene-0-0", truth, "twemoji", 0, (placement,), (60, 110, 220), 128, jitter)


def _pixels(plan: Plan, seed: int = 0) -> np.ndarray:
    return np.asarray(draw(plan, Random(seed)), dtype=np.int64)


def test_every_ground_has_a_region_and_its_shades_lie_in_it():
    assert REGIONS.keys() == {*GROUNDS}
    rng = Random(0)
    for name, (hues, saturations, values) in REGIONS.items():
        for _ in range(50):
            red, green, blue = shade(rng, name)
            hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
            assert values[0] - 0.01 <= value <= values[1] + 0.01
            assert saturations[0] - 0.05 <= saturation <= saturations[1] + 0.05
            middle = sum(hues) / 2
            if name not in ("white", "grey", "black"):
                assert abs((hue * 360 - middle + 180) % 360 - 180) <= (hues[1] - hues[0]) / 2 + 2


def test_without_jitter_only_the_box_differs_from_the_ground():
    pixels = _pixels(_plan())
    drawn = (pixels != (60, 110, 220)).any(axis=-1)
    assert drawn[30:94, 20:84].mean() > 0.3
    drawn[30:94, 20:84] = False
    assert not drawn.any()


def test_a_mirrored_sprite_is_the_mirror_image():
    inside = np.s_[30:94, 20:84]
    plain, mirrored = _pixels(_plan())[inside], _pixels(_plan(mirrored=True))[inside]
    assert np.abs(plain[:, ::-1] - mirrored).mean() < 3
    assert np.abs(plain - mirrored).mean() > 20


def test_a_turned_sprite_has_as_much_drawn_and_stands_aslant():
    plain, turned = _pixels(_plan()), _pixels(_plan(angle=0.2))
    area = [(pixels != (60, 110, 220)).any(axis=-1).sum() for pixels in (plain, turned)]
    assert area[0] == pytest.approx(area[1], rel=0.08)
    assert np.abs(plain - turned).mean() > 1


def test_jitter_is_seeded_and_varies():
    assert np.array_equal(_pixels(_plan(jitter=True), 5), _pixels(_plan(jitter=True), 5))
    different = {_pixels(_plan(jitter=True), seed).tobytes() for seed in range(20)}
    assert len(different) == 20


def test_jitter_keeps_the_ground_near_its_name():
    for seed in range(60):
        pixels = _pixels(_plan(jitter=True), seed)
        red, green, blue = pixels[100:, 90:].reshape(-1, 3).mean(axis=0)
        assert blue > green > red
        assert blue - red > 40
