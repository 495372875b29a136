"""Mutated picture files through the one door: only `PictureError` may come out, in bounded time and memory.

    python benchmarks/intake.py                     50,000 inputs
    python benchmarks/intake.py --inputs 200000 --seed 7 --write

Real files of every format and kind that the tests know (`tests/data/faults.py`) are mutated one to four
times: bits flipped, cut short, spliced with another file, header fields and length fields overwritten, chunks
repeated. Every input is opened with a cap of one million pixels, and with a small side wanted for every
second. Then 20,000 of the faulty files themselves are opened, to see that memory stays. Also timed: a PNG of
13,300 x 13,300 pixels, in a process of its own.
"""

import argparse
import collections
import json
import os
import platform
import runpy
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import psutil

from limner.data.intake import REASONS, Limits, open_picture
from limner.errors import PictureError

ROOT = Path(__file__).resolve().parents[1]
FAULTS: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "data" / "faults.py"))
LIMITS = Limits(max_pixels=1_000_000)
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
MARKS = (
    b"\xff\xd8",
    b"\xff\xda",
    b"\xff\xd9",
    b"IDAT",
    b"fcTL",
    b"VP8X",
    b"ftypavif",
    b"ftypheic",
    b"II*\x00",
)

BOMB = """
import sys, time
from limner.data.intake import open_picture
from limner.errors import PictureError

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])

small, data = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read()
open_picture(small)
before, begin = status("VmRSS:"), time.perf_counter()
try:
    open_picture(data)
except PictureError as error:
    spent = time.perf_counter() - begin
    print(error.reason, len(data), status("VmHWM:") - before, spent)
"""


class Outcome(NamedTuple):
    """What became of one input: "RGB", a reason, or the name of an error that should not be."""

    what: str
    seconds: float


def seeds() -> dict[str, bytes]:
    """Two files of every kind that comes in, and small broken ones."""
    made = {f"{kind}-{seed}": FAULTS["make"](kind, seed).data for kind in FAULTS["KINDS"] for seed in (0, 1)}
    return {name: data for name, data in made.items() if 0 < len(data) < 40_000}


def mutated(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """One to four mutations of a file."""
    for _ in range(int(rng.integers(1, 5))):
        change = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        data = change(rng, data or b"\x00", other)
    return data


def _bits(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    made = bytearray(data)
    for at in rng.integers(0, len(made), int(rng.integers(1, 9))):
        made[at] ^= 1 << int(rng.integers(8))
    return bytes(made)


def _cut(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    return data[: int(rng.integers(0, len(data) + 1))]


def _splice(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    return data[: int(rng.integers(0, len(data)))] + other[int(rng.integers(0, len(other))) :]


def _field(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """An edge value of 1, 2, 4 or 8 bytes somewhere in the first 128."""
    return _overwritten(rng, data, int(rng.integers(0, min(len(data), 128))))


def _length(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """An edge value right before or behind a chunk's name, a marker or a box's type, or anywhere."""
    found = [data.find(mark) for mark in MARKS]
    places = [at + step for at in found if at >= 4 for step in (-4, 2, 4)] or [int(rng.integers(len(data)))]
    return _overwritten(rng, data, min(places[int(rng.integers(len(places)))], len(data) - 1))


def _overwritten(rng: np.random.Generator, data: bytes, at: int) -> bytes:
    code, size = [("B", 1), ("H", 2), ("I", 4), ("Q", 8)][int(rng.integers(4))]
    value = EDGES[int(rng.integers(len(EDGES)))] & (256**size - 1)
    packed = struct.pack(("<" if rng.random() < 0.5 else ">") + code, value)
    return data[:at] + packed + data[at + size :]


def _repeat(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A piece of up to 400 bytes, two to 200 times over."""
    begin = int(rng.integers(0, len(data)))
    piece = data[begin : begin + int(rng.integers(1, 400))]
    return data[:begin] + piece * int(rng.integers(2, 200)) + data[begin + len(piece) :]


MUTATIONS: tuple[Callable[[np.random.Generator, bytes, bytes], bytes], ...] = (
    *(_bits, _cut, _splice, _field, _length, _repeat),
)


def outcome(data: bytes, max_side: int | None = None) -> Outcome:
    """Open one input; anything but a picture or a known reason is named by its error."""
    begin = time.thread_time()
    try:
        what = open_picture(data, LIMITS, max_side=max_side).image.mode
    except PictureError as error:
        what = error.reason if error.reason in REASONS else f"unknown reason {error.reason}"
    except Exception as error:
        what = f"CRASH {type(error).__name__}: {error}"
    return Outcome(what, time.thread_time() - begin)


def fuzz(inputs: int, seed: int) -> dict[str, Any]:
    """Counts by kind and outcome, the slowest inputs, memory over time."""
    rng, files, process = np.random.default_rng(seed), list(seeds().items()), psutil.Process()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slowest: list[tuple[float, int, str, str]] = []
    resident = []
    for number in range(inputs):
        name, data = files[number % len(files)]
        made = mutated(rng, data, files[int(rng.integers(len(files)))][1])
        found = outcome(made, 16 if number % 2 else None)
        counts[name.rsplit("-", 1)[0]][found.what] += 1
        slowest = sorted([*slowest, (found.seconds, number, name, found.what)], reverse=True)[:5]
        if number % (inputs // 10 or 1) == 0:
            resident.append(process.memory_info().rss // 2**20)
    return {
        "counts": {kind: dict(found) for kind, found in counts.items()},
        "slowest": slowest,
        "rss": resident,
    }


def leak(opens: int) -> list[int]:
    """Resident MB at ten moments of opening faulty files as they are."""
    names = [kind for kind in FAULTS["BROKEN"] if kind not in ("scan_bomb", "tiff_strips")]
    broken = [FAULTS["make"](kind, seed).data for kind in names for seed in range(4)]
    process, resident = psutil.Process(), []
    for number in range(opens):
        outcome(broken[number % len(broken)])
        if number % (opens // 10 or 1) == 0:
            resident.append(process.memory_info().rss // 2**20)
    return resident


def bomb(folder: Path, side: int = 13_300) -> dict[str, Any]:
    """Cost of refusing a PNG of that side in a process that has opened a small picture before."""
    import zlib

    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1 + (side + 7) // 8)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    files = {
        "small.png": FAULTS["make"]("png", 0).data,
        "bomb.png": FAULTS["png_of"]((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    paths = [str(folder / name) for name in files]
    done = subprocess.run([sys.executable, "-c", BOMB, *paths], capture_output=True, text=True, check=True)
    reason, size, grown, spent = done.stdout.split()
    return {"side": side, "bytes": int(size), "reason": reason, "kb": int(grown), "ms": float(spent) * 1e3}


def main() -> None:
    """Run all, print, and write the record when asked."""
    import tempfile

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--opens", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("error")  # a warning is a crash too
    begin = time.perf_counter()
    found = fuzz(options.inputs, options.seed)
    total: collections.Counter[str] = collections.Counter()
    for kind, counts in found["counts"].items():
        total.update(counts)
        print(f"{kind:16s}", "  ".join(f"{what} {n}" for what, n in sorted(counts.items())))
    crashes = sum(n for what, n in total.items() if what not in (*REASONS, "RGB"))
    found |= {"inputs": options.inputs, "seed": options.seed, "total": dict(total), "crashes": crashes}
    found["seconds"] = time.perf_counter() - begin
    found["leak"] = {"opens": options.opens, "rss": leak(options.opens)}
    with tempfile.TemporaryDirectory() as folder:
        found["bomb"] = bomb(Path(folder))
    status = Path("/proc/self/status").read_text().splitlines()
    found["peak_mb"] = next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))
    found["machine"] = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "pillow": PIL.__version__,
    }
    for name in ("total", "crashes", "slowest", "rss", "leak", "bomb", "peak_mb", "seconds"):
        print(f"{name}: {found[name]}")
    if options.write:
        path = ROOT / "benchmarks" / "records" / "intake-fuzz.json"
        path.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()
