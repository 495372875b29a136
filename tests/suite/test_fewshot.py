"""Curves have a point a number of shots that the smallest class allows, and the star where texts are read."""

from pathlib import Path

import pytest

from limner.checkpoint import Bundle
from limner.config import build
from limner.errors import CheckpointError, ConfigError, DataError
from limner.suite.fewshot import FewShotSettings, measure
from limner.suite.selection import Selection
from limner.suite.zeroshot import ZeroShotSettings
from limner.suite.zeroshot import measure as zero_shot


def test_a_plain_encoder_has_two_curves_and_no_star(table: Path, resnet) -> None:
    found = measure(resnet(), Selection(path=str(table)), FewShotSettings(repeats=2), None)
    assert set(found.details["curves"]) == {"probe", "least_squares"}
    assert list(found.details["curves"]["probe"]) == ["1", "2", "4", "8"]
    assert next(iter(found.measures)) == "probe_8"
    assert found.values()["probe_8"] == 1.0
    assert found.values()["least_squares_8"] == 1.0
    assert "zero_shot" not in found.measures
    assert any("8 shots at most" in note for note in found.notes)


def test_the_star_is_zero_shot_and_a_strong_prior_stays_there(table: Path, blip: Bundle) -> None:
    settings = FewShotSettings(shots=(1, 2), repeats=2, c=1e-9, templates="{}")
    found = measure(blip, Selection(path=str(table)), settings, None).values()
    star = zero_shot(
        blip, Selection(path=str(table), where="split = 'test'"), ZeroShotSettings(templates="{}"), None
    )
    assert found["zero_shot"] == star.values()["top1"]
    assert found["from_text_1"] == found["from_text_2"] == found["zero_shot"]
    assert "effective_shots" in found


def test_one_repeat_has_an_interval_over_samples(table: Path, resnet) -> None:
    found = measure(resnet(), Selection(path=str(table)), FewShotSettings(repeats=1, shots=(1,)), None)
    assert found.measures["probe_1"].low is not None


def test_too_many_shots_are_refused(table: Path, resnet) -> None:
    with pytest.raises(DataError, match="8 rows to fit on"):
        measure(resnet(), Selection(path=str(table)), FewShotSettings(shots=(9,)), None)


@pytest.mark.parametrize("wrong", [{"shots": ()}, {"shots": (0, 1)}, {"methods": ()}])
def test_curves_without_a_point_are_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        build(wrong, FewShotSettings, "--set of fewshot")


def test_texts_are_asked_of_a_model_that_reads_them(table: Path, resnet) -> None:
    with pytest.raises(CheckpointError, match="reads no texts"):
        measure(resnet(), Selection(path=str(table)), FewShotSettings(methods=("from_text",)), None)
