import shutil
import warnings

import fsspec
import pytest
import torch

from limner.checkpoint import TrainState, load_train_state, save_train_state, train_state_folders
from limner.checkpoint.mirror import Mirror
from limner.errors import CheckpointError


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    place = "memory://bucket/runs/mine" if request.param == "memory" else f"file://{tmp_path}/there/mine"
    yield place
    store = fsspec.filesystem("memory")
    if store.exists("/bucket"):
        store.rm("/bucket", recursive=True)


def save(folder, step, value=0.0):
    return save_train_state(folder, TrainState(step, {"model": {"w": torch.full((3,), value)}}, {"a": 1}), 9)


def files_of(address):
    store, root = fsspec.core.url_to_fs(address)
    return store, root


def test_a_state_goes_there_and_comes_back(address, tmp_path):
    mirror = Mirror(address)
    mirror.keep(save(tmp_path / "here", 7, 2.0), 2)
    assert mirror.steps() == ["step-0000007"]
    mirror.fetch(tmp_path / "new")
    [folder] = train_state_folders(tmp_path / "new")
    assert torch.equal(load_train_state(folder).tensors["model"]["w"], torch.full((3,), 2.0))


def test_the_last_few_stay_there_and_later_ones_are_dropped(address, tmp_path):
    mirror = Mirror(address)
    for step in (1, 20, 300):
        mirror.keep(save(tmp_path, step), 2)
    assert mirror.steps() == ["step-0000020", "step-0000300"]
    mirror.drop(20)
    assert mirror.steps() == ["step-0000020"]


def test_a_copy_that_broke_off_is_no_state_and_is_cleared_away(address, tmp_path, monkeypatch):
    mirror = Mirror(address)
    mirror.keep(save(tmp_path / "here", 1, 1.0), 2)
    put = type(mirror._store).put_file

    def broken(self, source, target, *args, **named):
        if target.endswith("state.json"):
            raise OSError("connection reset")
        return put(self, source, target, *args, **named)

    monkeypatch.setattr(type(mirror._store), "put_file", broken)
    with pytest.warns(RuntimeWarning, match="step-0000002 was not copied to .*connection reset"):
        mirror.keep(save(tmp_path / "here", 2), 2)
    monkeypatch.undo()
    assert mirror.steps() == ["step-0000001"]
    Mirror(address).fetch(tmp_path / "new")
    assert [folder.name for folder in train_state_folders(tmp_path / "new")] == ["step-0000001"]
    mirror.keep(save(tmp_path / "here", 3), 2)
    assert mirror._names() == ["step-0000001", "step-0000003"]


def test_a_damaged_state_is_passed_over(address, tmp_path):
    mirror = Mirror(address)
    for step in (1, 2):
        mirror.keep(save(tmp_path / "here", step, float(step)), 2)
    store, root = files_of(address)
    store.pipe_file(f"{root}/step-0000002/model.safetensors", b"rot")
    with pytest.warns(RuntimeWarning, match="passed over step-0000002 of"):
        mirror.fetch(tmp_path / "new")
    assert [folder.name for folder in train_state_folders(tmp_path / "new")] == ["step-0000001"]


def test_what_is_here_and_as_new_is_not_fetched(tmp_path, monkeypatch):
    address = f"file://{tmp_path}/there"
    mirror = Mirror(address)
    mirror.keep(save(tmp_path / "here", 3), 2)
    with monkeypatch.context() as patched:
        patched.setattr(mirror, "_bring", None)  # calling it would warn
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mirror.fetch(tmp_path / "here")
    (tmp_path / "here" / "step-0000003" / "model.safetensors").write_bytes(b"rot")
    mirror.fetch(tmp_path / "here")  # the one here is damaged
    assert load_train_state(tmp_path / "here" / "step-0000003").step == 3


def test_files_outside_of_a_state_are_not_named(tmp_path):
    there = tmp_path / "there"
    mirror = Mirror(f"file://{there}")
    mirror.keep(save(tmp_path / "here", 3), 2)
    manifest = there / "step-0000003" / "state.json"
    manifest.write_text(manifest.read_text().replace("model.safetensors", "../../evil"))
    with pytest.warns(RuntimeWarning, match="outside of it"):
        mirror.fetch(tmp_path / "new")
    assert train_state_folders(tmp_path / "new") == []


@pytest.mark.parametrize(
    ("address", "said"),
    [("runs/mine", "an address such as s3://"), ("nowhere://b/c", r"pip install 'limner\[remote\]'")],
)
def test_an_address_that_is_none_is_refused(address, said):
    with pytest.raises(CheckpointError, match=said):
        Mirror(address)


def test_a_place_that_cannot_be_read_stops_a_resume(tmp_path, monkeypatch):
    mirror = Mirror(f"file://{tmp_path}/there")

    def refused(*args, **named):
        raise PermissionError("403")

    monkeypatch.setattr(mirror, "_names", refused)
    with pytest.raises(CheckpointError, match=r"cannot be used: PermissionError: 403(?s:.*)machine\.mirror"):
        mirror.fetch(tmp_path / "new")
    with pytest.warns(RuntimeWarning, match="stays in"):
        mirror.drop(1)
    with pytest.warns(RuntimeWarning, match="was not copied"):
        mirror.keep(save(tmp_path / "here", 1), 1)
    shutil.rmtree(tmp_path / "here")


def test_a_place_belongs_to_one_run(address, tmp_path):
    mirror = Mirror(address)
    mirror.claim("aaa", resume=False)
    mirror.claim("aaa", resume=False)  # nothing was copied yet
    mirror.keep(save(tmp_path, 1), 2)
    mirror.claim("aaa", resume=True)
    with pytest.raises(CheckpointError, match=r"holds step-0000001 of this very run(?s:.*)--resume"):
        mirror.claim("aaa", resume=False)
    with pytest.raises(CheckpointError, match=r"holds run aaa, and this recipe is bbb(?s:.*)mine-bbb"):
        mirror.claim("bbb", resume=True)


def test_a_place_that_cannot_be_written_is_told_before_the_run(tmp_path):
    (tmp_path / "there").write_text("a file")
    with pytest.raises(CheckpointError, match="cannot be used"):
        Mirror(f"file://{tmp_path}/there").claim("aaa", resume=False)
