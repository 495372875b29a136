import pytest
import torch

import limner
from limner.errors import ConfigError, DataError
from limner.recipe import ModelSettings, run
from limner.recipe.interpolate import interpolate, mixed


@pytest.fixture
def tuned(make_recipe, tmp_path):
    """A run that goes on from another, with a large step."""
    first = run(make_recipe("train.steps=1"), tmp_path / "first").out
    recipe = make_recipe("optim.lr=0.01", "train.steps=2")
    return run(recipe.model_copy(update={"model": ModelSettings(start=str(first))}), tmp_path / "tuned").out


def test_the_ends_are_the_two_models_and_the_middle_is_between(tuned, table, tmp_path):
    found = interpolate(tuned, [0, 0.5, 1], [table.path])
    assert [mixture.alpha for mixture in found.mixtures] == [0, 0.5, 1]
    assert "squares/i2t_r1" in found.mixtures[0].measures
    assert all(mixture.measures.keys() == found.mixtures[0].measures.keys() for mixture in found.mixtures)
    interpolate(tuned, [0.25], [table.path], tmp_path / "between")
    models = [limner.load(str(path)).bundle.model for path in (found.start, tmp_path / "between", tuned)]
    before, between, after = (model.state_dict() for model in models)
    moved = 0
    for name, tensor in between.items():
        if tensor.is_floating_point():
            expected = 0.75 * before[name] + 0.25 * after[name]
            assert torch.allclose(tensor, expected, atol=1e-6), name
            moved += not torch.equal(before[name], after[name])
    assert moved > 10
    assert "WiSE-FT" in (tmp_path / "between/README.md").read_text()


def test_ends_are_exact_and_whole_numbers_are_kept():
    before = {"w": torch.tensor([1e8, 0.1]), "n": torch.tensor(3)}
    after = {"w": torch.tensor([1.0, 0.3]), "n": torch.tensor(5)}
    assert torch.equal(mixed(before, after, 0)["w"], before["w"])
    assert torch.equal(mixed(before, after, 1)["w"], after["w"])
    assert mixed(before, after, 0.5)["n"] == 5


def test_what_cannot_be_interpolated_is_refused(tuned, make_recipe, table, tmp_path):
    with pytest.raises(ConfigError, match="0 \\(before\\) to 1"):
        interpolate(tuned, [1.5], [table.path])
    with pytest.raises(ConfigError, match="for 5 mixtures"):
        interpolate(tuned, tables=[table.path], out=tmp_path / "between")
    with pytest.raises(ConfigError, match="exists already"):
        interpolate(tuned, [0.5], [table.path], out=tmp_path)
    with pytest.raises(DataError, match="no finished run"):
        interpolate(tmp_path, [0.5], [table.path])
    with pytest.raises(ConfigError, match="fresh weights"):
        interpolate(tmp_path / "first", [0.5], [table.path])
