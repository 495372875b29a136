"""When a run should end before its last step: Ctrl-C, SIGTERM, or a budget of minutes."""

import signal
import threading
import time
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """While entered, the first Ctrl-C or SIGTERM only sets `reason`; a second one acts as it always did.

    Args:
        max_minutes: budget from now on; None is no budget.
        patience: further signals that are let pass: `torchrun` repeats a Ctrl-C that every rank has had.
    """

    def __init__(self, max_minutes: float | None = None, patience: int = 0) -> None:
        self.patience = patience
        self.deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._signal = ""
        self._before: dict[signal.Signals, Any] = {}

    @property
    def reason(self) -> str:
        """Why to stop now; empty when there is no reason to."""
        if self._signal:
            return self._signal
        return "max_minutes" if self.deadline is not None and time.monotonic() >= self.deadline else ""

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._signal = self._signal or signal.Signals(number).name
        if self.patience == 0:
            self._restore()
        self.patience -= 1

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
