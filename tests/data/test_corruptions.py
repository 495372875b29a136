"""Corruptions do what their definitions say, worse from level to level."""

import numpy as np
import pytest

from limner.data.corruptions import CORRUPTIONS, SEVERITIES, clouds, corrupted, disk
from limner.errors import ConfigError


def picture(side: int) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] / side
    planes = [0.3 + 0.4 * x, 0.5 + 0.3 * np.sin(20 * y), 0.6 - 0.3 * (np.sin(25 * x) > 0)]
    grain = np.random.default_rng(0).normal(0, 0.05, (side, side, 3))
    return np.rint(np.clip(np.stack(planes, -1) + grain, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_keeps_the_shape_is_seeded_and_grows(name: str, side: int) -> None:
    clean = picture(side)
    distances = []
    for severity in SEVERITIES:
        seen = corrupted(clean, name, severity, np.random.default_rng(1))
        assert seen.shape == clean.shape
        assert seen.dtype == np.uint8
        assert np.array_equal(seen, corrupted(clean, name, severity, np.random.default_rng(1)))
        distances.append(float(np.abs(seen.astype(float) - clean).mean()))
    assert distances[0] > 0.05
    assert name == "elastic" or distances[-1] > distances[0]  # its levels trade tilt for waves


def test_noise_has_the_moments_of_its_definition() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    gaussian = corrupted(grey, "gaussian_noise", 3, rng) / 255
    assert gaussian.std() == pytest.approx(0.08, rel=0.05)
    shot = corrupted(grey, "shot_noise", 3, rng) / 255
    assert shot.std() == pytest.approx(np.sqrt(128 / 255 / 100), rel=0.05)
    struck = corrupted(grey, "impulse_noise", 5, rng)
    assert np.isin(struck, (0, 255)).mean() == pytest.approx(0.07, abs=0.01)


def test_contrast_and_brightness_are_exact() -> None:
    clean = picture(32)
    flat = corrupted(clean, "contrast", 2, np.random.default_rng(0)).astype(float)
    mean = clean.mean((0, 1))
    np.testing.assert_allclose(flat, (clean - mean) * 0.5 + mean, atol=0.51)
    lighter = corrupted(clean, "brightness", 2, np.random.default_rng(0))
    grown = np.minimum(clean.max(-1) / 255 + 0.1, 1)
    np.testing.assert_allclose(lighter.max(-1) / 255, grown, atol=0.003)


def test_kernels_sum_to_one_and_clouds_fill_the_range() -> None:
    for radius, soft in ((0.3, 0.4), (1.5, 0.1), (10, 0.5)):
        assert disk(radius, soft).sum() == pytest.approx(1)
    sky = clouds(20, 30, 2.0, np.random.default_rng(0))
    assert sky.shape == (20, 30)
    assert (sky.min(), sky.max()) == (0, 1)


@pytest.mark.parametrize(("name", "severity"), [("rain", 1), ("fog", 6)])
def test_what_there_is_not_is_said(name: str, severity: int) -> None:
    with pytest.raises(ConfigError, match="corruption"):
        corrupted(picture(8), name, severity, np.random.default_rng(0))
