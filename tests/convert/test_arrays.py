"""Arrays of an .npz: as NumPy reads them, bit for bit, and no objects."""

import io
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.convert.weights import read_weights
from limner.errors import CheckpointError


def saved(path: Path, packed: bool = False, **arrays: np.ndarray) -> Path:
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


def raw(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert caught.value.hint
    return caught.value.given


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_are_read_bit_for_bit(tmp_path, packed):
    random = np.random.default_rng(0)
    arrays = {
        "Transformer/encoderblock_0/LayerNorm_0/scale": random.normal(size=7).astype(np.float32),
        "embedding/kernel": np.asfortranarray(random.normal(size=(3, 4, 5)).astype(np.float32)),
        "half": random.normal(size=(2, 3)).astype(np.float16),
        "double": random.normal(size=3),
        "step": np.array(7),
        "empty": np.zeros((0, 3), np.float32),
        **{f"i{n}": np.arange(5, dtype=f"i{n}") for n in (1, 2, 4, 8)},
        **{f"u{n}": np.arange(5, dtype=f"u{n}") for n in (1, 2, 4, 8)},
        "flag": np.array([True, False]),
    }
    weights = read_weights(saved(tmp_path / "a.npz", packed, **arrays))
    assert weights.container == "npz"
    assert weights.tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert weights.tensors[name].shape == array.shape
        assert torch.equal(
            weights.tensors[name], torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
        )


def test_a_two_byte_void_is_a_bfloat16(tmp_path):
    want = torch.tensor([1.5, -2.0, 3e38], dtype=torch.bfloat16)
    path = raw(tmp_path / "a.npz", w=npy(want.view(torch.int16).numpy().view("V2")))
    assert torch.equal(read_weights(path).tensors["w"], want)


def test_texts_are_facts(tmp_path):
    weights = read_weights(saved(tmp_path / "a.npz", w=np.ones(2), note=np.array("trained on i21k")))
    assert weights.facts == {"note": "trained on i21k"}


@pytest.mark.parametrize("prefix", ["opt/target/", "params/"])
def test_the_optimiser_of_a_flax_checkpoint_is_left(tmp_path, prefix):
    arrays = {f"{prefix}cls": np.ones(2), f"{prefix}head/bias": np.ones(3), "opt/state/step": np.array(3)}
    weights = read_weights(saved(tmp_path / "a.npz", **arrays))
    assert set(weights.tensors) == {"cls", "head/bias"}
    assert weights.facts == {"prefix": prefix}


def header(text: str, version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (npy(np.array([{"a": 1}], dtype=object)), "Python objects"),
        (npy(np.array([(1, None)], dtype=[("a", "i4"), ("b", "O")])), "Python objects"),
        (npy(np.zeros(3, ">f4")), "little-endian"),
        (npy(np.zeros(3, np.complex64)), "of type <c8"),
        (npy(np.array(["a", "b"])), "of type <U1"),
        (npy(np.zeros(3, np.longdouble)), "of type"),
        (npy(np.zeros(3, "V4")), "of type"),
        (npy(np.zeros(3, "M8[s]")), "of type"),
        (npy(np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")])), "of type"),
        (npy(np.zeros(3))[:-1], "and holds 23 bytes"),
        (npy(np.zeros(3)) + b"1", "and holds 25 bytes"),
        (
            npy(np.array([True])).replace(b"\x01", b"\x07").replace(b"Y\x07", b"Y\x01"),
            "true and false|header",
        ),
        (b"", "no header"),
        (b"\x93NUMPY\x07\x00abc", "no header"),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }") + bytes(4),
            "says it is|header",
        ),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1), }") + bytes(4),
            "says it is|header",
        ),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }"), "says it is"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os'), }"), "no header"),
        (header("{'descr': '<f4', 'fortran_order': False}"), "no header"),
        (header("{" * 200), "no header"),
        (header("(" * 9000), "no header"),
        (header("1" * 60_000), "no header"),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }" + " " * 11_000) + bytes(4),
            "header",
        ),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, data, what):
    said = refused(raw(tmp_path / "a.npz", good=npy(np.ones(2)), w=data))
    assert re.search(what, said), said


def test_a_header_of_odd_length_is_read(tmp_path):
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
    path = raw(tmp_path / "a.npz", w=header(text) + np.array([1, 2], "<f4").tobytes())
    assert read_weights(path).tensors["w"].tolist() == [1, 2]


def test_nothing_but_arrays_may_be_inside(tmp_path):
    path = raw(tmp_path / "a.npz", w=npy(np.ones(2)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.pkl", b"\x80\x02N.")
    assert "x.pkl is no .npy" in refused(path)
