import json

import pytest
import torch

from limner.checkpoint import (
    TrainState,
    drop_train_states,
    load_train_state,
    newest_train_state,
    save_train_state,
    train_state_folders,
)
from limner.checkpoint.files import sha256
from limner.errors import CheckpointError


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
    values["sha256"]["model.safetensors"] = sha256(folder / "model.safetensors")
    (folder / "state.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_train_state(folder)


def test_a_full_disk_is_said_and_the_last_good_one_stays(tmp_path, monkeypatch):
    save_train_state(tmp_path, state(3))

    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("limner.checkpoint.states.save_file", full)
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        save_train_state(tmp_path, state(4))
    assert "--resume, from step-0000003" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000003"]
    assert newest_train_state(tmp_path).step == 3
