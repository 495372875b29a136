"""Files of torch.save and TorchScript: the tensors that torch's own readers give, bit for bit."""

import pickle
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.convert.rebuilt import Inert
from limner.convert.torchfiles import module_values
from limner.convert.weights import read_weights
from limner.errors import CheckpointError

TYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
)
WIDE_TYPES = (torch.uint16, torch.uint32, torch.uint64)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 2)
        self.twin = self.head
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, x: Tensor) -> Tensor:
        return self.twin(self.head(self.stem(x).mean((2, 3))).repeat(1, 2))


def same(ours: Any, theirs: Any) -> None:
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert ours[name].stride() == tensor.stride(), name
        raw = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (ours[name], tensor)]
        assert torch.equal(*raw), name


def saved(path: Path, value: object, new: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=new)
    return path


def odd_tensors(new: bool) -> dict[str, Tensor]:
    """Every type; views, shared, transposed, empty, scalar."""
    base = torch.randn(6, 8)
    types = TYPES + (WIDE_TYPES if new else ())
    return {
        **{str(dtype): (torch.rand(3, 5) * 9).to(dtype) for dtype in types},
        "base": base,
        "row": base[2],
        "transposed": base.T,
        "strided": base[::2, 1::3],
        "tied": base,
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(3.5),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": nn.Parameter(torch.randn(3)),
    }


@pytest.mark.parametrize("new", [True, False])
def test_tensors_are_those_of_torch(tmp_path, new):
    path = saved(tmp_path / "x.pt", odd_tensors(new), new)
    weights = read_weights(path)
    assert weights.container == ("torch" if new else "torch_legacy")
    same(weights.tensors, torch.load(path, weights_only=True))
    shared = [
        weights.tensors[name].untyped_storage().data_ptr() for name in ("base", "row", "tied", "transposed")
    ]
    assert len(set(shared)) == 1  # what was one storage is one again


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("new", [True, False])
def test_every_pickle_protocol(tmp_path, protocol, new):
    """torch's own safe reader stops at protocol 3."""
    state = nn.Linear(2, 3).state_dict()
    torch.save(state, tmp_path / "x.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    same(read_weights(tmp_path / "x.pt").tensors, state)


class OldParameter:
    """A parameter as PyTorch before 0.4 pickled it: the class, its data, then three flags."""

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return nn.Parameter, (self.data,), (True, False, OrderedDict())


def test_parameters_of_old_files(tmp_path):
    plain = nn.Linear(2, 3).state_dict()
    path = saved(tmp_path / "x.pth", OrderedDict((k, OldParameter(v)) for k, v in plain.items()), False)
    same(read_weights(path).tensors, plain)
    same(read_weights(path).tensors, torch.load(path, weights_only=True))


@pytest.mark.parametrize("new", [True, False])
def test_a_training_checkpoint_of_data_parallel(tmp_path, new):
    model = nn.DataParallel(Small())
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.randn(4, 3, 3, 3)}
    value = {
        "state_dict": model.state_dict(),
        "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]},
        "scheduler": {"milestones": Counter({100: 1, 150: 1}), "last_epoch": 3},
        "best_prec1": torch.tensor(91.5),
        "epoch": 7,
    }
    weights = read_weights(saved(tmp_path / "x.th", value, new))
    same(weights.tensors, {k.removeprefix("module."): v for k, v in model.state_dict().items()})
    facts = dict(weights.facts)
    assert (facts["epoch"], facts["best_prec1"], facts["prefix"]) == (7, 91.5, "module.")
    assert facts["scheduler"] == {"milestones": {"100": 1, "150": 1}, "last_epoch": 3}
    assert facts["left_out"] == ["optimizer"]  # it holds tensors of its own


def test_check_sums_that_torch_did_not_compute(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "x.pt", odd_tensors(True), True)
    finally:
        torch.serialization.set_crc32_options(True)
    same(read_weights(path).tensors, torch.load(path, weights_only=True))


def test_a_deflated_archive_is_read(tmp_path):
    path, packed = saved(tmp_path / "x.pt", odd_tensors(True), True), tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    same(read_weights(packed).tensors, torch.load(path, weights_only=True))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 3, 8, 8))])
@pytest.mark.parametrize("half", [False, True])
def test_a_script_gives_the_state_dict_of_torch(tmp_path, make: Callable[[nn.Module], Any], half):
    path = tmp_path / "x.pt"
    made = make(Small().eval())
    (made.half() if half else made).save(path)
    weights = read_weights(path)
    assert weights.container == "torchscript"
    same(
        {k: weights.tensors[k] for k in sorted(weights.tensors)},
        dict(sorted(torch.jit.load(path).state_dict().items())),
    )


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_code_of_a_script_is_never_looked_at(tmp_path):
    path, broken = tmp_path / "x.pt", tmp_path / "broken.pt"
    torch.jit.script(Small()).save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            code = name.endswith((".py", ".debug_pkl", "constants.pkl"))
            target.writestr(name, b"cos\nsystem\n(S'exit 1'\ntR." if code else source.read(name))
    same(read_weights(broken).tensors, read_weights(path).tensors)


def test_a_whole_model_is_refused_by_the_name_of_its_class(tmp_path):
    for new in (True, False):
        with pytest.raises(CheckpointError, match="Linear") as caught:
            read_weights(saved(tmp_path / "x.pt", nn.Linear(2, 2), new))
        assert "state_dict" in caught.value.hint


OTHER_KINDS: dict[str, Callable[[], Tensor]] = {
    "complex": lambda: torch.zeros(3, dtype=torch.complex64),
    "sparse": lambda: torch.zeros(3).to_sparse(),
    "quantised": lambda: torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.quint8),
    "float8": lambda: torch.zeros(3, dtype=torch.float8_e4m3fn),
    "meta": lambda: torch.zeros(3, device="meta"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.filterwarnings("ignore")
def test_other_kinds_of_tensors_are_refused(tmp_path, kind):
    with pytest.raises(CheckpointError) as caught:
        read_weights(saved(tmp_path / "x.pt", {"w": OTHER_KINDS[kind]()}, True))
    assert caught.value.hint


def test_a_storage_that_views_another_is_refused(tmp_path):
    path = saved(tmp_path / "x.pt", {"w": torch.ones(3)}, False)
    data = path.read_bytes()
    at = data.index(b"NtQ") if b"NtQ" in data else data.index(b"N", data.index(b"cpu"))
    path.write_bytes(data[:at] + b"K\x01" + data[at + 1 :])
    with pytest.raises(CheckpointError, match=r"before 0\.4"):
        read_weights(path)


def test_an_old_file_is_whole(tmp_path):
    path = saved(tmp_path / "x.pt", {"w": torch.ones(3), "v": torch.ones(5)}, False)
    data = path.read_bytes()
    for wrong, what in (
        (data[:-1], "storages take"),
        (data + b"x", "storages take"),
        (data[:-40], "storages take|another size"),
        (data[:200], "cannot be read"),
        (data.replace(b"M\xe9\x03", b"M\xe8\x03", 1), "does not go on"),
        (data.replace(b"\x03\0\0\0\0\0\0\0", b"\x04\0\0\0\0\0\0\0"), "another size"),
        (data[: data.rindex(b"\x80\x02]")] + pickle.dumps([], 2), "does not fit its tensors"),
        (data[: data.rindex(b"\x80\x02]")] + pickle.dumps(3, 2), "does not fit its tensors"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(CheckpointError, match=what):
            read_weights(path)


def test_modules_that_hold_each_other_end():
    loop = Inert("__torch__.M")
    loop.fields["self"] = loop
    with pytest.raises(CheckpointError, match="without end"):
        module_values(loop, "x")
    with pytest.raises(CheckpointError, match="without end"):
        module_values(Inert("__torch__.M", {"a" * 2000: 1}), "x")


def test_only_what_is_wanted_is_read(tmp_path, monkeypatch):
    """The optimiser's state costs nothing, and no storage is read twice."""
    weight = torch.randn(100, 100)
    value = {"model": {"w": weight, "tied": weight}, "optimizer": {"state": {0: torch.randn(300, 300)}}}
    path = saved(tmp_path / "x.pt", value, True)
    asked: list[int] = []
    empty = torch.empty

    def spied(size: int, **options: Any) -> Tensor:
        asked.append(size)
        return empty(size, **options)

    monkeypatch.setattr(torch, "empty", spied)
    read_weights(path)
    assert asked == [40_000]


def test_two_pickles_in_one_archive_are_none(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name in ("a/data.pkl", "b/data.pkl"):
            archive.writestr(name, b"\x80\x02}.")
    with pytest.raises(CheckpointError, match=r"no data\.pkl"):
        read_weights(tmp_path / "x.pt")
