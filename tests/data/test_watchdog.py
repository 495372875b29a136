"""The watchdog: it names the row that hangs, once, and leaves the run alone."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from limner.data.loader import Loader, Sample
from limner.data.watchdog import Watchdog, enlist, working_on


class Sleepy:
    """Rows of which number 7 takes a while."""

    def __init__(self, asleep_s: float) -> None:
        self.asleep_s = asleep_s

    def __len__(self) -> int:
        return 12

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        return [self._sample(index) for index in indices]

    def _sample(self, index: int) -> Sample:
        working_on(f"row 'cat{index}' of a table")
        if index == 7:
            snore(self.asleep_s)
        return Sample(f"cat{index}", np.zeros((2, 2, 3), np.uint8), "a cat")


def snore(asleep_s: float) -> None:
    time.sleep(asleep_s)


def keys(samples: Sequence[Sample]) -> list[str]:
    return [sample.key for sample in samples]


def first_epoch(
    workers: int, kind: str, asleep_s: float, stall_s: float, say: Callable[[str], None]
) -> set[str]:
    loader = Loader(
        Sleepy(asleep_s),
        keys,
        2,
        0,
        workers=kind,
        num_workers=workers,
        stall_s=stall_s,
        say=say,  # type: ignore[arg-type]
    )
    batches = loader.batches()
    found = {key for _ in range(6) for key in next(batches)[0]}
    batches.close()  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_it_names_the_row_that_hangs_and_shows_where(workers: int) -> None:
    told: list[str] = []
    found = first_epoch(workers, "threads", 1.2, 0.3, told.append)
    assert len(found) == 12  # the run went on
    assert len(told) == 1  # once for the stall, not once a look
    assert "no batch for 0 s: waiting for" in told[0]
    assert "samples/s" in told[0]
    assert "has been on row 'cat7' of a table" in told[0]
    assert "in snore" in told[0]
    assert ("loader_0" if workers else "main thread") in told[0]


@pytest.mark.slow
def test_it_asks_worker_processes_too() -> None:
    """In a process of its own, whose workers can import this file by its name."""
    code = "from test_watchdog import hang_in_a_worker_process; hang_in_a_worker_process()"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)


def hang_in_a_worker_process() -> None:
    told: list[str] = []
    found = first_epoch(2, "processes", 30.0, 22.0, told.append)
    assert len(found) == 12
    hung = [text for text in told if "row 'cat7'" in text]
    assert len(hung) == 1
    assert "worker" in hung[0]
    assert "in snore" in hung[0]


def test_a_long_step_of_training_is_no_stall() -> None:
    told: list[str] = []
    with Watchdog(0.1, told.append) as dog:
        with dog.waiting("the first batch", 4):
            pass
        time.sleep(0.5)
    assert told == []


def test_its_thread_and_files_end_with_it() -> None:
    with Watchdog(5.0) as dog:
        assert dog.folder.is_dir()
        assert "limner-watchdog" in [thread.name for thread in threading.enumerate()]
    assert not dog.folder.exists()
    assert "limner-watchdog" not in [thread.name for thread in threading.enumerate()]


def test_the_report_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Watchdog(0.1) as dog, dog.waiting("batch 3", 4):
        time.sleep(0.4)
    assert "waiting for batch 3" in capsys.readouterr().err


def test_notes_of_a_process_are_read_from_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "limner.data.watchdog.faulthandler.register", lambda _, file, all_threads: os.close(file)
    )
    monkeypatch.setattr("limner.data.watchdog._slots", [])
    with Watchdog(5.0) as dog:
        enlist(dog.folder, 3)
        working_on("row 'élan' " + "x" * 1000)
        noted = [note for note in dog.notes() if note.worker == "worker 3"]
        assert noted[0].what.startswith("row 'élan' xx")
        working_on("")
        assert [note.what for note in dog.notes() if note.worker == "worker 3"] == [""]
