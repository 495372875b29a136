"""Exact truth as a task."""

import numpy as np
import pytest

from limner.checkpoint import load
from limner.data.scene_language import is_exact
from limner.data.scenes import SceneSettings, scene
from limner.suite.scenes import ScenesSettings, measure
from limner.suite.selection import Selection


def test_measures_are_shares_of_what_is_true() -> None:
    settings = ScenesSettings(seed=4, count=9, styles=("openmoji",), candidates=3)
    found = measure(load(), Selection(path="scenes", count=8), settings, None)
    captions = [s for s in found.samples if "caption" in s]
    family = SceneSettings(seed=4, styles=("openmoji",))
    truths = [scene(family, settings.start + i).truth for i in range(8)]
    exact = [is_exact(s["caption"], truth) for s, truth in zip(captions, truths, strict=True)]
    assert found.measures["exact"].value == np.mean(exact) == found.measures["openmoji/exact"].value
    asked = [s for s in found.samples if "question" in s]
    assert found.measures["answers"].value == pytest.approx(np.mean([s["right"] for s in asked]))
    counted = [s["right"] for s in asked if s["question"].startswith("how many")]
    assert found.measures["counting"].value == pytest.approx(np.mean(counted))
    for name in ("exact", "nouns", "cider_d", "answers", "counting", "auroc", "i2t_r1", "t2i_r1"):
        number = found.measures[name]
        assert number.low <= number.value <= number.high, name
    assert len({s["key"] for s in found.samples}) == len(found.samples)
    assert found.measures["auroc"].value > 0.5
