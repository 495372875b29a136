"""A watchdog over the loader: when no batch comes, it says where each worker stands and on which row.

Workers note what they are on (`working_on`, a microsecond): threads in a dictionary, processes in a small
mapped file each, that the main process reads. The watchdog never ends a run.
"""

import faulthandler
import mmap
import os
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

import psutil

Say = Callable[[str], None]

_HEAD: Final = struct.Struct("<qdH")  # process id, since when, bytes of text
_SLOT_BYTES: Final = 512
_STACK_WAIT_S: Final = 2.0


class Note(NamedTuple):
    """What a worker is on.

    Args:
        worker: its name.
        what: it is on; "" when it waits for work.
        since: when that began, by `time.time`.
        pid: of its process.
    """

    worker: str
    what: str
    since: float
    pid: int


_notes: dict[int, tuple[str, float]] = {}  # of threads of this process, by their id
_slots: list[mmap.mmap] = []  # in a worker process: the file its notes go to


def working_on(what: str) -> None:
    """Note what this worker is on, such as "row 'cat7' of pairs.lance"; "" when it is done.

    Any `Rows` may call it from `samples`, so that a stall names the row.
    """
    now = time.time()
    _notes[threading.get_ident()] = (what, now)
    for slot in _slots:
        text = what.encode("utf-8", "replace")[: _SLOT_BYTES - _HEAD.size]
        slot[: _HEAD.size + len(text)] = _HEAD.pack(os.getpid(), now, len(text)) + text


def enlist(folder: Path, worker: int) -> None:
    """Called in a worker process before its first batch: notes and stacks can be asked for from now on.

    Args:
        folder: of the watchdog.
        worker: number of this one.
    """
    path = folder / f"{worker}.note"
    path.write_bytes(bytes(_SLOT_BYTES))
    with path.open("r+b") as file:
        _slots[:] = [mmap.mmap(file.fileno(), _SLOT_BYTES)]
    if hasattr(signal, "SIGUSR1"):
        with (folder / f"{worker}.stack").open("w") as file:
            faulthandler.register(signal.SIGUSR1, file=os.dup(file.fileno()), all_threads=True)
    working_on("")


class Watchdog:
    """Reports once for each time that no batch came for a while; a context that ends its thread and files.

    Args:
        stall_s: seconds without a batch, above 0.
        say: takes the report; standard error by default.
    """

    def __init__(self, stall_s: float = 60.0, say: Say | None = None) -> None:
        self._stall_s, self._say = stall_s, say or _to_stderr
        self._began = time.monotonic()
        self._waiting_since: float | None = None
        self._asked = ""
        self._batches = self._samples = 0
        self._ended = threading.Event()
        self._main = threading.get_ident()
        self.threads: Callable[[], list[threading.Thread]] = list
        self.folder = Path(tempfile.mkdtemp(prefix="limner-workers-"))

    def __enter__(self) -> "Watchdog":
        self._thread = threading.Thread(target=self._watch, name="limner-watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=5)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def waiting(self, asked: str, samples: int) -> Iterator[None]:
        """Around the wait for one batch.

        Args:
            asked: which, for the report.
            samples: it holds.
        """
        self._main, self._asked, self._waiting_since = threading.get_ident(), asked, time.monotonic()
        yield
        self._waiting_since = None
        self._batches, self._samples = self._batches + 1, self._samples + samples

    def _watch(self) -> None:
        told: float | None = None
        while not self._ended.wait(min(1.0, self._stall_s / 4)):
            since = self._waiting_since
            if since is not None and since != told and time.monotonic() - since >= self._stall_s:
                told = since
                self._say(self.report())

    def report(self) -> str:
        """Rates so far, what each worker is on, longest first, and the stacks of all of them."""
        now = time.monotonic()
        waited = now - (self._waiting_since or now)
        rate = self._samples / max(now - self._began - waited, 1e-9)
        notes = sorted(self.notes(), key=lambda note: (not note.what, note.since))
        lines = [
            f"no batch for {waited:.0f} s: waiting for {self._asked or 'the first one'}; "
            f"{self._batches} batches before it, {rate:.1f} samples/s; the run goes on waiting"
        ]
        lines += [_told(note) for note in notes]
        return "\n".join([*lines, *self._thread_stacks(), *self._process_stacks(notes)])

    def notes(self) -> list[Note]:
        """What each worker is on: processes that have started, threads, and else the thread that waits."""
        found = [note for path in sorted(self.folder.glob("*.note")) if (note := _read(path)) is not None]
        for ident, name in self._idents():
            what, since = _notes.get(ident, ("", time.time()))
            if what or name != "main thread":
                found.append(Note(name, what, since, os.getpid()))
        return found

    def _idents(self) -> list[tuple[int, str]]:
        threads = [(t.ident, t.name) for t in self.threads() if t.ident is not None]
        return [*threads, (self._main, "main thread")]

    def _thread_stacks(self) -> Iterator[str]:
        frames = sys._current_frames()
        for ident, name in self._idents():
            if ident in frames:
                yield f"--- {name}, innermost call last"
                yield "".join(traceback.format_stack(frames[ident])).rstrip()

    def _process_stacks(self, notes: list[Note]) -> Iterator[str]:
        """Ask every worker process that is ours and listens for its stacks."""
        for note in notes:
            number = note.worker.rpartition(" ")[2]
            stack = self.folder / f"{number}.stack"
            if note.pid == os.getpid() or not stack.exists() or not _is_child(note.pid):
                continue
            before = stack.stat().st_size
            os.kill(note.pid, signal.SIGUSR1)
            yield f"--- {note.worker}, innermost call first"
            yield _grown(stack, before)


def _told(note: Note) -> str:
    doing = f"has been on {note.what} for {time.time() - note.since:.0f} s" if note.what else "waits for work"
    return f"  {note.worker} {doing}"


def _read(path: Path) -> Note | None:
    data = path.read_bytes()
    if len(data) < _HEAD.size:
        return None
    pid, since, length = _HEAD.unpack_from(data)
    text = data[_HEAD.size : _HEAD.size + length].decode("utf-8", "replace")
    return Note(f"worker {path.stem}", text, since, pid) if pid else None


def _is_child(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).ppid() == os.getpid())
    except psutil.Error:
        return False


def _grown(path: Path, before: int) -> str:
    """What was added to a file, once it stops growing."""
    size, deadline = before, time.monotonic() + _STACK_WAIT_S
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if path.stat().st_size == size > before:
            break
        size = path.stat().st_size
    return path.read_text(encoding="utf-8", errors="replace")[before:].rstrip() or "(no answer)"


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
