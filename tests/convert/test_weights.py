"""Weight files of every make: read, checked, and written; and random damage to honest ones."""

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limner.convert.weights import SIDES, parts_of, read_sides, read_weights, write_safetensors
from limner.errors import CheckpointError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"


def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).state_dict()


def refused(path: Path, **options: bool) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        read_weights(path, **options)
    assert caught.value.hint
    return caught.value


def write_torch(path: Path, new: bool) -> None:
    torch.save({"state_dict": state(), "epoch": 3}, path, _use_new_zipfile_serialization=new)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def write_script(path: Path) -> None:
    torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))).save(path)


def write_npz(path: Path, save: Callable[..., None], tensors: dict[str, Tensor]) -> None:
    with path.open("wb") as file:
        save(file, **{name: tensor.numpy() for name, tensor in tensors.items()})


WRITERS: dict[str, Callable[[Path], None]] = {
    "safetensors": lambda path: save_file(state(), path),
    "torch": lambda path: write_torch(path, True),
    "torch_legacy": lambda path: write_torch(path, False),
    "torchscript": write_script,
    "npz": lambda path: write_npz(path, np.savez, state()),
    "npz_deflated": lambda path: write_npz(path, np.savez_compressed, state()),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WRITERS)
def test_what_a_file_is_told_by_its_bytes(tmp_path, kind):
    path = tmp_path / "weights.any"
    WRITERS[kind](path)
    weights = read_weights(path)
    assert weights.container == kind.removesuffix("_deflated")
    assert weights.path == path
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights.tensors.keys() == state().keys()
    if kind != "torchscript":
        assert all(torch.equal(weights.tensors[k], v) for k, v in state().items())


def test_the_metadata_of_safetensors_is_facts(tmp_path):
    save_file(state(), tmp_path / "x", {"format": "pt", "note": "a"})
    assert read_weights(tmp_path / "x").facts == {"format": "pt", "note": "a"}


def test_a_path_that_is_no_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "x").given
    assert "is a folder" in refused(tmp_path).given
    assert "model.safetensors" in refused(tmp_path).hint


def test_nan_and_infinity_are_refused_unless_they_are_asked_for(tmp_path):
    for value in (float("nan"), float("inf"), float("-inf")):
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            tensors = {
                "good": torch.ones(3),
                "bad.weight": torch.tensor([[1.0, value], [2.0, 3.0]], dtype=dtype),
            }
            torch.save(tensors, tmp_path / "x.pt")
            assert "bad.weight holds NaN or infinity" in refused(tmp_path / "x.pt").given
            kept = read_weights(tmp_path / "x.pt", allow_nonfinite=True).tensors["bad.weight"]
            assert kept.dtype == dtype


def test_infinity_in_the_mask_of_a_traced_clip_is_no_damage(tmp_path):
    mask = torch.full((3, 3), float("-inf")).triu(1)
    torch.save({"attn_mask": mask, "text.attn_mask": mask, "w": torch.ones(2)}, tmp_path / "x.pt")
    assert torch.equal(read_weights(tmp_path / "x.pt").tensors["attn_mask"], mask)


def test_garbage_outside_every_view_is_not_looked_at(tmp_path):
    whole = torch.tensor([1.0, 2.0, float("nan")])
    torch.save({"w": whole[:2]}, tmp_path / "x.pt")
    assert read_weights(tmp_path / "x.pt").tensors["w"].tolist() == [1, 2]


def test_the_same_numbers_over_and_over_are_refused(tmp_path, monkeypatch):
    whole = torch.zeros(1000)
    torch.save({f"w{n}": whole[: 900 + n] for n in range(90)}, tmp_path / "x.pt")
    assert len(read_weights(tmp_path / "x.pt").tensors) == 90
    monkeypatch.setattr("limner.convert.weights._MAX_JSON", 0)
    assert "over and over" in refused(tmp_path / "x.pt").given


def test_json_beside_the_file(tmp_path):
    save_file(state(), tmp_path / "x.safetensors")
    for name in SIDES:
        (tmp_path / name).write_text(json.dumps({"name": name}), encoding="utf-8")
    (tmp_path / "other.json").write_text("broken", encoding="utf-8")
    assert read_weights(tmp_path / "x.safetensors").sides == {name: {"name": name} for name in SIDES}
    assert read_sides(tmp_path / "nowhere") == {}


def test_the_processor_file_of_transformers_5_is_read_as_the_one_of_before(tmp_path):
    (tmp_path / "processor_config.json").write_text('{"image_processor": {"resample": 3}}')
    assert read_sides(tmp_path)["preprocessor_config.json"] == {"resample": 3}
    (tmp_path / "preprocessor_config.json").write_text('{"resample": 2}')
    assert read_sides(tmp_path)["preprocessor_config.json"] == {"resample": 2}


@pytest.mark.parametrize("text", ["{broken", "[1]", "", "[" * 100_000, "\udcff", "null"])
def test_broken_json_beside_the_file_is_said(tmp_path, text):
    save_file(state(), tmp_path / "x.safetensors")
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "config.json is damaged" in refused(tmp_path / "x.safetensors").given


def test_json_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    save_file(state(), tmp_path / "x.safetensors")
    (tmp_path / "config.json").write_text('{"a": "%s"}' % ("a" * 900), encoding="utf-8")
    monkeypatch.setattr("limner.convert.weights._MAX_JSON", 800)
    assert "longer than 800" in refused(tmp_path / "x.safetensors").given


def sharded(folder: Path, pickled: bool = False) -> Path:
    tensors, ending = state(), "bin" if pickled else "safetensors"
    stem = "pytorch_model" if pickled else "model"
    places = {}
    for number in (1, 2):
        name = f"{stem}-{number:05d}-of-00002.{ending}"
        part = {k: v for n, (k, v) in enumerate(tensors.items()) if n % 2 == number - 1}
        torch.save(part, folder / name) if pickled else save_file(part, folder / name)
        places |= dict.fromkeys(part, name)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")
    return index


@pytest.mark.parametrize("pickled", [False, True])
def test_a_sharded_checkpoint(tmp_path, pickled):
    weights = read_weights(sharded(tmp_path, pickled))
    assert weights.container == ("torch" if pickled else "safetensors")
    assert all(torch.equal(weights.tensors[k], v) for k, v in state().items())
    assert weights.tensors.keys() == state().keys()
    assert len(weights.sha256) == 64
    assert len(parts_of(weights.path)) == 2
    assert all(part.is_file() and part != weights.path for part in parts_of(weights.path))


def test_an_index_that_does_not_fit_its_parts_is_refused(tmp_path):
    index = sharded(tmp_path)
    good = json.loads(index.read_text(encoding="utf-8"))
    first = next(iter(good["weight_map"]))
    for places, what in (
        ({**good["weight_map"], "more": good["weight_map"][first]}, "disagree"),
        ({k: v for k, v in good["weight_map"].items() if k != first}, "disagree"),
        ({**good["weight_map"], first: "model-00009-of-00002.safetensors"}, "not there"),
        ({**good["weight_map"], first: "../x.safetensors"}, "own folder"),
        ({**good["weight_map"], first: "/etc/passwd"}, "own folder"),
        ({**good["weight_map"], first: ".."}, "own folder"),
        ({**good["weight_map"], first: 3}, "no weight_map"),
        ({}, "no weight_map"),
        (None, "no weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
        assert what in refused(index).given


def test_what_is_written_is_read_back(tmp_path):
    base = torch.randn(4, 6)
    tensors = {
        "a": base,
        "tied": base,
        "row": base[1],
        "turned": base.T,
        "half": base.half(),
        "n": torch.tensor(3),
    }
    path = write_safetensors(tmp_path / "new" / "x.safetensors", tensors, {"note": "a"})
    found = load_file(path)
    assert all(torch.equal(found[k], v) for k, v in tensors.items())
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"format": "pt", "note": "a"}
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = write_safetensors(tmp_path / "x.safetensors", state())
    before = path.read_bytes()

    def fails(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("limner.convert.weights.os.fsync", fails)
    with pytest.raises(OSError, match="no room"):
        write_safetensors(path, {"a": torch.ones(1)})
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, a stretch cut out, doubled or zeroed, or the end lost."""
    out = bytearray(data)
    kind = chance.randrange(6)
    start = chance.randrange(len(out))
    end = min(len(out), start + chance.randrange(1, 40))
    if kind < 2:
        for _ in range(chance.randrange(1, 4)):
            out[chance.randrange(len(out))] = chance.randrange(256)
    elif kind == 2:
        del out[start:end]
    elif kind == 3:
        out[start:start] = out[start:end]
    elif kind == 4:
        out[start:end] = bytes(end - start)
    else:
        del out[start:]
    return bytes(out)


def fuzz(folder: Path, times: int, seed: int) -> dict[str, int]:
    """Read damaged files: each is read or refused, never anything else."""
    chance, refusals = random.Random(seed), {}
    for kind, write in WRITERS.items():
        path = folder / kind
        write(path)
        data, refusals[kind] = path.read_bytes(), 0
        for _ in range(times):
            path.write_bytes(damaged(data, chance))
            with suppress(CheckpointError):
                read_weights(path)
                continue
            refusals[kind] += 1
    return refusals


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore::DeprecationWarning")
def test_random_damage_is_refused_or_harmless(tmp_path):
    refusals = fuzz(tmp_path, 40, seed=0)
    assert all(count >= 10 for count in refusals.values()), refusals


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore::DeprecationWarning")
def test_much_random_damage_is_refused_or_harmless(tmp_path):
    assert sum(fuzz(tmp_path, 1500, seed=1).values()) > 4000


CHILD = """
import sys
from pathlib import Path
from limner.convert.weights import read_weights
def peak():  # ru_maxrss would count the parent's, before the exec
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
read_weights(Path(sys.argv[1]))
before = peak()
weights = read_weights(Path(sys.argv[2]))
print((peak() - before) / sum(t.nbytes for t in weights.tensors.values()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["safetensors", "torch", "torch_legacy", "npz"])
def test_peak_memory_is_the_size_of_the_weights(tmp_path, kind):
    big = {str(n): torch.randn(1 << 22) for n in range(16)}  # 256 MiB
    path = tmp_path / "big"
    if kind == "npz":
        write_npz(path, np.savez, big)
    elif kind == "safetensors":
        save_file(big, path)
    else:
        torch.save(big, path, _use_new_zipfile_serialization=kind == "torch")
    WRITERS[kind](tmp_path / "small")
    command = [sys.executable, "-c", CHILD, str(tmp_path / "small"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert 0.5 < float(done.stdout) < 1.15


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared weights here")
@pytest.mark.parametrize(
    "name", ["resnet20-12fca82f", "resnet32-d509ac18", "resnet44-014dd654", "resnet56-4bfd9763"]
)
def test_the_public_cifar_resnets(name):
    path = SHARED / f"{name}.th"
    weights = read_weights(path)
    theirs = torch.load(path, weights_only=True, map_location="cpu")
    assert weights.sha256.startswith(name[-8:])
    assert weights.container == "torch_legacy"
    assert weights.facts["best_prec1"] == theirs["best_prec1"]
    assert [f"module.{key}" for key in weights.tensors] == list(theirs["state_dict"])
    assert all(torch.equal(weights.tensors[k[7:]], v) for k, v in theirs["state_dict"].items())
