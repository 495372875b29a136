"""What stands in for the names a pickle of weights may ask for."""

import argparse
import io
import pickle

import numpy as np
import pytest
import torch

from limner.convert.pickles import read_pickle
from limner.convert.rebuilt import (
    NAMES,
    SCRIPT_NAMES,
    STORAGES,
    Blueprint,
    Inert,
    Name,
    StorageRef,
    pairs,
    storage,
)


def read(value: object, protocol: int = 2) -> object:
    data = pickle.dumps(value, protocol)
    return read_pickle(io.BytesIO(data), len(data), "x.pt").value


def rebuild(name: str, *arguments: object) -> object:
    call = NAMES[name].call
    assert call is not None
    return call(*arguments)


FLOATS = StorageRef("0", torch.float32, 12)


def test_a_tensor_is_a_note():
    found = rebuild("torch._utils._rebuild_tensor_v2", FLOATS, 2, (2, 5), (5, 1), False, {})
    assert isinstance(found, Blueprint)
    assert (found.offset, found.size, found.stride, found.dtype) == (2, (2, 5), (5, 1), torch.float32)
    assert (found.count, FLOATS.nbytes) == (10, 48)
    assert isinstance(rebuild("torch._utils._rebuild_tensor", FLOATS, 0, (), ()), Blueprint)
    assert rebuild("torch.nn.parameter.Parameter", found) is found
    assert rebuild("torch._utils._rebuild_parameter", found, True, {}) is found
    assert rebuild("torch._utils._rebuild_parameter_with_state", found, True, {}, {"a": 1}) is found


def test_a_tensor_may_have_another_type_than_its_storage():
    raw = StorageRef("0", torch.uint8, 12)
    found = rebuild("torch._utils._rebuild_tensor_v3", raw, 1, (5,), (1,), False, {}, Name("torch.uint16"))
    assert isinstance(found, Blueprint)
    assert found.dtype == torch.uint16
    with pytest.raises(ValueError, match="does not fit"):
        rebuild("torch._utils._rebuild_tensor_v3", raw, 2, (5,), (1,), False, {}, Name("torch.uint16"))
    with pytest.raises(ValueError, match="not known"):
        rebuild("torch._utils._rebuild_tensor_v3", raw, 0, (1,), (1,), False, {}, Name("torch.quint8"))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (13,), (1,)),
        (12, (), ()),
        (9, (2, 2), (2, 1)),
        (0, (2, 2), (11, 1)),
        (0, (13,), (0,)),
        (13, (0,), (1,)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (1,), (-1,)),
        (0, (1 << 62,), (1,)),
        (0, (1.0,), (1,)),
        (0, (True,), (1,)),
        (0, (1,), (1, 1)),
        (0, [1], [1]),
        (0, (1,) * 17, (1,) * 17),
        (0, (2,) * 16, (0,) * 16),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(offset, size, stride):
    with pytest.raises(ValueError):
        rebuild("torch._utils._rebuild_tensor_v2", FLOATS, offset, size, stride, False, {})


def test_a_tensor_needs_a_storage():
    for wrong in (None, 3, Inert("x"), "0"):
        with pytest.raises(ValueError):
            rebuild("torch._utils._rebuild_tensor_v2", wrong, 0, (1,), (1,), False, {})
    with pytest.raises(ValueError):
        rebuild("torch._utils._rebuild_parameter", 3, True, {})


def test_a_tensor_with_attributes_is_rebuilt_by_known_functions_alone():
    arguments = (FLOATS, 0, (3,), (1,), False, {})
    function = NAMES["torch._utils._rebuild_tensor_v2"]
    found = rebuild("torch._tensor._rebuild_from_type_v2", function, None, arguments, {"note": 1})
    assert isinstance(found, Blueprint)
    for wrong in (NAMES["collections.OrderedDict"], Name("os.system", print), None):
        with pytest.raises(ValueError, match="something else"):
            rebuild("torch._tensor._rebuild_from_type_v2", wrong, None, arguments, {})


def test_storages_are_described_as_pytorch_does():
    kind = NAMES["torch.HalfStorage"]
    assert storage(("storage", kind, "7", "cuda:0", 3)).nbytes == 6
    assert storage(("storage", kind, "7", "cuda:0", 3, None)).key == "7"
    for wrong in (
        ("module", kind, "7", "cpu", 3),
        ("storage", Name("torch.float16"), "7", "cpu", 3),
        ("storage", kind, 7, "cpu", 3),
        ("storage", kind, "7", "cpu", -3),
        ("storage", kind, "7", "cpu", 3, ("1", 0, 2)),
        ("storage", kind),
        "storage",
    ):
        with pytest.raises(ValueError):
            storage(wrong)
    for name, dtype in STORAGES.items():
        if "Untyped" not in name:
            assert torch.storage._dtype_to_storage_type_map()[dtype] == name.removeprefix("torch.")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_numbers(protocol):
    for number in (
        np.float64(93.62),
        np.float32(0.5),
        np.float16(2),
        np.int64(-3),
        np.uint8(255),
        np.bool_(True),
    ):
        assert read({"best": number}, protocol) == {"best": number.item()}


def test_numpy_numbers_that_mislead_are_refused():
    kind = rebuild("numpy.dtype", "f8", False, True)
    assert rebuild("numpy.core.multiarray.scalar", kind, bytes(8)) == 0.0
    for fields in ({"code": "O"}, {"code": ["f8"]}, {"state": (3, ">")}, {"state": None}):
        wrong = Inert("numpy.dtype", {"code": "f8", "state": (3, "<"), **fields})
        with pytest.raises(ValueError):
            rebuild("numpy.core.multiarray.scalar", wrong, bytes(8))
    for data in (b"", 3, None):
        with pytest.raises(ValueError):
            rebuild("numpy.core.multiarray.scalar", kind, data)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_arguments_of_a_run_are_held(protocol):
    found = read(argparse.Namespace(lr=0.1, model="deit"), protocol)
    assert isinstance(found, Inert)
    assert found.fields == {"lr": 0.1, "model": "deit"}
    with pytest.raises(ValueError):
        rebuild("copyreg._reconstructor", NAMES["torch.Tensor"], None, None)


def test_bytes_paths_and_devices_are_short_text():
    assert rebuild("_codecs.encode", "é", "latin1") == b"\xe9"
    assert rebuild("torch.device", "cpu") == "cpu:0"
    for name, arguments in (
        ("_codecs.encode", ("a", "rot13")),
        ("_codecs.encode", (b"a",)),
        ("pathlib.PosixPath", ("a" * 300,)),
        ("pathlib.PosixPath", (3,)),
        ("torch.device", (3,)),
        ("torch.Size", (3,)),
    ):
        with pytest.raises(ValueError):
            rebuild(name, *arguments)


def test_dictionaries_take_plain_keys():
    assert pairs(["a", 1, 2, 3, b"c", 4]) == {"a": 1, 2: 3, b"c": 4}
    for wrong in ((), None, 1.5, 1 << 60, ("a",)):
        with pytest.raises(ValueError, match="is a key"):
            pairs([wrong, 1])


def test_no_name_is_python_s_own():
    """Nothing that is called comes from a module a pickle could name; all of it is of this package."""
    for known in (*NAMES.values(), *SCRIPT_NAMES.values()):
        assert known.call is None or known.call.__module__ == "limner.convert.rebuilt", known.name
