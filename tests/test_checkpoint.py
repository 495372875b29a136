import json
import shutil

import pytest
import torch
from torch import nn

from limner import checkpoint
from limner.checkpoint import (
    TrainState,
    atomic_folder,
    drop_train_states,
    load,
    load_train_state,
    load_weights,
    newest_train_state,
    save_bundle,
    save_train_state,
    stored_weights,
    train_state_folders,
)
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.models import MODELS
from limner.models.blip import BLIP
from limner.shapes import ImageSpec

TEXTS = ["a red owl", "two fish"]


@pytest.fixture(scope="module")
def small():
    """A BLIP of the size of nothing much, with its config."""
    values = MODELS["limner_tiny"].config.model_dump()
    sizes = {"width": 16, "depth": 1, "num_heads": 2, "mlp_dim": 32}
    values["vision"] |= sizes | {"stem": (8,), "image_size": 16}
    values["text"] |= sizes | {"vocab_size": 160, "memory_width": 16, "max_positions": 16}
    config = type(MODELS["limner_tiny"].config).model_validate(values)
    torch.manual_seed(0)
    return BLIP(config), config


@pytest.fixture
def saved(small, tmp_path):
    model, config = small
    tokenizer = WordPiece.from_texts(TEXTS, 160)
    recipe = {"train": {"steps": 3}}
    parts = (tmp_path / "run" / "model", model, "limner_tiny", config, ImageSpec(size=16), tokenizer)
    return save_bundle(*parts, recipe=recipe, card="# owl")


def test_a_bundle_comes_back_bit_equal(small, saved):
    model, config = small
    bundle = load(saved)
    for name, weight in model.state_dict().items():
        assert torch.equal(bundle.model.state_dict()[name], weight), name
    assert not bundle.model.training
    assert bundle.model.config == config
    assert bundle.name == "limner_tiny"
    assert bundle.image_spec == ImageSpec(size=16)
    assert bundle.tokenizer.encode("two fish") == WordPiece.from_texts(TEXTS, 160).encode("two fish")
    assert bundle.recipe == {"train": {"steps": 3}}
    assert bundle.path == saved
    assert len(bundle.digest) == 12
    names = {path.name for path in saved.iterdir()}
    assert names == {"model.safetensors", "config.json", "tokenizer.json", "README.md"}


def test_a_run_folder_is_as_good_as_its_model(saved):
    assert load(saved.parent).digest == load(str(saved)).digest


def test_the_digest_follows_the_weights(small, saved, tmp_path):
    model, config = small
    again = save_bundle(tmp_path / "again", model, "limner_tiny", config, ImageSpec(size=16))
    assert load(again).digest == load(saved).digest
    assert load(again).tokenizer is None
    half = save_bundle(tmp_path / "half", model, "limner_tiny", config, ImageSpec(size=16), dtype="fp16")
    assert load(half).digest != load(saved).digest


def test_half_precision_storage_widens_on_load(small, saved, tmp_path):
    model, config = small
    half = save_bundle(tmp_path / "half", model, "limner_tiny", config, ImageSpec(size=16), dtype="fp16")
    assert (half / "model.safetensors").stat().st_size < 0.62 * (saved / "model.safetensors").stat().st_size
    for name, weight in load(half).model.state_dict().items():
        expected = model.state_dict()[name]
        assert weight.dtype == expected.dtype
        torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-6)


def test_the_packaged_model_is_found_by_name(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "ASSETS", tmp_path / "assets")
    with pytest.raises(CheckpointError, match="'limner_tiny' does not exist"):
        load()
    shutil.copytree(saved, tmp_path / "assets" / "limner_tiny")
    assert load().path == tmp_path / "assets" / "limner_tiny"
    assert load("limner_tiny").digest == load(saved).digest


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.other = self.one
        self.register_buffer("seen", torch.tensor(2))


def test_tied_weights_are_stored_once_and_stay_tied():
    source, target = Tied(), Tied()
    weights = stored_weights(source)
    assert list(weights) == ["seen", "one.weight", "one.bias"]
    load_weights(target, weights, "x")
    assert torch.equal(target.other.weight, source.one.weight)
    assert target.other.weight is target.one.weight


def test_missing_and_unexpected_keys_are_fatal():
    weights = stored_weights(nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"x\.st: 1 missing keys \['bias'\], 1 others \['extra'\]"):
        load_weights(nn.Linear(2, 2), {"weight": weights["weight"], "extra": torch.zeros(1)}, "x.st")


def test_another_shape_is_fatal():
    with pytest.raises(CheckpointError, match=r"weight has shape \(2, 3\)"):
        load_weights(nn.Linear(2, 2), stored_weights(nn.Linear(3, 2)), "x.st")


def test_a_changed_file_is_refused(saved):
    content = bytearray((saved / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not the file that was saved"):
        load(saved)


def test_a_missing_file_is_refused(saved):
    (saved / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "is format 9"),
        ({"name": "resnet1000"}, "holds a 'resnet1000'"),
        ({"sha256": None}, "is format 1"),
    ],
)
def test_a_config_of_something_else_is_refused(saved, change, message):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load(saved)


@pytest.mark.parametrize("text", ["{cut", "[1]"])
def test_a_config_that_is_no_json_object_is_refused(saved, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(saved)


@pytest.mark.parametrize("name", ["model.pt", "weights.pth", "pytorch_model.bin", "last.ckpt"])
def test_pickle_is_never_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    for given in (tmp_path, tmp_path / name):
        with pytest.raises(CheckpointError, match="pickle is never opened"):
            load(given)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is no bundle"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="has not ended"):
        load(tmp_path)


def state(step, value=0.0):
    tensors = {"model": {"w": torch.full((2,), value)}, "queue": {"image": torch.zeros(0, 4)}}
    return TrainState(step, tensors, {"seconds": 1.5})


def test_a_train_state_comes_back(tmp_path):
    folder = save_train_state(tmp_path, state(12, 3.0))
    assert folder.name == "step-0000012"
    found = load_train_state(folder)
    assert found.step == 12
    assert found.facts == {"seconds": 1.5}
    assert torch.equal(found.tensors["model"]["w"], torch.full((2,), 3.0))
    assert found.tensors["queue"]["image"].shape == (0, 4)


def test_the_newest_few_train_states_are_kept(tmp_path):
    for step in (1, 20, 300):
        save_train_state(tmp_path, state(step), keep=2)
    assert [folder.name for folder in train_state_folders(tmp_path)] == ["step-0000020", "step-0000300"]
    drop_train_states(tmp_path, 20)
    assert [folder.name for folder in train_state_folders(tmp_path)] == ["step-0000020"]


@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_a_damaged_train_state_is_skipped_aloud(tmp_path, name):
    save_train_state(tmp_path, state(1))
    (save_train_state(tmp_path, state(2)) / name).write_bytes(b"{}")
    with pytest.warns(RuntimeWarning, match="skipped a damaged checkpoint"):
        assert newest_train_state(tmp_path).step == 1


def test_no_train_state_is_none(tmp_path):
    assert newest_train_state(tmp_path / "nowhere") is None


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    folder = save_train_state(tmp_path, state(1))
    (folder / "model.safetensors").write_bytes(b"no")
    values = json.loads((folder / "state.json").read_text())
    values["sha256"]["model.safetensors"] = checkpoint._sha256(folder / "model.safetensors")
    (folder / "state.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_train_state(folder)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def write(content, fail=False):
        with atomic_folder(tmp_path / "out") as partial:
            (partial / "file").write_text(content)
            if fail:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write("first", fail=True)
    assert list(tmp_path.iterdir()) == []
    write("second")
    with pytest.raises(KeyboardInterrupt):
        write("third", fail=True)
    assert (tmp_path / "out" / "file").read_text() == "second"
    write("fourth")
    assert (tmp_path / "out" / "file").read_text() == "fourth"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "file").write_text("kept")
    (tmp_path / ".out.partial").mkdir()
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "out"):
        raise KeyboardInterrupt
    assert (tmp_path / "out" / "file").read_text() == "kept"
