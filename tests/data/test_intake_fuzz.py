"""Mutated real files come in or are refused with a reason, in bounded time and memory."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.data.intake import REASONS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fuzzing() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "intake.py"))


def test_a_few_hundred_mutated_files(fuzzing: dict[str, Any]) -> None:
    check(fuzzing["fuzz"](400, seed=1), seconds=5)


@pytest.mark.slow
def test_thousands_of_mutated_files(fuzzing: dict[str, Any]) -> None:
    check(fuzzing["fuzz"](6000, seed=2), seconds=5)


def check(found: dict[str, Any], seconds: float) -> None:
    seen = {what for counts in found["counts"].values() for what in counts}
    assert seen <= {"RGB", *REASONS}, seen
    assert {"RGB", "truncated", "not_a_picture"} <= seen
    assert found["slowest"][0][0] < seconds
    assert found["rss"][-1] - found["rss"][0] < 200


def test_a_crash_would_be_seen(fuzzing: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **options: Any) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setitem(fuzzing["outcome"].__globals__, "open_picture", broken)
    assert fuzzing["outcome"](b"x").what == "CRASH ZeroDivisionError: by zero"


def test_every_mutation_changes_files(fuzzing: dict[str, Any]) -> None:
    data = bytes(range(256)) * 4
    for change in fuzzing["MUTATIONS"]:
        rng = np.random.default_rng(0)
        assert any(change(rng, data, data[::-1]) != data for _ in range(5)), change


@pytest.mark.slow
def test_memory_stays_over_20_000_faulty_files(fuzzing: dict[str, Any]) -> None:
    """In a process of its own; the first tenth fills the allocator's pools."""
    program = f"import runpy; print(*runpy.run_path({str(ROOT / 'benchmarks/intake.py')!r})['leak'](20_000))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    resident = [int(value) for value in done.stdout.split()]
    assert len(resident) == 10
    assert resident[-1] - resident[1] <= 8


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account of memory")
def test_a_bomb_of_13_300_a_side_costs_little(fuzzing: dict[str, Any], tmp_path: Path) -> None:
    """177 megapixels in 21 KB, in a process of its own; 50 ms is the bar of the slow test."""
    found = fuzzing["bomb"](tmp_path)
    assert found["bytes"] < 25_000
    assert found["reason"] == "too_many_pixels"
    assert found["kb"] < 50_000
    assert found["ms"] < 1000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account of memory")
def test_a_bomb_of_13_300_a_side_is_refused_at_once(fuzzing: dict[str, Any], tmp_path: Path) -> None:
    assert min(fuzzing["bomb"](tmp_path)["ms"] for _ in range(3)) < 50
