"""Processes of one run on this machine; the limner they run is a small script of the tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limner.train import launch as module
from limner.train.launch import launch

LIMNER = """
import os, signal, sys, time
from pathlib import Path
out, rank = Path(sys.argv[1]), os.environ["RANK"]
told = [os.environ[name] for name in ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")]
(out / f"began-{rank}").write_text(" ".join(told))
match sys.argv[2]:
    case "fail":
        if rank == "1":
            sys.exit(7)
        time.sleep(60)
    case "wait":
        def stop(*_):
            (out / f"saved-{rank}").touch()
            sys.exit(0)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        (out / f"ready-{rank}").touch()
        time.sleep(60)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for `python -m limner`."""
    (tmp_path / "limner.py").write_text(LIMNER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_each_process_knows_its_place(package: Path) -> None:
    assert launch(3, [str(package), "end"]) == 0
    for rank in range(3):
        assert (package / f"began-{rank}").read_text() == f"3 {rank} 127.0.0.1"


def test_when_one_fails_all_end_with_its_code(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE_S", 0.5)
    started = time.monotonic()
    assert launch(2, [str(package), "fail"]) == 7
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_process(number: signal.Signals, package: Path) -> None:
    """Asked to stop, they save and end by themselves, and the launcher ends as they do."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    script = package / "launcher.py"
    script.write_text(f"{source}\nsys.exit(launch(2, [{str(package)!r}, 'wait']))", encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ}, start_new_session=True)
    deadline = time.monotonic() + 30
    while not all((package / f"ready-{rank}").exists() for rank in range(2)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(number)
    assert parent.wait(timeout=30) == 0
    assert all((package / f"saved-{rank}").exists() for rank in range(2))
