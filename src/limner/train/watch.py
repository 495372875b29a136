"""How a run is watched: means of what steps tell, a stopwatch, a progress bar."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

Report = Callable[[str], None]
"""Takes one line for the user; the command line prints it."""


def silent(line: str) -> None:
    """The reporter that says nothing."""


class Window:
    """Means of named scalars since they were last asked for; they stay on the device, so no step waits."""

    def __init__(self) -> None:
        self.steps = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take one step's scalars."""
        self.steps += 1
        for name, value in values.items():
            scalar = value.detach().float()
            self._sums[name] = self._sums[name] + scalar if name in self._sums else scalar

    def take(self) -> dict[str, float]:
        """The means, by name; the window is empty afterwards. One transfer from the device."""
        if not self._sums:
            return {}
        means = (torch.stack(list(self._sums.values())) / self.steps).tolist()
        result = dict(zip(self._sums, means, strict=True))
        self.steps, self._sums = 0, {}
        return result


class Stopwatch:
    """Time spent in training since it was last asked, and how much of it was spent waiting for data."""

    def __init__(self) -> None:
        self._since, self._waited = time.perf_counter(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block as waiting for data."""
        started = time.perf_counter()
        yield
        self._waited += time.perf_counter() - started

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the block out of training time."""
        started = time.perf_counter()
        yield
        self._since += time.perf_counter() - started

    def take(self) -> tuple[float, float]:
        """Seconds, and seconds waited, since the last call."""
        now = time.perf_counter()
        result = now - self._since, self._waited
        self._since, self._waited = now, 0.0
        return result


class Display:
    """A progress bar with the time left on a terminal; one plain line per log interval elsewhere.

    Args:
        steps: length of the run.
        start: steps already taken.
        report: takes the plain lines.
    """

    def __init__(self, steps: int, start: int, report: Report) -> None:
        self.steps, self.report = steps, report
        self.bar: Progress | None = None
        if sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("train"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task("train", total=steps, completed=start, note="")

    def __enter__(self) -> "Display":
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def advance(self, step: int) -> None:
        """Show that `step` steps are done."""
        if self.bar:
            self.bar.update(self.task, completed=step)

    def note(self, record: Mapping[str, Any]) -> None:
        """Show a train record."""
        if self.bar:
            self.bar.update(
                self.task, note=f"loss {record['loss']:.3f}  {record['samples_per_s']:.0f} samples/s"
            )
        else:
            self.report(_line(record, self.steps))

    def say(self, line: str) -> None:
        """Show one line above the bar."""
        if self.bar:
            self.bar.console.print(line, highlight=False)
        else:
            self.report(line)


def _line(record: Mapping[str, Any], steps: int) -> str:
    terms = "  ".join(f"{name} {value:.3f}" for name, value in record["terms"].items())
    left_min = record["left_s"] / 60
    return (
        f"step {record['step']:>7}/{steps}  loss {record['loss']:.3f}  {terms}  lr {record['lr']:.2e}  "
        f"{record['samples_per_s']:.0f} samples/s  {left_min:.1f} min left"
    )


def resident_bytes() -> int:
    """Memory that this process and its workers hold now."""
    process = psutil.Process()
    family = [process, *process.children(recursive=True)]
    return sum(member.memory_info().rss for member in family if member.is_running())
