import json
from pathlib import Path

import pytest

from limner.recipe.interpolate import Interpolation, Mixture


@pytest.fixture
def found(monkeypatch):
    mixtures = [Mixture(0.0, {"t/i2t_r1": 0.25}), Mixture(1.0, {"t/i2t_r1": 0.5})]
    result = Interpolation(Path("run"), "limner_tiny", mixtures, None)
    monkeypatch.setattr("limner.recipe.interpolate.interpolate", lambda *given: result)


def test_one_column_a_mixture(limner, found, tmp_path):
    result = limner("interpolate", tmp_path)
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["alpha", "0", "1"],
        ["t/i2t_r1", "0.2500", "0.5000"],
    ]


def test_json(limner, found, tmp_path):
    told = json.loads(limner("interpolate", tmp_path, "--json").stdout)
    assert [mixture["alpha"] for mixture in told["mixtures"]] == [0, 1]


def test_a_folder_without_a_run_is_an_error(limner, tmp_path):
    result = limner("interpolate", tmp_path)
    assert result.exit_code == 2
    assert "holds no finished run" in result.stderr
