"""Defaults are the paper's, wrong values are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from limner.capfilt.settings import NOT_MEASURED, CapFiltSettings
from limner.models.generate import Decoding


def test_defaults_are_the_papers() -> None:
    settings = CapFiltSettings()
    assert (settings.decoding.method, settings.decoding.top_p) == ("nucleus", 0.9)
    assert (settings.threshold, settings.captions_per_picture) == (0.5, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.1},
        {"batch_size": 0},
        {"captions_per_picture": 0},
        {"merge": -1},
        {"tresh": 1},
        {"quantile": 1.0},
        {"precision": 0.9},
        {"labels": "good"},
        {"languages": ["english"]},
        {"precision": 0.9, "labels": "good", "quantile": 0.2},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CapFiltSettings.model_validate(wrong)


def test_what_is_not_measured_is_a_setting() -> None:
    assert set(CapFiltSettings.model_fields) > NOT_MEASURED
    assert CapFiltSettings.model_validate_json(CapFiltSettings().model_dump_json()) == CapFiltSettings()


def test_what_was_written_before_these_settings_came_reads_and_writes_the_same() -> None:
    assert not CapFiltSettings.LATER & set(CapFiltSettings().model_dump())
    beside = CapFiltSettings(also=Decoding(method="beam"), captions_per_picture=3)
    assert [(d.method, count) for d, count in beside.writings] == [("nucleus", 3), ("beam", 1)]
    assert (beside.texts_written, CapFiltSettings().texts_written) == (4, 1)
