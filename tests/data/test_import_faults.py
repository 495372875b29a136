"""Every fault in one folder, at known places: an import puts each where it belongs."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.data.importing import ImportOptions, import_source
from limner.data.table import Table

FAULTS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("faults.py")))
KINDS, make = FAULTS["KINDS"], FAULTS["make"]
Truth = dict[str, tuple[Any, ...]]

MEASURE = """
import ctypes, json, sys
from pathlib import Path
import psutil
from limner.data.importing import ImportOptions, import_source
resident, trim = [], getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)
for number in range(4):
    import_source(sys.argv[1], f"{sys.argv[2]}/{number}.lance", ImportOptions(max_bad=1))
    trim(0)  # what is free already, and the allocator keeps, is no leak
    resident.append(psutil.Process().memory_info().rss // 2**20)
status = Path("/proc/self/status").read_text()  # ru_maxrss would count the parent's, before the exec
peak = int(status.split("VmHWM:")[1].split()[0]) // 2**10
print(json.dumps({"resident": resident, "peak": peak}))
"""


def fill(folder: Path, count: int) -> Truth:
    """Files of all kinds in an order that chance decides; what is to become of each."""
    folder.mkdir()
    truth: Truth = {}
    for number, kind in enumerate(np.random.default_rng(count).choice(list(KINDS), count).tolist()):
        fault = make(kind, number)
        name = f"{number:05d}.jpg"
        (folder / name).write_bytes(fault.data)
        truth[name] = (fault.reason,) if fault.reason else (None, fault.width, fault.height, fault.format)
    (folder / "dangling.png").symlink_to(folder / "nothing.png")
    with open(folder / "large.jpg", "wb") as file:
        file.truncate(65 * 1024 * 1024)
    return truth | {"dangling.png": ("missing",), "large.jpg": ("too_large",)}


def landed(out: Path) -> Truth:
    """What became of each file."""
    rows = Table.open(out).batches(("key", "width", "height", "format"))
    kept = {row["key"]: (None, row["width"], row["height"], row["format"]) for batch in rows for row in batch}
    quarantine = Table.open(out.with_name(f"{out.stem}.quarantine.lance"))
    refused = {
        row["key"]: (row["reason"],) for batch in quarantine.batches(("key", "reason")) for row in batch
    }
    assert not kept.keys() & refused.keys()
    return kept | refused


def test_each_of_three_hundred_lands_where_it_should(tmp_path: Path) -> None:
    truth = fill(tmp_path / "pictures", 300)
    import_source(tmp_path / "pictures", tmp_path / "t.lance", ImportOptions(max_bad=1))
    assert landed(tmp_path / "t.lance") == truth


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_each_of_ten_thousand_lands_where_it_should_and_memory_stays(tmp_path: Path) -> None:
    truth = fill(tmp_path / "pictures", 10_000)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "pictures"), str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True).stdout
    measured = json.loads(told.splitlines()[-1])
    for number in range(4):
        assert landed(tmp_path / f"{number}.lance") == truth
    _, second, *later = measured["resident"]  # the first fills the allocators' pools
    assert min(later) - second < 50, measured
    assert measured["peak"] < 1200, measured
