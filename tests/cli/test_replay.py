import json

import pytest

from limner.recipe.replay import Replay


@pytest.fixture
def found(monkeypatch):
    replay = Replay(6, 5, ["a", "b"], float("nan"), {"lm": float("nan")}, "vision.blocks.0", ["vision.x"])
    monkeypatch.setattr("limner.recipe.replay.replay", lambda run, batch: replay)
    return replay


def test_it_tells_what_was_found(limner, found, tmp_path):
    result = limner("replay", tmp_path)
    assert result.exit_code == 0
    for line in (
        "the batch of step 7, on the weights of step 5: loss nan",
        "first output that is not finite: vision.blocks.0",
        "gradients that are not finite: vision.x",
        "rows: a, b",
    ):
        assert line in result.stdout


def test_json(limner, found, tmp_path):
    assert json.loads(limner("replay", tmp_path, "--json").stdout)["first"] == "vision.blocks.0"


def test_a_folder_without_a_batch_is_an_error(limner, tmp_path):
    result = limner("replay", tmp_path)
    assert result.exit_code == 2
    assert "holds no batch" in result.stderr
