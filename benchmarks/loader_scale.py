"""What an order of samples costs as tables grow: time a batch, time to resume, memory; one JSON object.

python benchmarks/loader_scale.py [--rows 1000000]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from limner.data.loader import Loader, LoaderState, Sample, TableRows
from limner.data.order import Copies, Order, Permutation, Positions
from limner.data.table import SCHEMA, Table
from limner.shapes import ImageSpec

BATCH = 256
PIXELS = np.zeros((8, 8, 3), np.uint8)


class Many:
    """Any number of rows that cost nothing."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """Samples of no picture."""
        return [Sample(str(i), PIXELS, "") for i in indices]


def keys(samples: Sequence[Sample]) -> list[str]:
    """A batch is its keys."""
    return [sample.key for sample in samples]


def timed(work: Callable[[], Any]) -> float:
    """Seconds of wall time."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def orders() -> dict[str, Any]:
    """Milliseconds a global batch of 256 costs, in the loader's own strides; a written-out order beside."""
    result = {}
    for count in (10**4, 10**6, 10**8, 10**10, 2**40):
        order = Order(count, BATCH, 0)
        batches = min(order.steps, 1000)
        result[f"{count}"] = round(
            1e3 * timed(lambda o=order, n=batches: list(islice(o.batches(0), n))) / batches, 4
        )
    written = timed(lambda: np.random.Generator(np.random.PCG64(0)).permutation(10**7))
    return {"ms_a_batch": result, "seconds_to_write_out_10M": round(written, 2)}


def resume() -> dict[str, float]:
    """Seconds to the first batch of a loader over 100 M rows, after 10 M samples and in epoch 3."""
    result = {}
    for name, epoch, step in (
        ("at_0", 0, 0),
        ("after_10M", 0, 10**7 // BATCH),
        ("after_330M", 3, 30 * 10**6 // BATCH),
    ):
        state = LoaderState(seed=0, epoch=epoch, step=step, global_batch=BATCH, samples=10**8)
        result[name] = round(timed(lambda s=state: next(Loader(Many(10**8), keys, BATCH, 0).batches(s))), 4)
    return result


def memory() -> dict[str, float]:
    """Megabytes held at the end of each of three epochs of 1 M rows, in a process of its own."""
    out = subprocess.run([sys.executable, __file__, "--epochs"], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(out.stdout)
    return found


def epochs() -> dict[str, Any]:
    """Three epochs, in this process."""
    loader = Loader(Many(10**6), keys, BATCH, 0, workers="threads", num_workers=2)
    batches, held = loader.batches(), []
    for _ in range(3):
        for _ in islice(batches, loader.steps_per_epoch):
            pass
        held.append(round(psutil.Process().memory_info().rss / 1e6, 1))
    return {
        "mb_after_each": held,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
    }


def tiny_rows(count: int) -> Iterator[pa.RecordBatch]:
    """Rows of a byte each."""
    for first in range(0, count, 1000):
        rows = range(first, min(first + 1000, count))
        yield pa.RecordBatch.from_pylist(
            [
                {"key": f"k{i}", "image": b"x", "width": i % 500, "texts": [f"text {i}"] * (i % 4)}
                for i in rows
            ],
            schema=SCHEMA,
        )


def fragments(count: int) -> dict[str, Any]:
    """A real table of `count` tiny rows in fragments of 1,000: opening, filtering, random reads."""
    import lance

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.lance"
        reader = pa.RecordBatchReader.from_batches(SCHEMA, tiny_rows(count))
        lance.write_dataset(reader, str(path), max_rows_per_file=1000)
        rng = np.random.default_rng(0)
        spec = ImageSpec(size=8)
        table = Table.open(path)
        rows = TableRows(path, spec, 0)
        result = {
            "rows": count,
            "fragments": len(lance.dataset(str(path)).get_fragments()),
            "open_s": timed(lambda: Table.open(path)),
            "filter_width_s": timed(lambda: table.positions("width < 250")),
            "filter_texts_pushed_down_s": timed(lambda: TableRows(path, spec, 0)),
            "filter_texts_in_python_s": timed(lambda: [any(t) for t in table.column("texts")]),
            "captions_all_s": timed(lambda: TableRows(path, spec, 0, captions="all")),
            "positions_mb": rows._positions.nbytes / 1e6,
            "take_256_ms": 1e3 * timed(lambda: table.rows(rng.integers(count, size=256).tolist(), ["key"])),
        }
    return {name: round(value, 4) for name, value in result.items()}


def kept() -> dict[str, float]:
    """Megabytes kept for 100 M rows, by what is asked of them."""
    half = np.flatnonzero(np.random.default_rng(0).random(10**7) < 0.5)
    return {
        "no_filter": Positions(None, 10**8).nbytes / 1e6,
        "ten_runs_of_10M_rows": Positions(np.delete(np.arange(10**7), slice(10**6, 10**6 + 10)), 10**7).nbytes
        / 1e6,
        "half_of_10M_rows_at_random": Positions(half, 10**7).nbytes / 1e6,
        "all_captions_of_10M_rows": Copies(np.random.default_rng(0).integers(0, 6, 10**7)).nbytes / 1e6,
    }


def padding() -> dict[str, float]:
    """Share of a batch that is padding, for texts of log-normal length (median 12 words)."""
    words = np.clip(np.exp(np.random.default_rng(0).normal(2.5, 0.5, 10**5)), 3, 60).astype(int)
    result = {}
    for window in (0, 8, 32, 128):
        order = Order(len(words), 64, 0, window, lambda indices, _: words[indices])
        batches = list(order.batches(0))
        padded = sum(words[batch].max() * len(batch) for batch in batches)
        result[str(window)] = round(1 - sum(words[batch].sum() for batch in batches) / padded, 3)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--epochs", action="store_true")
    options = parser.parse_args()
    if options.epochs:
        print(json.dumps(epochs()))
        return
    Permutation(10, 0, 0)[:]
    print(
        json.dumps(
            {
                "order": orders(),
                "resume_s": resume(),
                "memory": memory(),
                "kept_mb": kept(),
                "padding_by_window": padding(),
                "table": [fragments(options.rows // 10), fragments(options.rows)],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
