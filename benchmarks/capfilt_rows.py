"""CapFilt on many rows, killed again and again: no row lost, none doubled, the same bytes, flat memory.

    python benchmarks/capfilt_rows.py kills                             100,000 rows, one process, 15 kills
    python benchmarks/capfilt_rows.py kills --engine ray --rows 20000   the same on Ray, two workers
    python benchmarks/capfilt_rows.py pace --rows 20000                 one process beside Ray, undisturbed
    … --write                                       also write benchmarks/records/capfilt-rows.json

Pictures are noise of 16 pixels, one in 500 of them broken; the model is a BLIP of 20,000 random weights that
writes four tokens, so that all but the arithmetic counts: reading, writing, the ledger, starting again. Each
job is `limner capfilt` in a process of its own. It dies of SIGKILL after a number of parts drawn by chance,
the last time when every row is measured and columns are being written; on Ray half of the kills strike a
worker, which the job has to survive. The table at the end is held against that of an undisturbed run, all
rows and columns. Memory is the resident set of the process, on Ray of that which writes, while the first and
the last fifth of the rows are measured, and after that, as columns are written. CPU time is that of all
processes of a job together, Ray's own among them: a busy neighbour leaves it alone.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import torch
from PIL import Image

from limner.capfilt.decision import DECIDED
from limner.checkpoint import save_bundle
from limner.data.table import Table
from limner.data.tokenizers import WordPiece
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec
from models import RECORDS, write_record

TEXTS = ["a red bus", "two fish and an owl", "a small green tree", "three stars", "IMG_2034.jpg", "nan", ""]
BROKEN_EVERY, PART_ROWS, PAUSE_S = 500, 256, 0.2
SETTINGS = ("decoding.max_tokens=4", "batch_size=64", f"chunk_rows={PART_ROWS}")


class Row(NamedTuple):
    """One measurement; what a case does not measure is None.

    Args:
        case: kills or pace.
        engine: local or ray.
        workers: of Ray; 1 for one process.
        rows: of the table.
        seconds: median, of an undisturbed job from its first row to its last, Ray's start among them.
        cpu_s: median CPU time of all its processes, from their start to their end.
        kills: of the job.
        worker_kills: of workers that it survived.
        lost: keys that are not there at the end.
        doubled: keys that are there more than once.
        same_ledger: as that of an undisturbed run, and balanced.
        same_bytes: of every row in every column, as an undisturbed run wrote them.
        early_mb: peak while the first fifth was measured.
        late_mb: peak while the last fifth was.
        end_mb: peak of the whole process, columns written.
    """

    case: str
    engine: str
    workers: int
    rows: int
    seconds: float
    cpu_s: float
    kills: int | None = None
    worker_kills: int | None = None
    lost: int | None = None
    doubled: int | None = None
    same_ledger: bool | None = None
    same_bytes: bool | None = None
    early_mb: float | None = None
    late_mb: float | None = None
    end_mb: float | None = None


# ---------------------------------------------------------------- what is cleaned, and by what


def write_model(folder: Path) -> Path:
    """A BLIP as small as they come."""
    torch.manual_seed(0)
    tokenizer = WordPiece.from_texts(TEXTS[:4] * 3, vocab_size=200)
    text = {"vocab_size": tokenizer.vocab_size, "width": 16, "depth": 2, "num_heads": 2, "mlp_dim": 32}
    config = BLIPConfig(
        vision=ViTConfig(image_size=16, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=32),
        text=BertConfig(**text, max_positions=48, memory_width=16),
        embed_dim=8,
        pad_id=tokenizer.pad_id,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        dec_id=tokenizer.dec_id,
        enc_id=tokenizer.enc_id,
    )
    save_bundle(folder, BLIP(config), "", config, ImageSpec(size=16), tokenizer=tokenizer)
    return folder


def write_table(path: Path, rows: int) -> Path:
    """Noise, with a text or two, junk, or none."""
    schema = pa.schema({"key": pa.string(), "image": pa.large_binary(), "texts": pa.list_(pa.string())})
    Table.write(
        path, (_batch(start, min(start + 1000, rows), schema) for start in range(0, rows, 1000)), schema
    )
    return path


def _batch(start: int, stop: int, schema: pa.Schema) -> pa.RecordBatch:
    import io

    images = []
    for i in range(start, stop):
        buffer = io.BytesIO()
        noise = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(buffer, "PNG")
        images.append(buffer.getvalue()[: 60 if i % BROKEN_EVERY == 7 else None])
    texts = [[TEXTS[(i + k) % len(TEXTS)] for k in range(i % 3)] for i in range(start, stop)]
    columns = [[f"row{i:07d}" for i in range(start, stop)], images, texts]
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


# ---------------------------------------------------------------- one job


class Life:
    """One process of `limner capfilt`, looked at until it ends.

    Args:
        table: to clean.
        model: folder.
        options: of the engine.
    """

    def __init__(self, table: Path, model: Path, options: Sequence[str]) -> None:
        self.table = table
        command = [sys.executable, "-m", "limner", "capfilt", str(table), "--model", str(model), "--json"]
        command += [*options, *(word for setting in SETTINGS for word in ("--set", setting))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)
        self.seen: list[tuple[int, float]] = []  # parts written, MB
        self.cpu_s: dict[int, float] = {}

    def looks(self) -> Iterator[int]:
        """Parts written so far, again and again until the process ends."""
        watched = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            for one in (watched, *self.descendants()):
                with suppress(psutil.Error):
                    self.cpu_s[one.pid] = sum(one.cpu_times()[:2])
            with suppress(psutil.Error):
                self.seen.append((self.parts(), watched.memory_info().rss / 1e6))
            yield self.seen[-1][0]
            time.sleep(PAUSE_S)

    def parts(self) -> int:
        """Parts that are written."""
        folders = self.table.parent.glob(f"{self.table.name}.capfilt-*")
        return sum(1 for folder in folders for _ in folder.glob("rows-*.parquet"))

    def workers(self) -> list[psutil.Process]:
        """Ray's workers of this job that measure."""
        return [one for one in self.descendants() if "MapWorker" in _name(one)]

    def descendants(self) -> list[psutil.Process]:
        """Every process this one has begun."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def kill(self) -> None:
        """End it at once; what it leaves of Ray is given a moment, then ended too."""
        left = self.descendants()
        self.process.kill()
        self.process.communicate()
        _, alive = psutil.wait_procs(left, timeout=20)
        for one in alive:
            one.kill()

    def told(self) -> dict[str, Any]:
        """What it printed."""
        out, err = self.process.communicate()
        if self.process.returncode:
            raise SystemExit(f"limner capfilt failed:\n{err}")
        return json.loads(out)


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def undisturbed(table: Path, model: Path, options: Sequence[str]) -> tuple[dict[str, Any], Life]:
    """A job from begin to end."""
    life = Life(table, model, options)
    for _ in life.looks():
        pass
    return life.told(), life


def disturbed(
    table: Path, model: Path, options: Sequence[str], kills: int, rows: int, chance: random.Random
) -> tuple[dict[str, Any], int, int]:
    """A job that is killed, and begun again until it is through.

    Args:
        table: to clean.
        model: folder.
        options: of the engine.
        kills: of processes and workers together.
        rows: of the table.
        chance: draws after how many parts, and who dies.
    Returns: what it told, how often the process died, and how often a worker did.
    """
    died, struck, parts = 0, 0, -(-rows // PART_ROWS)

    def drawn(standing: int) -> int:
        """Parts at which the next kill comes; the last comes at the end."""
        left = kills - died - struck
        return (
            standing + chance.randint(1, max(1, 2 * (parts - standing) // (left + 1))) if left > 1 else parts
        )

    while True:
        life = Life(table, model, options)
        moment = drawn(life.parts())
        for done in life.looks():
            if died + struck >= kills or done < moment:
                continue
            workers = life.workers() if "ray" in options and struck < died and done < parts else []
            if workers:
                os.kill(chance.choice(workers).pid, signal.SIGKILL)
                struck += 1
                moment = drawn(done)
            elif life.process.poll() is None:
                time.sleep(chance.uniform(0, 0.3))
                life.kill()
                died += 1
                break
        else:
            return life.told(), died, struck
        print(f"killed {died} times, workers {struck} times, {life.parts()} of {parts} parts", flush=True)


# ---------------------------------------------------------------- cases


def kills(given: argparse.Namespace, folder: Path) -> list[Row]:
    """Clean one copy of a table in peace and another under fire, and compare."""
    model, calm = write_model(folder / "model"), write_table(folder / "calm.lance", given.rows)
    shot = folder / "shot.lance"
    shutil.copytree(calm, shot)
    options = (
        "--engine",
        given.engine,
        *(("--workers", str(given.workers)) if given.engine == "ray" else ()),
    )
    peace, life = undisturbed(calm, model, options)
    early, late, end = memory(life)
    print(
        f"undisturbed: {peace['seconds']:.0f} s; {early:.0f} MB early, {late:.0f} late, {end:.0f} in all",
        flush=True,
    )
    chance = random.Random(given.seed)
    war, died, struck = disturbed(shot, model, options, given.kills, given.rows, chance)
    one, two = Table.open(calm), Table.open(shot)
    keys, wanted = two.column("key"), [f"row{i:07d}" for i in range(given.rows)]
    names = ["key", "texts", *DECIDED.names]
    return [
        Row(
            "kills",
            given.engine,
            given.workers if given.engine == "ray" else 1,
            given.rows,
            round(peace["seconds"], 1),
            round(sum(life.cpu_s.values()), 1),
            kills=died,
            worker_kills=struck,
            lost=len(set(wanted) - set(keys)),
            doubled=len(keys) - len(set(keys)),
            same_ledger=war["ledger"] == peace["ledger"] and war["ledger"]["rows"] == given.rows,
            same_bytes=one.arrow(names) == two.arrow(names),
            early_mb=round(early),
            late_mb=round(late),
            end_mb=round(end),
        )
    ]


def memory(life: Life) -> tuple[float, float, float]:
    """Peak MB in the first and the last fifth of the parts, and in all."""
    most = max(parts for parts, _ in life.seen)
    early = [mb for parts, mb in life.seen if 0 < parts <= most / 5]
    late = [mb for parts, mb in life.seen if 4 * most / 5 <= parts < most]
    return max(early), max(late), max(mb for _, mb in life.seen)


def pace(given: argparse.Namespace, folder: Path) -> list[Row]:
    """One process, Ray with one worker and with two, in turn."""
    model, table = write_model(folder / "model"), write_table(folder / "pairs.lance", given.rows)
    engines = {("local", 1): (), ("ray", 1): ("--engine", "ray"), ("ray", 2): ("--engine", "ray")}
    found: dict[tuple[str, int], list[tuple[float, float]]] = {one: [] for one in engines}
    for _ in range(given.rounds):
        for (engine, workers), options in engines.items():
            more = ("--workers", str(workers)) if options else ()
            told, life = undisturbed(table, model, (*options, *more, "--force"))
            found[engine, workers].append((told["seconds"], sum(life.cpu_s.values())))
            print(
                engine, workers, "seconds {:.1f}, CPU {:.1f}".format(*found[engine, workers][-1]), flush=True
            )
    return [
        Row(
            "pace",
            *one,
            given.rows,
            *(round(statistics.median(side), 1) for side in zip(*times, strict=True)),
        )
        for one, times in found.items()
    ]


def main() -> None:
    """Print what came out; write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=("kills", "pace"))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="capfilt-rows-") as folder:
        rows = {"kills": kills, "pace": pace}[given.case](given, Path(folder))
    for row in rows:
        print(json.dumps(row._asdict()))
    if given.write:
        write_record(RECORDS / "capfilt-rows.json", rows, ("case", "engine", "workers"), "cpu", given.rounds)


if __name__ == "__main__":
    main()
