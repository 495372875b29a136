"""The machine that reads pickles: for data the values Python reads, for all else a refusal, within bounds."""

import collections
import datetime
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limner.convert import pickles
from limner.convert.pickles import read_pickle
from limner.convert.rebuilt import Inert, Name
from limner.errors import CheckpointError


def read(data: bytes, scripted: bool = False) -> object:
    return read_pickle(io.BytesIO(data), len(data), "x.pt", scripted).value


PLAIN = {
    "epoch": 3,
    "best": 91.78,
    "name": "resnet—é",
    "none": None,
    "flags": [True, False],
    "sizes": (1, (2, 3), ()),
    "long": [2**70, -(2**70), 255, 65535, -1],
    "nested": {"a": {"b": [1.5, {"c": "d"}]}},
    7: b"bytes",
    "shared": None,
}
PLAIN["shared"] = [PLAIN["sizes"]] * 3


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_those_of_python(protocol):
    values = (
        dict(PLAIN) if protocol > 2 else {k: v for k, v in PLAIN.items() if k != 7}
    )  # bytes need a function
    assert read(pickle.dumps(values, protocol)) == values


def test_text_of_python_2():
    assert read(b"\x80\x02}q\x01U\x05epochq\x02K\x03s.") == {"epoch": 3}


@pytest.mark.parametrize("protocol", [2, 4])
def test_collections_become_plain(protocol):
    values = {
        "ordered": collections.OrderedDict(a=1, b=2),
        "counter": collections.Counter({30: 1, 60: 2}),
        "default": collections.defaultdict(list, a=[1]),
        "size": torch.Size([1, 2]),
        "device": torch.device("cuda:1"),
        "path": Path("runs") / "a",
        "set": {4},
    }
    assert (
        read(pickle.dumps(values, protocol))
        == {
            **{"ordered": {"a": 1, "b": 2}, "counter": {30: 1, 60: 2}, "default": {"a": [1]}, "size": (1, 2)},
            **{"device": "cuda:1", "path": "runs/a", "set": [4]},
        }
        or protocol == 4
    )


def test_names_that_are_mentioned_are_not_called():
    found = read(b"\x80\x02ctorch\nfloat16\n.")
    assert isinstance(found, Name)
    assert found.name == "torch.float16"
    with pytest.raises(CheckpointError, match=r"a call of torch\.float16"):
        read(b"\x80\x02ctorch\nfloat16\n)R.")


def test_classes_of_a_script_are_held_and_of_a_pickle_are_refused():
    program = b"\x80\x02c__torch__.a\nB\n)\x81}X\x01\x00\x00\x00kK\x05sb."
    held = read(program, scripted=True)
    assert isinstance(held, Inert)
    assert (held.name, held.fields) == ("__torch__.a.B", {"k": 5})
    with pytest.raises(CheckpointError, match="__torch__"):
        read(program)


def test_anything_else_is_refused_by_name():
    with pytest.raises(CheckpointError, match=r"datetime\.date") as caught:
        read(pickle.dumps(datetime.date(2020, 1, 1), 2))
    assert "state_dict" in caught.value.hint


def test_it_stops_where_the_pickle_stops():
    file = io.BytesIO(pickle.dumps(1, 2) + pickle.dumps([2], 2))
    assert [read_pickle(file, 99, "x").value for _ in range(2)] == [1, [2]]


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (b"\x80\x02K\x01K\x02.", "leaves 2 values"),
        (b"\x80\x02(K\x01.", "leaves 1 values"),
        (b"\x80\x02.", "leaves 0 values"),
        (b"\x80\x020.", "runs empty"),
        (b"\x80\x02h\x05.", "cannot be read"),
        (b"\x80\x02K\x01K\x02a.", "appends to a int"),
        (b"\x80\x02K\x01K\x02K\x03s.", "sets items of a int"),
        (b"\x80\x02}(K\x01u.", "has no value"),
        (b"\x80\x02}]K\x01s.", "a list is a key"),
        (b"\x80\x02}G\x00\x00\x00\x00\x00\x00\x00\x00K\x01s.", "a float is a key"),
        (b"\x80\x02}\x8a\x08" + (2**61 - 1).to_bytes(8, "little") + b"K\x01s.", "a int is a key"),
        (b"\x80\x02K\x01)R.", "calls a int"),
        (b"\x80\x02K\x01)\x81.", "object of a int"),
        (b"\x80\x02K\x01}b.", "state of a int"),
        (b"\x80\x04K\x01K\x02\x93.", "no text"),
        (b"\x80\x02K\x01Q.", "names no storage"),
        (b"\x80\x02X\xff\x00\x00\x00abc.", "too early"),
        (b"\x80\x02I12345", "no end"),
        (b"\x80\x02\xfe.", "cannot be read"),
        (b"\x80\x02" + b"(" * 3 + b"\x80", "cannot be read"),
        (b"", "cannot be read"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "no list"),
        (b"\x80\x02ccollections\nOrderedDict\n(K\x01K\x02t\x85R.", "no pair"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01K\x02\x86R.", "positional argument|calls a"),
    ],
)
def test_damage_is_said(program, what):
    with pytest.raises(CheckpointError, match=what) as caught:
        read(program)
    assert caught.value.hint


def test_bounds(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_OPCODES", 50)
    monkeypatch.setattr(pickles, "MAX_STACK", 20)
    monkeypatch.setattr(pickles, "MAX_WORK", 30)
    monkeypatch.setattr(pickles, "MAX_BYTES", 400)
    for program, what in (
        (b"\x80\x02" + b"N0" * 30 + b"N.", "50 opcodes"),
        (b"\x80\x02" + b"(" * 30 + b".", "deeper than 20"),
        (b"\x80\x02" + b"]" * 30 + b".", "deeper than 20"),
        (b"\x80\x02Nr\x40\x00\x00\x00.", "memo of 64 places"),
        (b"\x80\x02Np-1\n.", "memo of -1 places"),
        (b"\x80\x02X\xff\x01\x00\x00" + b"a" * 511 + b".", "longer than 400 bytes"),
        (b"\x80\x02]q\x00(" + b"K\x01" * 12 + b"e0" + b"cbuiltins\nset\nh\x00\x85R0" * 3 + b"N.", "30 items"),
        (
            b"\x80\x02}q\x00("
            + b"".join(b"K%cN" % i for i in range(8))
            + b"u0"
            + b"cargparse\nNamespace\n)\x81h\x00b0" * 4,
            "30 items",
        ),
    ):
        with pytest.raises(CheckpointError, match=what):
            read(program)


CHILD = """
import io, sys, time, tracemalloc
from limner.convert.pickles import read_pickle
from limner.errors import CheckpointError
def keys(numbers):
    return b"".join(b"\\x8a\\x08" + number.to_bytes(8, "little") + b"N" for number in numbers)
ordered = b"ccollections\\nOrderedDict\\nh\\x00\\x85R"
encoded = b"c_codecs\\nencode\\nh\\x00\\x85R"
programs = {
    "flood": b"N0" * 40_000_000,
    "lists": b"]0" * 16_000_000,
    "tuples": b")" + b"\\x85" * 32_000_000,
    "dicts": b"]q\\x00(" + b"K\\x01N\\x86" * 9_000 + b"e0" + ordered * 90_000,
    "collide": b"}(" + keys((2**61 - 1) * (i % 4) + i for i in range(49_000)) + b"u.",
    "keys": b"}(" + keys(i << 40 for i in range(49_000)) + b"u.",
    "texts": b"X\\x00\\x00\\x00\\x01" + b"a" * (1 << 24) + b"q\\x000" + encoded * 90_000,
}
for name, program in programs.items():
    start = time.monotonic()
    try:
        read_pickle(io.BytesIO(b"\\x80\\x02" + program), len(program) + 2, name)
    except CheckpointError as error:
        said = error.given
    took = time.monotonic() - start
    assert took < 60, (name, took)
    status = open("/proc/self/status").read() if sys.platform == "linux" else "VmHWM: 0 kB"
    peak_kb = int(status.split("VmHWM:")[1].split()[0])  # ru_maxrss would count the parent's, before the exec
    assert peak_kb < 1_500_000, (name, peak_kb)
"""


@pytest.mark.slow
def test_large_programs_take_bounded_time_and_memory():
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
