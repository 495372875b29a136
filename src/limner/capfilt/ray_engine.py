"""CapFilt on Ray: portions of the table go to a pool of actors, on this machine or on a cluster.

An actor measures with the same functions as one process does, in the same batches: a portion is a whole
number of them. Models travel through Ray's object store; the table is opened by each actor, so that a cluster
must see it under the same path. An actor that dies is made anew and its portion measured again; only whole
portions come back, and one place writes them down (`pipeline`).

Ray starts on this machine alone, without dashboard and without its usage reports, unless an address is named.
"""

import logging
import math
import os
import secrets
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

import pyarrow as pa
import torch
from pydantic import Field

from limner.capfilt.decision import MEASURED
from limner.capfilt.measure import Engine, Job, Measurer, Piece, cut
from limner.config import Config
from limner.errors import ConfigError, LimnerError, TrainingError

ATTEMPTS: Final = 3
"""Times that a portion whose actor died is tried again."""

_MOST_BLOCKS: Final = 10_000
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers run what runs here
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_POISONED: Final = pa.struct({"key": pa.string(), "raised": pa.string()})
_PIECE: Final = pa.schema(
    {
        "start": pa.int64(),
        "rows": pa.list_(pa.struct(list(MEASURED))),
        "poisoned": pa.list_(_POISONED),
    }
)


class RayPool(Config):
    """Who works.

    Args:
        address: of a Ray cluster; "" starts Ray on this machine, for this job.
        workers: actors, at most; None takes as many as there is room for at the start. A cluster begins with
            one and adds them as it can, this machine has all of them from the start.
        cpus: of each actor; it computes on as many threads, at least one.
        gpus: of each actor; 0.5 lets two share one.
    """

    address: str = ""
    workers: int | None = Field(default=None, ge=1)
    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)


def ray_engine(pool: RayPool | None = None) -> Engine:
    """The engine of a pool of actors.

    Raises: ConfigError when Ray is not installed, or has no room for an actor; TrainingError, from the
        engine, when actors die again and again.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "the engine ray needs Ray, which is not installed",
            wanted="the extra of limner that brings it",
            hint="pip install 'limner[ray]', or --engine local",
        )
    pool = pool or RayPool()

    def measure(job: Job, spans: Sequence[range]) -> Iterator[Piece]:
        if spans:
            with _ray(pool) as ray:
                yield from _measured(ray, pool, job, spans)

    return measure


@contextmanager
def _ray(pool: RayPool) -> Iterator[Any]:
    """Ray, begun and ended here unless it runs in this process already."""
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    if not pool.address and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        # a secret of this job; by itself Ray writes one into the home folder
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray
    import ray.data

    own = not ray.is_initialized()
    if own:
        _begin(ray, pool)
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


def _begin(ray: Any, pool: RayPool) -> None:
    how = {} if pool.address else {"include_dashboard": False}
    try:
        with _hushed():
            ray.init(pool.address or "local", log_to_driver=False, logging_level=logging.ERROR, **how)
    except Exception as error:  # a plain one too, when a machine is too busy to start it in half a minute
        with _hushed():
            ray.shutdown()
        raise ConfigError(
            f"Ray at {pool.address or 'this machine'} does not answer: {_first_line(error)}",
            wanted="a cluster's address, such as 10.0.0.1:6379, or a machine with room for Ray",
            hint="ray status, on the cluster; without --address Ray starts on this machine",
        ) from error


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep off the terminal what Ray says as it starts; what is raised comes through."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lance is not fork-safe")  # the fork runs another program at once
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _most(ray: Any, pool: RayPool) -> int:
    """Actors of the pool at most.

    Raises: ConfigError when there is no room for one.
    """
    cpus, gpus = (ray.cluster_resources().get(name, 0) for name in ("CPU", "GPU"))
    rooms = [math.floor(cpus / pool.cpus + 1e-6)]
    if pool.gpus:
        rooms.append(math.floor(gpus / pool.gpus + 1e-6))
    if min(rooms) < 1 and not (pool.address and pool.workers):  # a cluster may still grow
        raise ConfigError(
            f"workers of {pool.cpus:g} CPUs and {pool.gpus:g} GPUs",
            wanted=f"no more than the {cpus:g} CPUs and {gpus:g} GPUs there are",
            hint="--cpus and --gpus may be fractions",
        )
    return pool.workers or min(rooms)


def _measured(ray: Any, pool: RayPool, job: Job, spans: Sequence[range]) -> Iterator[Piece]:
    most = _most(ray, pool)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # an error that the user can mend comes through as it is
    settings = job.settings
    size = math.ceil(settings.chunk_rows / settings.batch_size) * settings.batch_size
    portions = [{"start": span.start, "stop": span.stop} for span in cut(spans, size)]
    for bundle in (job.captioner, job.judge):
        bundle.model.cpu()
    asked = ray.data.from_items(portions, override_num_blocks=min(len(portions), _MOST_BLOCKS))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")  # retries have no other name yet
        found = asked.map_batches(
            _Actor,
            fn_constructor_args=([ray.put(job)], pool),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1 if pool.address else most, max_size=most),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
            max_task_retries=ATTEMPTS,
        )
    try:
        for block in found.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from map(_piece, block.to_pylist())
    except ray.exceptions.RayError as error:
        raise _told(error) from error


def _piece(row: dict[str, Any]) -> Piece:
    return Piece(row["start"], row["rows"], [(one["key"], one["raised"]) for one in row["poisoned"]])


class _Actor:
    """Measures portions for as long as it lives.

    Args:
        sent: reference of the job, in a list so that Ray lets the actor fetch it.
        pool: of which it is one.
    """

    def __init__(self, sent: list[Any], pool: RayPool) -> None:
        import ray

        torch.set_num_threads(max(1, int(pool.cpus)))
        job: Job = ray.get(sent[0])
        if pool.gpus:
            for bundle in (job.captioner, job.judge):
                bundle.model.cuda()
        self._measurer = Measurer(job)

    def __call__(self, portions: pa.Table) -> pa.Table:
        """Measure them; one row each comes back."""
        found = [_whole(list(self._measurer([range(p["start"], p["stop"])]))) for p in portions.to_pylist()]
        return pa.Table.from_pylist(found, schema=_PIECE)


def _whole(pieces: Sequence[Piece]) -> dict[str, Any]:
    return {
        "start": pieces[0].start,
        "rows": [row for piece in pieces for row in piece.rows],
        "poisoned": [{"key": key, "raised": raised} for piece in pieces for key, raised in piece.poisoned],
    }


def _told(error: BaseException) -> LimnerError:
    """What the user can act on: the actor's own LimnerError, or that the work on Ray failed."""
    link: BaseException | None = error
    while link is not None:
        cause = getattr(link, "cause", None)
        for one in (link, cause):
            if isinstance(one, LimnerError):
                return one
        link = cause if isinstance(cause, BaseException) else link.__cause__
    return TrainingError(
        f"the work on Ray failed: {_first_line(error)}",
        wanted="workers that live",
        hint="the same command goes on where this one stopped; --engine local shows an error by itself",
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
