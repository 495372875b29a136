"""The hostile corpus: files that want to run something, to fill the memory, or are broken: all refused."""

import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from limner.convert.refusals import foreign
from limner.convert.weights import read_weights
from limner.errors import CheckpointError

LIMIT_S = 20
PEAK_BYTES = 64 << 20
BOMBS = (
    *("memo_bomb", "laughs", "deep_tuples", "deep_key", "long_text", "huge_storage"),
    *("huge_legacy_storage", "repeated", "zip_bomb", "zip_liar", "zip_directory_bomb", "npz_declared"),
    *("safetensors_huge_header", "safetensors_outside", "safetensors_deep"),
)


class Evil:
    """What a pickle with code looks like: loading it runs a command."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.sentinel}",)


def zipped(members: dict[str, bytes], packed: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", packed) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, packed)
    return out.getvalue()


def torch_zip(program: bytes, storages: dict[str, bytes] | None = None, **more: bytes) -> bytes:
    members = {"a/data.pkl": program, "a/byteorder": b"little"}
    members |= {f"a/data/{key}": data for key, data in (storages or {}).items()}
    return zipped(members | {f"a/{name}": data for name, data in more.items()})


def legacy(program: bytes, keys: list[str], storages: bytes = b"", little: bool = True) -> bytes:
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": little})
    return b"".join([*(pickle.dumps(part, 2) for part in head), program, pickle.dumps(keys, 2), storages])


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    packed = value.to_bytes(9, "little", signed=True)
    return b"\x8a\x09" + packed


def tensor(offset: int, size: list[int], stride: list[int], count: int, kind: str = "FloatStorage") -> bytes:
    """A dict of one tensor, as torch.save writes it, with any numbers in it."""
    storage = (
        b"((" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu") + integer(count)
    )
    shape = b"(" + b"".join(map(integer, size)) + b"t(" + b"".join(map(integer, stride)) + b"t"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n" + storage + b"tQ" + integer(offset) + shape
    return b"\x80\x02}" + text("w") + call + b"\x89N" + b"tRs."


def laughs(depth: int = 40, script: bool = False) -> bytes:
    """Each level holds the one before twice: short in the file, endless to walk."""
    made = b"\x80\x02" + (b"c__torch__\nM\n)\x81" if script else b"]") + b"q\x000"
    for i in range(1, depth):
        below = b"h%c" % (i - 1)
        pair = b"(" + text("a") + below + text("b") + below
        made += b"c__torch__\nM\n)\x81}" + pair + b"ub" if script else b"](" + below + below + b"e"
        made += b"q%c0" % i
    return made + b"h%c." % (depth - 1)


def programs(sentinel: Path) -> dict[str, bytes]:
    """Pickles that run something in Python's own unpickler, each another way."""
    command = f"touch {sentinel}"
    line = command.encode()
    state = text("__setstate__") + b"cos\nsystem\n"
    return {
        "reduce": pickle.dumps(Evil(sentinel), 2),
        "reduce_protocol_4": pickle.dumps(Evil(sentinel), 4),
        "global_and_build": b"\x80\x02cargparse\nNamespace\n)\x81}" + state + b"sb" + text(command) + b"b.",
        "inst": b"(S'" + line + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + line + b"'\no.",
        "newobj": b"\x80\x02csubprocess\nPopen\n((" + text("touch") + text(str(sentinel)) + b"lt\x81.",
        "eval": b"\x80\x02cbuiltins\neval\n" + text(f"__import__('os').system({command!r})") + b"\x85R.",
        "partial": b"\x80\x02cfunctools\npartial\ncos\nsystem\n" + text(command) + b"\x86R)R.",
        "torch_load": b"\x80\x02ctorch\nload\n" + text("other.pt") + b"\x85R.",
        "globals": b"\x80\x04" + text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93.",
        "by_type": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN"
        + text(command)
        + b"\x85}tR.",
        "reconstructor": b"\x80\x02ccopyreg\n_reconstructor\n(cos\nsystem\ncbuiltins\nobject\nNtR.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent_line": b"Pos.system\n.",
    }


def hostile(folder: Path, sentinel: Path) -> dict[str, Path]:
    """The corpus, by what is wrong with it."""
    evil, weights = programs(sentinel), {"w": torch.arange(6.0)}
    files = {f"zip_{name}": torch_zip(program) for name, program in evil.items()}
    files |= {f"legacy_{name}": legacy(evil[name], []) for name in ("reduce", "inst", "obj")}
    files |= {f"bare_{name}": evil[name] for name in ("reduce", "reduce_protocol_4")}
    for new in (True, False):
        out = io.BytesIO()
        nested = {"state_dict": {**weights, "x": Evil(sentinel)}, "epoch": 3}
        torch.save(nested, out, _use_new_zipfile_serialization=new)
        files[f"in_state_dict_{'zip' if new else 'legacy'}"] = out.getvalue()
    script = {"code/__torch__.py": b"", "constants.pkl": b"\x80\x02)."}
    files["torchscript_reduce"] = torch_zip(evil["reduce"], **script)
    files["torchscript_laughs"] = torch_zip(laughs(script=True), **script)
    files["memo_bomb"] = torch_zip(b"\x80\x02Nr\xf0\xff\xff\xff.")
    files["laughs"] = torch_zip(laughs())
    files["deep_lists"] = torch_zip(b"\x80\x02" + b"]" * 100_001 + b"a" * 100_000 + b".")
    files["deep_tuples"] = torch_zip(b"\x80\x02)" + b"\x85" * 5_000 + b".")
    files["deep_key"] = torch_zip(b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns.")
    files["long_text"] = torch_zip(b"\x80\x02\x8d" + struct.pack("<Q", 1 << 40) + b"abc.")
    files["huge_storage"] = torch_zip(tensor(0, [1 << 40], [1], 1 << 40), {"0": b"\0" * 16})
    files["huge_legacy_storage"] = legacy(
        tensor(0, [1 << 40], [1], 1 << 40), ["0"], struct.pack("<q", 1 << 40)
    )
    files["repeated"] = torch_zip(tensor(0, [1 << 40], [0], 4), {"0": b"\0" * 16})
    files["negative_stride"] = torch_zip(tensor(3, [4], [-1], 4), {"0": b"\0" * 16})
    files["negative_size"] = torch_zip(tensor(0, [-4], [1], 4), {"0": b"\0" * 16})
    files["offset_outside"] = torch_zip(tensor(3, [4], [1], 4), {"0": b"\0" * 16})
    files["big_endian"] = zipped(
        {"a/data.pkl": tensor(0, [4], [1], 4), "a/data/0": bytes(16), "a/byteorder": b"big"}
    )
    files["big_endian_legacy"] = legacy(pickle.dumps({}, 2), [], little=False)
    files["bool_of_nines"] = torch_zip(tensor(0, [4], [1], 4, "BoolStorage"), {"0": b"\x09" * 4})
    files["unknown_storage"] = torch_zip(tensor(0, [4], [1], 4, "ComplexFloatStorage"), {"0": bytes(32)})
    files |= archives()
    files |= others(weights)
    for name, data in files.items():
        (folder / f"{name}.bin").write_bytes(data)
    (folder / "folder.bin").mkdir()
    return {name: folder / f"{name}.bin" for name in (*files, "folder")}


def archives() -> dict[str, bytes]:
    good = torch_zip(tensor(0, [4], [1], 4), {"0": bytes(16)})
    encrypted, link = bytearray(good), zipfile.ZipInfo("a/data/1")
    encrypted[good.index(b"PK\x01\x02") + 8] |= 1
    link.external_attr = 0o120777 << 16
    linked = io.BytesIO(good)
    with zipfile.ZipFile(linked, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    twice = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(twice, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data.pkl", b"\x80\x02}.")
    liar = bytearray(zipped({"a/data.pkl": b"\x80\x02}." + bytes(5000)}, zipfile.ZIP_DEFLATED))
    for sign, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = liar.index(sign) + place
        liar[at : at + 4] = struct.pack("<I", 4)
    overlap = bytearray(zipped({"a/x": bytes(64), "a/y": bytes(64)}))
    second = overlap.index(b"PK\x01\x02", overlap.index(b"PK\x01\x02") + 4)
    overlap[second + 42 : second + 46] = struct.pack("<I", 0)
    directory = bytearray(good)
    directory[-10:-6] = struct.pack("<I", 0x7FFFFFFF)
    return {
        "zip_bomb": bomb(80 << 20),
        "zip_liar": bytes(liar),
        "zip_overlap": bytes(overlap),
        "zip_directory_bomb": bytes(directory),
        "zip_traversal": zipped({"../../outside/data.pkl": b"\x80\x02}."}),
        "zip_absolute": zipped({"/tmp/data.pkl": b"\x80\x02}."}),
        "zip_backslash": zipped({"a\\..\\data.pkl": b"\x80\x02}."}),
        "zip_link": linked.getvalue(),
        "zip_twice": twice.getvalue(),
        "zip_encrypted": bytes(encrypted),
        "zip_cut": good[:-40],
        "zip_half": good[: len(good) // 2],
        "zip_tail": good + b"tail",
        "zip_without_pickle": zipped({"readme.txt": b"hello"}),
        "zip_flipped": good.replace(bytes(16), bytes(15) + b"\x01", 1),
        "zip_short_storage": torch_zip(tensor(0, [4], [1], 4), {"0": bytes(12)}),
        "zip_no_storage": torch_zip(tensor(0, [4], [1], 4)),
        "zip_lzma": zipped({"a/data.pkl": b"\x80\x02}."}, zipfile.ZIP_LZMA),
    }


def bomb(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", tensor(0, [size // 4], [1], size // 4))
        archive.writestr("a/data/0", bytes(size))
    return out.getvalue()


def others(weights: dict[str, torch.Tensor]) -> dict[str, bytes]:
    whole = save(weights)
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    objects, lying = io.BytesIO(), io.BytesIO()
    np.savez(objects, w=np.array([{"a": 1}], dtype=object))
    np.save(lying, np.zeros(4))
    lied = lying.getvalue().replace(b"(4,), }                ", b"(400000000000,), }     ")
    swapped = io.BytesIO()
    np.savez(swapped, w=np.zeros(3, ">f4"))

    def header(text: str, data: bytes = bytes(32)) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode() + data

    entry = '{"dtype":"F32","shape":[4],"data_offsets":[%d,%d]}'
    return {
        "safetensors_cut": whole[:-4],
        "safetensors_header_cut": whole[:20],
        "safetensors_long": whole + b"more",
        "safetensors_wrong_length": struct.pack("<Q", start - 8 - 3) + whole[8:],
        "safetensors_huge_header": struct.pack("<Q", 1 << 60) + whole[8:],
        "safetensors_overlap": header(f'{{"a":{entry % (0, 16)},"b":{entry % (8, 24)}}}', bytes(24)),
        "safetensors_outside": header(f'{{"a":{entry % (1 << 40, (1 << 40) + 16)}}}'),
        "safetensors_dtype": header('{"a":{"dtype":"F99","shape":[4],"data_offsets":[0,16]}}', bytes(16)),
        "safetensors_complex": header('{"a":{"dtype":"C64","shape":[2],"data_offsets":[0,16]}}', bytes(16)),
        "safetensors_deep": header('{"a":' + "[" * 5000, b""),
        "safetensors_empty": header("{}", b""),
        "safetensors_nan": save({"w": torch.tensor([1.0, float("nan")])}),
        "safetensors_infinity": save({"w": torch.tensor([1.0, float("-inf")], dtype=torch.bfloat16)}),
        "npz_objects": objects.getvalue(),
        "npz_declared": zipped({"w.npy": lied}),
        "npz_big_endian": swapped.getvalue(),
        "npz_no_header": zipped({"w.npy": b"\x93NUMPY\x01\x00\xff\xff{" + b"(" * 300}),
        "empty": b"",
        "zeros": bytes(4096),
        "html": b"<!DOCTYPE html><html><body>Please log in</body></html>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        "text": b"404: Not Found",
        "tar": b"sys_info".ljust(257, b"\0") + b"ustar\x0000" + bytes(500),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(200),
        "gguf": b"GGUF\x03\0\0\0" + bytes(200),
        "gzip": zlib.compress(b"x", wbits=31),
        "noise": bytes(range(255, 100, -1)),
    }


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sentinel") / "ran"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, sentinel: Path) -> dict[str, Path]:
    return hostile(tmp_path_factory.mktemp("hostile"), sentinel)


@pytest.fixture(scope="module")
def refusals(corpus: dict[str, Path], sentinel: Path) -> dict[str, CheckpointError]:
    """What each file is refused with; one that hangs ends the tests, one that runs shows."""

    def stop(*_: object) -> None:
        raise AssertionError(f"still reading after {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    errors = {}
    for name, path in corpus.items():
        signal.alarm(LIMIT_S)
        errors[name] = refusal(path)
        assert not sentinel.exists(), name
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    return errors


def refusal(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    return caught.value


def test_the_corpus_is_large_and_really_hostile(corpus, sentinel, tmp_path):
    assert len(corpus) >= 70
    harmless = tmp_path / "harmless"
    for name in ("reduce", "global_and_build", "inst", "obj", "eval", "partial"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pickle.loads(programs(harmless)[name])  # Python's own reader does run it
        assert harmless.exists(), name
        harmless.unlink()
    assert not sentinel.exists()


def test_every_file_is_refused_with_what_to_do(corpus, refusals):
    for name, error in refusals.items():
        assert str(corpus[name]) in error.given, name
        assert error.wanted, name
        assert error.hint, name


def test_what_a_pickle_asks_for_is_named(refusals):
    asked = {
        "zip_reduce": "system",
        "zip_newobj": "subprocess.Popen",
        "zip_eval": "builtins.eval",
        "zip_partial": "functools.partial",
        "zip_torch_load": "torch.load",
        "zip_inst": "INST",
        "zip_obj": "os.system",
        "zip_extension": "EXT1",
        "in_state_dict_zip": "system",
        "in_state_dict_legacy": "system",
        "legacy_reduce": "system",
        "torchscript_reduce": "system",
        "zip_globals": "__globals__",
    }
    for name, what in asked.items():
        assert what in refusals[name].given, name


def test_what_is_wrong_is_said(refusals):
    said = {
        "memo_bomb": "memo",
        "deep_lists": "nested deeper",
        "zip_bomb": "unpack to",
        "zip_traversal": "leads out",
        "zip_absolute": "leads out",
        "zip_backslash": "leads out",
        "zip_link": "is a link",
        "zip_twice": "one name",
        "zip_encrypted": "encrypted",
        "zip_cut": "without its end",
        "zip_overlap": "two names",
        "zip_flipped": "check sum",
        "huge_storage": "should hold",
        "negative_stride": "below zero",
        "offset_outside": "does not fit its storage",
        "repeated": "does not fit its storage",
        "big_endian": "big-endian",
        "safetensors_nan": "w holds NaN or infinity",
        "safetensors_infinity": "w holds NaN or infinity",
        "safetensors_complex": "C64",
        "safetensors_empty": "no tensors",
        "npz_objects": "Python objects",
        "npz_declared": "and holds",
        "npz_big_endian": ">f4",
        "empty": "is empty",
        "zeros": "zeros",
        "html": "web page",
        "lfs": "Git LFS",
        "tar": "tar archive",
        "hdf5": "HDF5",
        "gguf": "GGUF",
        "gzip": "gzip",
        "text": "404: Not Found",
        "folder": "is a folder",
        "bare_reduce": "bare pickle",
        "zip_without_pickle": "no data.pkl",
    }
    for name, what in said.items():
        assert what in refusals[name].given, name


def test_memory_stays_small(corpus, monkeypatch):
    """Python's own allocations and those of tensors: no bomb makes either grow."""
    asked: list[int] = []
    empty = torch.empty

    def spied(size: int, **options: object) -> torch.Tensor:
        asked.append(size)
        return empty(size, **options)

    monkeypatch.setattr(torch, "empty", spied)
    for path in map(corpus.get, BOMBS):
        asked.clear()
        tracemalloc.start()
        refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < PEAK_BYTES, path
        assert sum(asked) < PEAK_BYTES, path


CHILD = """
import resource, sys, time
from pathlib import Path
from limner.convert.weights import read_weights
from limner.errors import CheckpointError
def now():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmPeak")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (now() + int(sys.argv[1]),) * 2)
for name in sys.argv[2:]:
    start = time.monotonic()
    try:
        read_weights(Path(name))
    except CheckpointError:
        assert time.monotonic() - start < 20, name
    else:
        raise SystemExit(f"{name} was read")
"""


@pytest.mark.slow
def test_the_operating_system_sees_no_more_memory_either(corpus):
    """In a process that may take 256 MiB more than limner itself, every file is still refused properly."""
    command = [sys.executable, "-c", CHILD, str(256 << 20), *map(str, corpus.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_large_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.pt"
    path.write_bytes(bomb(1 << 29))
    start = time.monotonic()
    assert "unpack to" in refusal(path).given
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("head", "looks"),
    [
        (b"", "empty"),
        (b"\n\n<html>", "web page"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"hello there", "text file that starts with 'hello there'"),
        (b"\xff\xd8\xff\xe0", "ff d8 ff e0"),
    ],
)
def test_what_a_file_looks_like(head, looks):
    error = foreign("model.bin", head)
    assert looks in error.given
    assert error.given.startswith("model.bin is ")
    assert error.hint
