"""Shape against surface."""

import pytest

from limner.suite.selection import Selection
from limner.suite.shape_bias import ShapeBiasTask, run


def test_every_picture_is_shape_texture_or_neither(made):
    settings = ShapeBiasTask(classes=("dog", "car", "banana"))
    found = run(made("clip"), Selection(path=""), settings)
    values = found.values()
    assert len(found.samples) == 12  # six pairs in two styles
    assert values["decisions"] == pytest.approx(12 * (values["shape"] + values["texture"]))
    assert values["shape_bias"] == pytest.approx(values["shape"] / (values["shape"] + values["texture"]))
    assert values["shape"] == pytest.approx(sum(s["named"] == s["shape"] for s in found.samples) / 12)
