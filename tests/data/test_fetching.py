"""Batches made ahead: in order, bounded, and with errors that name the sample."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from limner.data.fetching import Batches, Request, fetch, pinned
from limner.data.loader import Sample
from limner.data.watchdog import Watchdog
from limner.errors import DataError


class Jittery:
    """Rows that take unequal times; one of them is broken."""

    def __init__(self, broken: int = -1) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 1000

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        time.sleep(0.002 * (indices[0] % 5))
        if self.broken in indices:
            raise ValueError("a bad byte")
        return [Sample(f"k{index}", np.zeros(1), str(epoch)) for index in indices]


def keys(samples: Sequence[Sample]) -> list[str]:
    return [sample.key for sample in samples]


def requests(drawn: list[int] | None = None) -> Iterator[Request]:
    for number in count():
        if drawn is not None:
            drawn.append(number)
        yield Request(0, [number, number + 500])


def test_threads_give_batches_in_the_order_asked() -> None:
    with Watchdog() as dog:
        made = fetch(Batches(Jittery(), keys), requests(), dog, workers="threads", num_workers=3)
        assert [batch[0] for batch in islice(made, 40)] == [f"k{i}" for i in range(40)]
        made.close()  # type: ignore[attr-defined]


def test_threads_look_a_bounded_way_ahead_and_end() -> None:
    drawn: list[int] = []
    with Watchdog() as dog:
        made = fetch(
            Batches(Jittery(), keys),
            requests(drawn),
            dog,
            workers="threads",
            num_workers=2,
            prefetch_factor=3,
        )
        next(made)
        time.sleep(0.2)
        assert len(drawn) == 6
        made.close()  # type: ignore[attr-defined]
        time.sleep(0.1)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_a_finite_run_of_requests_ends() -> None:
    for workers in (0, 2):
        with Watchdog() as dog:
            asked = islice(requests(), 5)
            assert (
                len(list(fetch(Batches(Jittery(), keys), asked, dog, workers="threads", num_workers=workers)))
                == 5
            )


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_sample_and_keeps_its_cause(workers: int) -> None:
    with Watchdog() as dog:
        made = fetch(Batches(Jittery(507), keys), requests(), dog, workers="threads", num_workers=workers)
        with pytest.raises(
            DataError, match=r"sample 507 of epoch 0 cannot be made: ValueError: a bad"
        ) as caught:
            list(made)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.slow
def test_an_error_in_a_worker_process_names_the_sample_too() -> None:
    """In a process of its own, whose workers can import this file by its name."""
    code = "from test_fetching import fail_in_a_worker_process; fail_in_a_worker_process()"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)


def fail_in_a_worker_process() -> None:
    with Watchdog() as dog:
        made = fetch(Batches(Jittery(507), keys), requests(), dog, workers="processes", num_workers=1)
        with pytest.raises(DataError, match="sample 507 of epoch 0 cannot be made: ValueError") as caught:
            list(made)
    assert "in a worker process" in caught.value.__notes__[0]
    assert "a bad byte" in caught.value.__notes__[0]


def test_an_error_of_the_whole_batch_says_so() -> None:
    def fussy(samples: Sequence[Sample]) -> list[str]:
        raise DataError("too many cats", wanted="fewer", hint="count them")

    with pytest.raises(DataError, match="a batch of 2 samples of epoch 4: too many cats") as caught:
        Batches(Jittery(), fussy)[Request(4, [1, 2])]
    assert (caught.value.wanted, caught.value.hint) == ("fewer", "count them")


class _Two(NamedTuple):
    keys: list[str]
    pixels: torch.Tensor


def test_pinning_reaches_every_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor)
        return tensor + 1

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    zero = torch.zeros(2)
    batch = pinned({"pair": _Two(["a"], zero), "rest": [zero, (zero, "b")]})
    assert len(seen) == 3
    assert isinstance(batch["pair"], _Two)
    assert batch["pair"].keys == ["a"]
    assert batch["rest"][1][1] == "b"
    assert batch["pair"].pixels.tolist() == [1, 1]
