"""CapFilt: a captioner writes a text for each picture, a filter judges every text.

Source: Li et al. 2022, BLIP (arXiv 2201.12086), section 3.3.

Captioner and filter are two bundles, fine-tuned apart in the paper. The same bundle for both is the paper's
ablation "share parameters" (Table 4): one look at each picture instead of two, and a filter that is lenient
with its own captions. Nothing is deleted: scores, decisions and reasons stand in columns beside the web
texts, and training reads `texts_bootstrapped`, the union of the web and synthetic texts that stay.

Measured rows are saved beside the table as the job goes; when all are there, every column is added in ONE
new version. A kill at any moment leaves the table as it was, and the next run with the same models and
settings goes on. An engine decides who measures which rows, and nothing else. What was measured stays in
Arrow's columns and is walked a batch at a time, so that memory grows by bytes a row, not by objects.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, NamedTuple

import pyarrow as pa

import limner
from limner.capfilt.cut import Cut, ScreenLoss, choose_cut, screen_loss
from limner.capfilt.decision import DECIDED, MEASURED, decide, undecide
from limner.capfilt.fewer import merged
from limner.capfilt.labels import read_labels
from limner.capfilt.ledger import Ledger, check, tally
from limner.capfilt.measure import Engine, Job, is_spared, measure, web_texts
from limner.capfilt.partial import PartialRows, PartWriter
from limner.capfilt.settings import NOT_MEASURED, CapFiltSettings
from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.data.table_reading import require_texts
from limner.errors import DataError
from limner.models.blip import BLIP
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

_ALIGNED = 64  # bytes: what torch gives every tensor it makes

Progress = Callable[[int, int], None]
"""Told of rows done and rows in all."""

_WALK = 1024
"""Rows that are Python objects at a time."""


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
    engine: Engine = measure,
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
        engine: who measures; this process when left out.
        force: measure again what is there already.
    Raises: CheckpointError when a bundle is no BLIP; ConfigError when its image encoder cannot merge as many
        tokens as the settings say; DataError when the table is empty, lacks a column, no
        threshold is as precise as asked, or the ledger does not balance. The table is then as it was.
    """
    for bundle in (captioner, judge):
        _align(bundle.blip()[0])
    settings = settings or CapFiltSettings()
    if table.num_rows == 0:
        raise DataError(
            f"{table.path} has no rows", wanted="a table with pictures", hint="limner import SOURCE"
        )
    require_texts(table.path, table.schema, settings.texts_column)
    labels = read_labels(table, settings.labels, settings.texts_column) if settings.labels else None
    job = merged(Job(table, captioner, judge, settings))
    identity = _identity(job)
    partial = PartialRows(table.path, identity)
    if force:
        partial.remove()
    standing = None if force else _standing(table, identity)
    began, before = time.perf_counter(), table.num_rows
    poisoned: list[tuple[str, str]] = []
    if standing is None:
        before = partial.num_rows
        poisoned = _measure_all(job, partial, engine, progress)
        rows = partial.read()
    else:
        rows = standing.rows
    seconds = time.perf_counter() - began
    cut = choose_cut(_walked(rows), _texts(job), settings, labels)
    decided = _decided(job, rows, cut.threshold)
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
        table, ledger, reused, rows.num_rows - before, seconds, cut, _screen(job, rows, cut), poisoned
    )
    if recorder is not None:
        _record(recorder, job, result)
    return result


def _align(model: BLIP) -> None:
    """Move weights that lie askew in their file, in place.

    In the last digit a sum hangs on where its numbers lie, and a process that is sent them has them straight.
    """
    for weight in model.parameters():
        if weight.data_ptr() % _ALIGNED:
            weight.data = weight.data.clone()


def _screen(job: Job, rows: pa.Table, cut: Cut) -> ScreenLoss | None:
    if job.settings.itc_screen is None:
        return None
    spared = (row for row in _walked(rows) if is_spared(job.settings.seed, row["key"]))
    return screen_loss(spared, cut.threshold)


def _walked(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=_WALK):
        yield from batch.to_pylist()


def _gathered(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    given = iter(rows)
    batches = iter(lambda: list(islice(given, _WALK)), [])
    return pa.Table.from_batches((pa.RecordBatch.from_pylist(b, schema=schema) for b in batches), schema)


# ---------------------------------------------------------------- what goes in


def _texts(job: Job) -> Iterator[list[str]]:
    """The web texts of each row."""
    column = job.settings.texts_column
    for batch in job.table.batches([column], _WALK):
        yield from (web_texts(row[column]) for row in batch)


def _identity(job: Job) -> str:
    """12 hex digits that change when a caption or a score could: models, settings, keys, texts, pictures."""
    told = {
        "captioner": job.captioner.digest,
        "filter": job.judge.digest,
        "settings": job.settings.model_dump(mode="json", exclude=set(NOT_MEASURED)),
    }
    hasher = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    names = ["key", "sha256"] if job.table.has("sha256") else ["key"]
    column = job.settings.texts_column
    for batch in job.table.batches([*names, column], _WALK):
        for row in batch:
            known = (row["key"], row.get("sha256"), web_texts(row[column]))
            hasher.update(json.dumps(known).encode())
    return hasher.hexdigest()[:12]


# ---------------------------------------------------------------- measured now, or before


def _measure_all(
    job: Job, partial: PartialRows, engine: Engine, progress: Progress | None
) -> list[tuple[str, str]]:
    """Measure what is not in `partial` yet; return the rows that a model failed on."""
    poisoned: dict[int, list[tuple[str, str]]] = {}
    done, total = partial.num_rows, job.table.num_rows
    writer = PartWriter(partial, job.settings.chunk_rows)
    try:
        for piece in engine(job, partial.gaps(total)):
            writer.add(piece.start, piece.rows)
            poisoned[piece.start] = piece.poisoned
            done += len(piece.rows)
            if progress is not None:
                progress(done, total)
    finally:
        writer.flush()  # the last part, or what a Ctrl-C would otherwise lose
    return [row for start in sorted(poisoned) for row in poisoned[start]]


def is_measured(job: Job) -> bool:
    """Whether the table of a job, from `merged`, holds its captions and scores, so that no model runs."""
    return _origin(job.table, _identity(job)) is not None


class _Standing(NamedTuple):
    rows: pa.Table
    cut: Cut


def _standing(table: Table, identity: str) -> _Standing | None:
    """The measured rows that the table holds already, if they are those that would be measured now."""
    origin = _origin(table, identity)
    if origin is None:
        return None
    names = ["key", *DECIDED.names]
    rows = _gathered((undecide(row) for batch in table.batches(names, _WALK) for row in batch), MEASURED)
    return _Standing(rows, Cut.model_validate_json(origin["cut"]))


def _origin(table: Table, identity: str) -> dict[str, Any] | None:
    """How the measured rows of a table were made; None when they are others, or there are none."""
    if not table.num_rows or not all(table.has(name) for name in ("capfilt", *DECIDED.names)):
        return None
    origin: dict[str, Any] | None = table.rows([0], ["capfilt"])[0]["capfilt"]
    return origin if origin and origin["identity"] == identity else None


# ---------------------------------------------------------------- what comes out


def _decided(job: Job, rows: pa.Table, threshold: float) -> pa.Table:
    if rows["key"].to_pylist() != job.table.column("key"):
        raise DataError(f"measured rows are not those of {job.table.path}", hint="run again with --force")
    pairs = zip(_walked(rows), _texts(job), strict=True)
    return _gathered((decide(row, texts, threshold) for row, texts in pairs), DECIDED)


def _balanced(job: Job, rows: pa.Table, decided: pa.Table) -> Ledger:
    pairs = zip(_walked(decided), _texts(job), strict=True)
    ledger = tally({**row, "texts": texts} for row, texts in pairs)
    check(
        ledger,
        rows=job.table.num_rows,
        web_texts=sum(map(len, _texts(job))),
        synthetic_texts=rows["picture"].null_count * job.settings.texts_written,
    )
    return ledger


def _newest(job: Job, identity: str) -> Table:
    """The table as it is now: other columns may have come meanwhile, its pairs may not have changed."""
    newest = Table.open(job.table.path)
    if newest.version == job.table.version:
        return job.table
    if _identity(job._replace(table=newest)) != identity:
        raise DataError(
            f"the pairs of {newest.path} have changed since version {job.table.version}",
            hint="run again; the new version is then cleaned",
        )
    return newest


def _columns(job: Job, identity: str, cut: Cut, decided: pa.Table) -> pa.Table:
    origin = {
        "identity": identity,
        "captioner": job.captioner.digest,
        "filter": job.judge.digest,
        "settings": job.settings.model_dump_json(),
        "cut": cut.model_dump_json(),
        "limner": limner.__version__,
        "time": datetime.now(UTC),
    }
    return decided.append_column("capfilt", pa.repeat(pa.scalar(origin, type=ORIGIN), decided.num_rows))


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
