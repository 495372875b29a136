"""Cue conflicts have the outline of one and the colours of another."""

import numpy as np

from limner.data.cue_conflicts import CLASSES, conflict, conflicts


def test_the_outline_is_the_shapes_whatever_fills_it() -> None:
    first, second = conflict("banana", "car"), conflict("banana", "apple")
    outside = [(one.image == 255).all(-1) for one in (first, second)]
    assert np.mean(outside[0] == outside[1]) > 0.97
    assert not np.array_equal(first.image, second.image)
    other = (conflict("bicycle", "car").image == 255).all(-1)
    assert np.mean(outside[0] == other) < 0.9


def test_every_outline_meets_every_other_surface() -> None:
    found = conflicts(CLASSES[:4], side=48)
    assert len({one.key for one in found}) == len(found) == 12
    assert all(one.shape != one.texture for one in found)
    assert found[0].image.shape == (48, 48, 3)
