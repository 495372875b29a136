"""Stages of a job that is safe to stop: each is done once, recorded, and reused while it is still valid.

A stage's record holds its identity (a digest of everything it depends on), its facts (small plain values that
later stages and later runs read) and what it cost. `records.jsonl` is the only memory; there is no other
state.
"""

import hashlib
import json
import platform
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

import psutil
import torch

import limner
from limner.record import Recorder, read_records

Facts = dict[str, Any]
Progress = Callable[[int, int | None], None]
"""Told of items done and items in all, None where nobody knows."""


class Teller(Protocol):
    """Whoever watches: a terminal, a notebook, a test."""

    def say(self, line: str, /) -> None:
        """Take one line."""
        ...

    def bar(self, title: str, /) -> AbstractContextManager[Progress]:
        """Show how far a job is while the block runs."""
        ...


class Stages:
    """Runs stages, or reuses them.

    Args:
        recorder: of the run; earlier records are read from the same file.
        teller: hears what is reused.
    """

    def __init__(self, recorder: Recorder, teller: Teller) -> None:
        self.recorder, self.teller = recorder, teller
        done = read_records(recorder.path, "stage") if recorder.path.exists() else []
        self._done = {record["name"]: record for record in done}

    def run(
        self,
        name: str,
        title: str,
        inputs: Facts,
        work: Callable[[], Facts],
        valid: Callable[[Facts], bool] = lambda facts: True,
    ) -> Facts:
        """Do a stage, unless it was done before with the same inputs and what it left is still there.

        Args:
            name: of the stage.
            title: for people.
            inputs: everything the outcome depends on, plain values.
            work: does it; returns the facts.
            valid: looks at the facts of an earlier run and says whether its outputs stand.
        Returns: the facts, as recorded.
        """
        identity = identify({"limner": limner.__version__, "stage": name, **inputs})
        known = self._done.get(name)
        if known is not None and known["identity"] == identity and valid(known["facts"]):
            self.teller.say(f"{title}: still valid from an earlier run, reused")
            return self._record(name, title, identity, known["facts"], 0.0, known["peak_rss_gb"], reused=True)
        started = time.perf_counter()
        with PeakMemory() as memory:
            facts = work()
        seconds = time.perf_counter() - started
        seconds, peak = round(seconds, 3), round(memory.peak_gb, 3)
        self.teller.say(f"{title}: {seconds:.1f} s, {peak:.2f} GB of memory at most")
        return self._record(name, title, identity, facts, seconds, peak, reused=False)

    def _record(
        self, name: str, title: str, identity: str, facts: Facts, seconds: float, peak: float, *, reused: bool
    ) -> Facts:
        record = self.recorder.write(
            "stage",
            name=name,
            title=title,
            identity=identity,
            seconds=seconds,
            peak_rss_gb=peak,
            reused=reused,
            facts=facts,
        )
        recorded: Facts = record["facts"]
        return recorded


def environment() -> dict[str, Any]:
    """Where this runs."""
    return {
        "limner": limner.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": psutil.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def identify(inputs: Facts) -> str:
    """12 hex digits that change when any of some plain values does."""
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class PeakMemory:
    """The most memory this process held while the block ran, looked at twenty times a second."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def peak_gb(self) -> float:
        """Resident memory, 10⁹ bytes."""
        return self._peak / 1e9

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self._look()

    def _look(self) -> None:
        self._peak = max(self._peak, self._process.memory_info().rss)
