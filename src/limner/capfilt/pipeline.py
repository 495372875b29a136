"""CapFilt: a captioner writes a text for each picture, a filter judges every text.

Source: Li et al. 2022, BLIP (arXiv 2201.12086), section 3.3.

Captioner and filter are two bundles, fine-tuned apart in the paper. The same bundle for both is the paper's
ablation "share parameters" (Table 4): one look at each picture instead of two, and a filter that is lenient
with its own captions. Nothing is deleted: scores, decisions and reasons stand in columns beside the web
texts, and training reads `texts_bootstrapped`, the union of the web and synthetic texts that stay.

Measured rows are saved beside the table as the job goes; when all are there, every column is added in ONE
new version. A kill at any moment leaves the table as it was, and the next run with the same models and
settings goes on.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import pyarrow as pa

import limner
from limner.capfilt.cut import Cut, ScreenLoss, choose_cut, screen_loss
from limner.capfilt.decision import DECIDED, decide, undecide
from limner.capfilt.labels import read_labels
from limner.capfilt.ledger import Ledger, check, tally
from limner.capfilt.measure import Job, is_spared, measure
from limner.capfilt.partial import PartialRows
from limner.capfilt.settings import NOT_MEASURED, CapFiltSettings
from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.errors import DataError
from limner.record import Recorder

ORIGIN = pa.struct(
    {
        "identity": pa.string(),
        "captioner": pa.string(),
        "filter": pa.string(),
        "settings": pa.string(),
        "cut": pa.string(),
        "limner": pa.string(),
        "time": pa.timestamp("ms", tz="UTC"),
    }
)
"""Type of the column `capfilt`: digests of the models, settings and threshold (JSON), and when."""

Progress = Callable[[int, int], None]
"""Told of rows done and rows in all."""


class CapFiltResult(NamedTuple):
    """What a job did.

    Args:
        table: at the cleaned version.
        ledger: balanced.
        reused: "nothing" when every row was measured now, "part" when an interrupted run was gone on with,
            "scores" when scores stood in the table and only decisions are new, "all" when the columns stood
            there as asked.
        measured: rows that passed through the models now.
        seconds: that took.
        cut: the threshold, and where it comes from.
        screen: what an ITC screen costs; None without one.
        poisoned: rows a model failed on now: their keys and what was raised.
    """

    table: Table
    ledger: Ledger
    reused: Literal["nothing", "part", "scores", "all"]
    measured: int
    seconds: float
    cut: Cut
    screen: ScreenLoss | None = None
    poisoned: Sequence[tuple[str, str]] = ()

    @property
    def pictures_per_second(self) -> float | None:
        """Speed of what was measured now; None when nothing was."""
        return self.measured / self.seconds if self.measured and self.seconds else None


def run(
    table: Table,
    captioner: Bundle,
    judge: Bundle,
    settings: CapFiltSettings | None = None,
    recorder: Recorder | None = None,
    progress: Progress | None = None,
    *,
    force: bool = False,
) -> CapFiltResult:
    """Clean a table: caption, score, decide; every column in one new version.

    Args:
        table: with `key`, `image` and the web texts.
        captioner: writes.
        judge: the filter; may be the captioner.
        settings: the paper's when None.
        recorder: gets one "capfilt" record.
        progress: told after each batch.
        force: measure again what is there already.
    Raises: CheckpointError when a bundle is no BLIP; DataError when the table is empty, lacks a column, no
        threshold is as precise as asked, or the ledger does not balance. The table is then as it was.
    """
    captioner.blip(), judge.blip()
    settings = settings or CapFiltSettings()
    labels = read_labels(table, settings.labels, settings.texts_column) if settings.labels else None
    job = Job(table, _web_texts(table, settings.texts_column), captioner, judge, settings)
    identity = _identity(job)
    partial = PartialRows(table.path, identity)
    if force:
        partial.remove()
    standing = None if force else _standing(table, identity)
    began, before = time.perf_counter(), len(job.texts)
    poisoned: list[tuple[str, str]] = []
    if standing is None:
        before = partial.read().num_rows
        rows = _measure_all(job, partial, progress, poisoned)
    else:
        rows = standing.rows
    seconds = time.perf_counter() - began
    cut = choose_cut(rows, job.texts, settings, labels)
    decided = [decide(row, texts, cut.threshold) for row, texts in zip(rows, job.texts, strict=True)]
    ledger = _balanced(job, rows, decided)
    as_asked = standing is not None and standing.cut == cut
    if not as_asked:
        note = f"capfilt: {ledger.kept} rows kept, {ledger.replaced} replaced, {ledger.dropped} dropped"
        table = _newest(job, identity).add_columns(_columns(job, identity, cut, decided), note)
    partial.remove()
    reused: Literal["nothing", "part", "scores", "all"] = "part" if before else "nothing"
    if standing is not None:
        reused = "all" if as_asked else "scores"
    result = CapFiltResult(
        table, ledger, reused, len(rows) - before, seconds, cut, _screen(job, rows, cut), poisoned
    )
    if recorder is not None:
        _record(recorder, job, result)
    return result


def _screen(job: Job, rows: list[dict[str, Any]], cut: Cut) -> ScreenLoss | None:
    if job.settings.itc_screen is None:
        return None
    return screen_loss([row for row in rows if is_spared(job.settings.seed, row["key"])], cut.threshold)


# ---------------------------------------------------------------- what goes in


def _web_texts(table: Table, column: str) -> list[list[str]]:
    if table.num_rows == 0:
        raise DataError(
            f"{table.path} has no rows", wanted="a table with pictures", hint="limner import SOURCE"
        )
    return [[text or "" for text in texts or ()] for texts in table.column(column)]


def _identity(job: Job) -> str:
    """12 hex digits that change when a caption or a score could: models, settings, keys, texts, pictures."""
    told = {
        "captioner": job.captioner.digest,
        "filter": job.judge.digest,
        "settings": job.settings.model_dump(mode="json", exclude=set(NOT_MEASURED)),
    }
    hasher = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    pictures = job.table.column("sha256") if job.table.has("sha256") else [None] * len(job.texts)
    for row in zip(job.table.column("key"), pictures, job.texts, strict=True):
        hasher.update(json.dumps(row).encode())
    return hasher.hexdigest()[:12]


# ---------------------------------------------------------------- measured now, or before


def _measure_all(
    job: Job, partial: PartialRows, progress: Progress | None, poisoned: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Measure what is not in `partial` yet, and return all rows as they are stored."""

    def tell(key: str, error: Exception) -> None:
        poisoned.append((key, f"{type(error).__name__}: {error}"))

    done, total = partial.read().num_rows, len(job.texts)
    waiting: list[dict[str, Any]] = []
    try:
        for batch in measure(job, done, tell):
            waiting += batch
            done += len(batch)
            if len(waiting) >= job.settings.chunk_rows:
                partial.append(done - len(waiting), waiting)
                waiting = []
            if progress is not None:
                progress(done, total)
    finally:
        if waiting:  # the last part, or what a Ctrl-C would otherwise lose
            partial.append(done - len(waiting), waiting)
    rows: list[dict[str, Any]] = partial.read().to_pylist()
    return rows


class _Standing(NamedTuple):
    rows: list[dict[str, Any]]
    cut: Cut


def _standing(table: Table, identity: str) -> _Standing | None:
    """The measured rows that the table holds already, if they are those that would be measured now."""
    if not all(table.has(name) for name in ("capfilt", *DECIDED.names)):
        return None
    origin = table.rows([0], ["capfilt"])[0]["capfilt"]
    if origin is None or origin["identity"] != identity:
        return None
    rows = [undecide(row) for batch in table.batches(["key", *DECIDED.names]) for row in batch]
    return _Standing(rows, Cut.model_validate_json(origin["cut"]))


# ---------------------------------------------------------------- what comes out


def _balanced(job: Job, rows: list[dict[str, Any]], decided: list[dict[str, Any]]) -> Ledger:
    if [row["key"] for row in rows] != job.table.column("key"):
        raise DataError(f"measured rows are not those of {job.table.path}", hint="run again with --force")
    ledger = tally({**row, "texts": texts} for row, texts in zip(decided, job.texts, strict=True))
    readable = sum(row["picture"] is None for row in rows)
    check(
        ledger,
        rows=job.table.num_rows,
        web_texts=sum(map(len, job.texts)),
        synthetic_texts=readable * job.settings.texts_written,
    )
    return ledger


def _newest(job: Job, identity: str) -> Table:
    """The table as it is now: other columns may have come meanwhile, its pairs may not have changed."""
    newest = Table.open(job.table.path)
    if newest.version == job.table.version:
        return job.table
    texts = _web_texts(newest, job.settings.texts_column)
    if _identity(job._replace(table=newest, texts=texts)) != identity:
        raise DataError(
            f"the pairs of {newest.path} have changed since version {job.table.version}",
            hint="run again; the new version is then cleaned",
        )
    return newest


def _columns(job: Job, identity: str, cut: Cut, decided: list[dict[str, Any]]) -> pa.Table:
    origin = {
        "identity": identity,
        "captioner": job.captioner.digest,
        "filter": job.judge.digest,
        "settings": job.settings.model_dump_json(),
        "cut": cut.model_dump_json(),
        "limner": limner.__version__,
        "time": datetime.now(UTC),
    }
    columns = pa.Table.from_pylist(decided, schema=DECIDED)
    return columns.append_column("capfilt", pa.repeat(pa.scalar(origin, type=ORIGIN), len(decided)))


def _record(recorder: Recorder, job: Job, result: CapFiltResult) -> None:
    speed = result.pictures_per_second
    recorder.write(
        "capfilt",
        table=job.table.path.name,
        version=result.table.version,
        captioner=job.captioner.digest,
        filter=job.judge.digest,
        shared=job.shared,
        settings=job.settings.model_dump(mode="json"),
        ledger=result.ledger.model_dump(mode="json"),
        reused=result.reused,
        measured=result.measured,
        seconds=round(result.seconds, 3),
        rows_per_second=speed and round(speed, 1),
        cut=result.cut.model_dump(mode="json"),
        screen=result.screen and result.screen.model_dump(mode="json"),
        poisoned=[{"key": key, "raised": raised} for key, raised in result.poisoned],
    )
