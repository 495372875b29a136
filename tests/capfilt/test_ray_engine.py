"""Ray's actors give the bytes that one process gives, whoever is killed; slow, for Ray starts slowly."""

import copy
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import psutil
import pyarrow as pa
import pytest
import torch

from limner.capfilt import ray_engine as module
from limner.capfilt.decision import DECIDED, MEASURED
from limner.capfilt.measure import Piece, measure
from limner.capfilt.pipeline import CapFiltResult, run
from limner.capfilt.ray_engine import RayPool, ray_engine
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.errors import ConfigError, DataError, ShapeError, TrainingError
from limner.models.generate import Decoding

SETTINGS = CapFiltSettings(decoding=Decoding(method="nucleus", max_tokens=6), batch_size=2, chunk_rows=3)
TWO = RayPool(workers=2)
needs_ray = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray")


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'limner\[ray\]'"):
        ray_engine(TWO)


def test_a_portion_comes_back_whole() -> None:
    def row(i: int) -> dict[str, Any]:
        empty: dict[str, Any] = {name: [] for name in MEASURED.names if name not in ("key", "picture")}
        return {"key": f"r{i}", "picture": None, **empty, "itm_web": [0.5, None], "synthetic": ["a", "b"]}

    pieces = [Piece(6, [row(6), row(7)], [("r7", "IndexError: x")]), Piece(8, [row(8)], [])]
    (back,) = pa.Table.from_pylist([module._whole(pieces)], schema=module._PIECE).to_pylist()
    assert module._piece(back) == Piece(6, [row(6), row(7), row(8)], [("r7", "IndexError: x")])


def test_an_error_of_a_worker_is_told_as_it_is() -> None:
    class TaskError(Exception):
        def __init__(self, cause: Exception) -> None:
            super().__init__("ray::Map failed\nwith a long story")
            self.cause = cause

    wrong = ShapeError("too long")
    outer = RuntimeError("outer")
    outer.__cause__ = TaskError(wrong)
    assert module._told(TaskError(wrong)) is module._told(outer) is wrong
    other = module._told(TaskError(KeyError("x")))
    assert isinstance(other, TrainingError)
    assert "ray::Map failed" in str(other)
    assert "long story" not in str(other)


class Cluster:
    """What Ray would say of a cluster."""

    def __init__(self, **resources: float) -> None:
        self.cluster_resources = lambda: resources


@pytest.mark.parametrize(
    ("pool", "most"),
    [
        (RayPool(), 4),
        (RayPool(cpus=0.5), 8),
        (RayPool(gpus=0.5), 2),
        (RayPool(workers=3), 3),
        (RayPool(address="x:1", workers=9, cpus=16), 9),
    ],
)
def test_as_many_workers_as_there_is_room_for(pool: RayPool, most: int) -> None:
    assert module._most(Cluster(CPU=4.0, GPU=1.0), pool) == most


@pytest.mark.parametrize("pool", [RayPool(cpus=8), RayPool(gpus=2), RayPool(workers=2, gpus=2)])
def test_no_room_is_told(pool: RayPool) -> None:
    with pytest.raises(ConfigError, match="may be fractions"):
        module._most(Cluster(CPU=4.0, GPU=1.0), pool)


# ---------------------------------------------------------------- with Ray


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    """One Ray for the tests of this file."""
    if find_spec("ray") is None:  # not importorskip: Ray reads its environment as it is imported
        pytest.skip("Ray is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with module._ray(RayPool()) as ray:
            yield ray


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As each worker has: the last digits of a score depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def result(noisy: Table, bundle: Bundle, one_thread: None) -> CapFiltResult:
    return run(noisy, bundle, bundle, SETTINGS)


def _bytes(table: Table) -> pa.Table:
    return table.arrow(["key", "texts", *DECIDED.names])


@pytest.mark.slow
@needs_ray
def test_two_workers_give_the_bytes_of_one_process(
    started: Any, result: CapFiltResult, bundle: Bundle, other_bundle: Bundle
) -> None:
    done: list[int] = []
    again = run(
        result.table,
        bundle,
        bundle,
        SETTINGS,
        progress=lambda n, _: done.append(n),
        engine=ray_engine(TWO),
        force=True,
    )
    assert (again.measured, done[-1], len(done)) == (23, 23, 6)
    assert again.ledger == result.ledger
    assert _bytes(again.table) == _bytes(result.table)
    apart = run(again.table, bundle, other_bundle, SETTINGS)
    on_ray = run(apart.table, bundle, other_bundle, SETTINGS, engine=ray_engine(TWO), force=True)
    assert _bytes(on_ray.table) == _bytes(apart.table)


@pytest.mark.slow
@needs_ray
def test_merged_tokens_give_the_bytes_of_one_process(
    started: Any, result: CapFiltResult, bundle: Bundle, other_bundle: Bundle
) -> None:
    merge = SETTINGS.model_copy(update={"merge": 2})
    for judge in (bundle, other_bundle):
        alone = run(result.table, bundle, judge, merge, force=True)
        on_ray = run(alone.table, bundle, judge, merge, engine=ray_engine(TWO), force=True)
        assert on_ray.measured == 23
        assert on_ray.ledger == alone.ledger
        assert _bytes(on_ray.table) == _bytes(alone.table) != _bytes(result.table)


@pytest.mark.slow
@needs_ray
def test_a_killed_worker_costs_nothing(
    started: Any, make_table: Callable[..., Table], bundle: Bundle, one_thread: None
) -> None:
    table = make_table([["a red bus"] for _ in range(60)])
    killed: list[int] = []

    def kill_one(done: int, total: int) -> None:
        workers = [one for one in psutil.Process().children(recursive=True) if _is_worker(one)]
        if workers and len(killed) < 2:
            os.kill(workers[0].pid, signal.SIGKILL)
            killed.append(workers[0].pid)

    result = run(table, bundle, bundle, SETTINGS, engine=ray_engine(TWO), progress=kill_one)
    assert len(killed) == 2
    alone = run(result.table, bundle, bundle, SETTINGS, force=True)
    assert _bytes(alone.table) == _bytes(result.table)
    assert alone.ledger == result.ledger


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "MapWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.mark.slow
@needs_ray
def test_one_engine_goes_on_where_the_other_stopped(
    started: Any, noisy: Table, result: CapFiltResult, bundle: Bundle
) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 7:
            raise KeyboardInterrupt

    other = SETTINGS.model_copy(update={"seed": 2})
    for engine in (measure, ray_engine(TWO)):
        with pytest.raises(KeyboardInterrupt):
            run(result.table, bundle, bundle, other, progress=stop, engine=engine)
    done = run(result.table, bundle, bundle, other, engine=ray_engine(TWO))
    assert done.reused == "part"
    assert done.measured <= 23 - 8
    alone = run(done.table, bundle, bundle, other, force=True)
    assert _bytes(alone.table) == _bytes(done.table)


@pytest.mark.slow
@needs_ray
def test_poisoned_rows_are_quarantined_alone(
    started: Any, make_table: Callable[..., Table], bundle: Bundle, other_bundle: Bundle, one_thread: None
) -> None:
    judge = other_bundle._replace(model=copy.deepcopy(other_bundle.model))
    (token,) = judge.blip()[1].encode("moon", 8)[1:-1][:1]
    with torch.no_grad():
        judge.blip()[0].text_encoder.embeddings.words.weight[token] = float("nan")
    table = make_table([["a moon"] if i in (5, 12) else ["a cat"] for i in range(18)])
    alone = run(table, bundle, judge, SETTINGS)
    on_ray = run(alone.table, bundle, judge, SETTINGS, engine=ray_engine(TWO), force=True)
    assert {"row5", "row12"} <= {key for key, _ in alone.poisoned}
    assert on_ray.poisoned == alone.poisoned
    assert _bytes(on_ray.table) == _bytes(alone.table)


@pytest.mark.slow
@needs_ray
def test_what_the_user_can_mend_comes_through_and_no_cluster_is_told(
    started: Any, noisy: Table, bundle: Bundle
) -> None:
    long = SETTINGS.model_copy(update={"decoding": Decoding(method="nucleus", max_tokens=90)})
    with pytest.raises(ShapeError, match="lower max_tokens"):
        run(noisy, bundle, bundle, long, engine=ray_engine(TWO))
    assert Table.open(noisy.path).version == noisy.version
    with pytest.raises(DataError, match="no rows"):
        run(noisy.delete(noisy.column("key"), "none left"), bundle, bundle, engine=ray_engine(TWO))
