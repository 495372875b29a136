"""How batches are made ahead: by nobody, by threads or by processes. The order asked is the order given."""

import atexit
import os
import signal
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limner.data import watchdog
from limner.data.rows import Rows, Sample
from limner.errors import DataError, LimnerError

B = TypeVar("B")
Workers = Literal["processes", "threads"]


class Request(NamedTuple):
    """Which samples make a batch: indices of one epoch."""

    epoch: int
    indices: list[int]


class Failure(NamedTuple):
    """Why a worker process could not make a batch, in a form that survives the way to the main process."""

    given: str
    wanted: str
    hint: str
    trace: str


class Batches(Dataset[B], Generic[B]):
    """The part of a loader that works: a request in, a batch out.

    Args:
        rows: what is read.
        collate: samples to a batch.
    """

    def __init__(self, rows: Rows, collate: Callable[[Sequence[Sample]], B]) -> None:
        self.rows, self.collate = rows, collate

    def __getitem__(self, request: Request) -> B:
        """Make one batch.

        Raises: DataError that names the sample that cannot be made, with the error behind it.
        """
        shown = ", ".join(map(str, request.indices[:8])) + (" …" if len(request.indices) > 8 else "")
        watchdog.working_on(f"a batch of samples {shown} of epoch {request.epoch}")
        try:
            return self.collate(self.rows.samples(request.indices, request.epoch))
        except Exception as error:
            raise self._named(request, error) from error
        finally:
            watchdog.working_on("")

    def _named(self, request: Request, error: Exception) -> DataError:
        """The same error with the sample that is behind it: the first that fails alone."""
        where = f"a batch of {len(request.indices)} samples of epoch {request.epoch}"
        for index in request.indices:
            try:
                self.rows.samples([index], request.epoch)
            except Exception as alone:
                where, error = f"sample {index} of epoch {request.epoch}", alone
                break
        if isinstance(error, LimnerError):
            return DataError(f"{where}: {error.given}", wanted=error.wanted, hint=error.hint)
        return DataError(f"{where} cannot be made: {type(error).__name__}: {error}")


def fetch(
    batches: Batches[B],
    requests: Iterator[Request],
    dog: "watchdog.Watchdog",
    *,
    workers: Workers = "processes",
    num_workers: int = 0,
    prefetch_factor: int = 4,
    pin_memory: bool = False,
) -> Iterator[B]:
    """Batches in the order of the requests; close the iterator to end the workers.

    Args:
        batches: makes one; must be picklable for processes.
        requests: endless or not; read a bounded number ahead.
        dog: learns what each worker is on.
        workers: "processes" (spawned: Lance is not fork-safe) or "threads".
        num_workers: how many; 0 makes each batch when it is asked for.
        prefetch_factor: batches ahead, for each worker.
        pin_memory: page-locked batches.
    Raises: DataError for a batch that cannot be made.
    """
    pin: Callable[[B], B] = pinned if pin_memory else _as_is
    if num_workers == 0:
        return map(lambda request: pin(batches[request]), requests)
    if workers == "threads":
        return _threaded(batches, requests, dog, num_workers, num_workers * prefetch_factor, pin)
    return _spawned(batches, requests, dog, num_workers, prefetch_factor, pin_memory)


def _threaded(
    batches: Batches[B],
    requests: Iterator[Request],
    dog: "watchdog.Watchdog",
    num_workers: int,
    ahead: int,
    pin: Callable[[B], B],
) -> Iterator[B]:
    """A pool of threads, and a queue of what they were asked, in order."""
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="loader")
    dog.threads = partial(_threads_of, pool)
    asked: deque[Future[B]] = deque()
    try:
        while True:
            missing = islice(requests, ahead - len(asked))
            asked.extend(pool.submit(lambda request: pin(batches[request]), r) for r in missing)
            if not asked:
                return
            yield asked.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _threads_of(pool: ThreadPoolExecutor) -> list[threading.Thread]:
    return sorted(pool._threads, key=lambda thread: thread.name)


def _spawned(
    batches: Batches[B],
    requests: Iterator[Request],
    dog: "watchdog.Watchdog",
    num_workers: int,
    prefetch_factor: int,
    pin_memory: bool,
) -> Iterator[B]:
    with warnings.catch_warnings():
        # the number of workers is the caller's choice; torch counts cores and doubts it
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader: DataLoader[Any] = DataLoader(
            _Guarded(batches),
            batch_size=None,
            sampler=requests,
            num_workers=num_workers,
            prefetch_factor=prefetch_factor,
            collate_fn=_as_is,
            worker_init_fn=partial(_start_worker, dog.folder),
            multiprocessing_context="spawn",
            pin_memory=pin_memory,
        )
        made = iter(loader)
    try:
        for batch in made:
            if isinstance(batch, Failure):
                raise _error_of(batch)
            yield batch
    finally:
        del made  # ends the workers


class _Guarded(Dataset[Any]):
    """Batches whose errors are given back rather than raised: an error's class need not survive pickling."""

    def __init__(self, batches: Batches[Any]) -> None:
        self._batches = batches

    def __getitem__(self, request: Request) -> Any:
        try:
            return self._batches[request]
        except DataError as error:
            return Failure(error.given, error.wanted, error.hint, "".join(traceback.format_exception(error)))


def _error_of(failure: Failure) -> DataError:
    error = DataError(failure.given, wanted=failure.wanted, hint=failure.hint)
    error.add_note(f"in a worker process:\n{failure.trace}")
    return error


def pinned(batch: B) -> B:
    """The batch with its tensors in page-locked memory, so that copies to a GPU overlap with work.

    Args:
        batch: a tensor, or a named tuple, list, tuple or dict of tensors and other things.
    """
    made: Any = batch
    if isinstance(batch, Tensor):
        made = batch.pin_memory()
    elif isinstance(batch, dict):
        made = {key: pinned(value) for key, value in batch.items()}
    elif isinstance(batch, tuple) and hasattr(batch, "_fields"):
        made = type(batch)(*map(pinned, batch))
    elif isinstance(batch, list | tuple):
        made = type(batch)(map(pinned, batch))
    return made  # type: ignore[no-any-return]


def _as_is(batch: Any) -> Any:
    return batch


def _start_worker(folder: Path, worker: int) -> None:
    """Workers share the cores and leave Ctrl-C to the main process, which ends them.

    They end at once: an interpreter that shuts down while its queue thread is inside torch may abort.
    """
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):  # the watchdog's folder is gone: the run has ended already
        watchdog.enlist(folder, worker)
    atexit.register(os._exit, 0)
