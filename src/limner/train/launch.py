"""Several processes of one run on this machine, and one Ctrl-C for all of them.

`torchrun` starts limner just as well, on one machine or many. This launcher is for one machine: the processes
save and end by themselves when they are asked to, and its exit code is theirs.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

_GRACE_S: Final = 20.0
"""For the others to end once one has failed."""


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run `limner ARGUMENTS` in so many processes that know of each other.

    Args:
        processes: how many; the first alone talks.
        arguments: of the command line.
    Returns: 0, or the exit code of the first that failed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    every = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    every |= {"LOCAL_WORLD_SIZE": str(processes), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "limner", *arguments],
            env={**os.environ, **every, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(processes)
    ]

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _ended(children)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(children: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait for all; when one fails the others, who would wait for it, are ended too."""
    while True:
        codes = [child.poll() for child in children]
        failed = [code for code in codes if code]
        if failed:
            _end(children)
            return failed[0]
        if None not in codes:
            return 0
        time.sleep(0.1)


def _end(children: Sequence["subprocess.Popen[bytes]"]) -> None:
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and any(child.poll() is None for child in children):
        time.sleep(0.1)
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()
