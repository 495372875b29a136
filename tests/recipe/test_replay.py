import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner.checkpoint.files import sha256
from limner.errors import DataError
from limner.recipe import run
from limner.recipe.replay import kept_batches, replay
from limner.train.alarms import keep_batch
from limner.train.run import Run


@pytest.fixture
def finished(make_recipe, tmp_path, monkeypatch):
    """A run that has kept the batch of its second step, though nothing was wrong with it."""
    advance = Run.advance

    def keeping(self, batch):
        if self.step == 1:
            keep_batch(self.out / "failed", self.step, batch)
        return advance(self, batch)

    monkeypatch.setattr(Run, "advance", keeping)
    return run(make_recipe("train.checkpoint_every=1", "train.keep=5"), tmp_path / "run").out


def test_a_batch_that_was_good_is_good_again(finished):
    found = replay(finished)
    assert (found.step, found.checkpoint, found.first, found.gradients) == (1, 1, "", [])
    assert len(found.keys) == 4
    assert found.terms.keys() == {"itc", "itm", "lm", "qa"}
    assert found.loss == pytest.approx(sum(found.terms.values()))


def test_the_first_module_and_the_gradients_are_named(finished):
    """Weights that are not finite in one block of the text encoder."""
    folder = finished / "checkpoints" / "step-0000001"
    weights = load_file(folder / "model.safetensors")
    weights["text_encoder.mlp.0.fc1.weight"][0, 0] = torch.nan
    save_file(weights, folder / "model.safetensors")
    state = json.loads((folder / "state.json").read_text())
    state["sha256"]["model.safetensors"] = sha256(folder / "model.safetensors")
    (folder / "state.json").write_text(json.dumps(state))
    found = replay(finished, kept_batches(finished)[0])
    assert found.first == "text_encoder.mlp.0.fc1"
    assert "text_encoder.mlp.0.fc1.weight" in found.gradients
    assert math.isnan(found.loss)


def test_replaying_leaves_the_run_as_it_is(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    replay(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_run_without_such_a_batch_is_refused(make_recipe, tmp_path):
    out = run(make_recipe("train.steps=1"), tmp_path / "run").out
    with pytest.raises(DataError, match="holds no batch"):
        replay(out)
