"""Defaults are the paper's, wrong values are refused."""

import pytest
from pydantic import ValidationError

from limner.capfilt.settings import NOT_MEASURED, CapFiltSettings


def test_defaults_are_the_papers() -> None:
    settings = CapFiltSettings()
    assert (settings.decoding.method, settings.decoding.top_p) == ("nucleus", 0.9)
    assert (settings.threshold, settings.captions_per_picture) == (0.5, 1)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.1}, {"batch_size": 0}, {"captions_per_picture": 0}, {"tresh": 1}]
)
def test_wrong_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        CapFiltSettings.model_validate(wrong)


def test_what_is_not_measured_is_a_setting() -> None:
    assert set(CapFiltSettings.model_fields) > NOT_MEASURED
    assert CapFiltSettings.model_validate_json(CapFiltSettings().model_dump_json()) == CapFiltSettings()
