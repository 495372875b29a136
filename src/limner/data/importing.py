"""The import: every picture of some sources through the one intake into a pairs table, and that is the
preflight.

What has been looked at is staged beside the table, so that a killed import goes on where it stopped; one
commit at the end makes the new version, with a record of what was done. Into a table that exists it brings
what is new and what has changed, and leaves every other row as it is. A picture that is refused goes to a
quarantine table with a reason; above `max_bad` refusals nothing is committed.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from limner.data.import_result import (
    NOT_DOWNLOADED,
    ImportResult,
    ImportRules,
    Settled,
    judge,
    settle,
    too_many,
)
from limner.data.import_rows import Existing, Identities, Keys, RowMaker, existing_rows, open_item
from limner.data.import_staging import Numbered, Staging
from limner.data.quarantine import QUARANTINE_SCHEMA, merge_quarantine, quarantine_path
from limner.data.sources import Guess, ImportOptions, Item, guess_source
from limner.data.table import SCHEMA, Table

__all__ = [
    "Guess",
    "ImportOptions",
    "ImportResult",
    "ImportRules",
    "Item",
    "guess_source",
    "import_source",
    "import_sources",
]

PART_ITEMS: int = 1024
"""Most items whose work is lost when the process is killed."""
PART_BYTES: Final = 32 * 1024 * 1024
PART_SECONDS: Final = 10.0
_IN_FLIGHT: Final = 32
_HANDFUL: Final = 8
_SURE: Final = 1000

Progress = Callable[[int, int | None], None]


def import_source(
    source: str | Path,
    out: str | Path,
    options: ImportOptions | None = None,
    rules: ImportRules | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportResult:
    """Import one source; see `import_sources`."""
    return import_sources([source], out, options, rules, overwrite=overwrite, progress=progress)


def import_sources(
    sources: Sequence[str | Path | Guess],
    out: str | Path,
    options: ImportOptions | None = None,
    rules: ImportRules | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportResult:
    """Bring sources into a pairs table, as one new version of it.

    Args:
        sources: whatever `guess_source` knows, or its guesses.
        out: folder of the table; made when it is not there. The refused go to
            `<out stem>.quarantine.lance` beside it.
        options: overrides of the guess, limits of the intake, share of refusals allowed.
        rules: what to do with duplicates, splits and rows that are gone.
        overwrite: make the table anew, and replace the one that is there at the end.
        progress: told the items done and the items in all, None where that is not known before the end.
    Raises: DataError when a source cannot be told, no picture is left, more than `max_bad` of the rows are
        refused, or the place cannot be written; then the table is as it was.
    """
    out, options, rules = Path(out), options or ImportOptions(), rules or ImportRules()
    begin = time.perf_counter()
    guesses = tuple(s if isinstance(s, Guess) else guess_source(s, options) for s in sources)
    table = Table.open(out) if out.exists() and not overwrite else None
    work = _Work(out, guesses, options, rules, table)
    staging = _open_staging(work, overwrite)
    done = False
    try:
        work.stage(staging, progress or (lambda done, total: None))
        rows = staging.rows()
        settled = settle(rows, work.existing, work.gone(), rules)
        judge(settled, work.names, options.max_bad, rows)
        seconds, looked_at = time.perf_counter() - begin, rows.num_rows - staging.adopted
        record = _record(work, settled, seconds, looked_at)
        made = _commit(work, staging, settled, record, overwrite)
        quarantine = _quarantine(work, rows, overwrite)
        done = True
    finally:
        staging.close(remove=done or not staging.parts())
    changed = table is None or made.version != table.version
    return ImportResult(
        table=made,
        version=made.version if changed else None,
        settled=settled,
        pruned=len(settled.gone) if rules.prune else 0,
        quarantine=quarantine,
        guesses=guesses,
        seconds=seconds,
        looked_at=looked_at,
    )


@dataclass
class _Work:
    """One import: what is brought where, and by which rules."""

    out: Path
    guesses: tuple[Guess, ...]
    options: ImportOptions
    rules: ImportRules
    table: Table | None
    existing: Existing = field(init=False)
    identities: Identities = field(default_factory=Identities)
    keys: Keys = field(init=False)

    def __post_init__(self) -> None:
        self.existing = existing_rows(self.table, self.options.keep)
        self.keys = Keys(self.existing, self.identities)

    @property
    def names(self) -> str:
        """The sources' addresses."""
        return ", ".join(guess.source for guess in self.guesses)

    @property
    def addresses(self) -> list[str]:
        """What each source is called in the table."""
        return [self.options.source or guess.source for guess in self.guesses]

    def owners(self) -> set[str]:
        """Identities of the sources."""
        return {self.identities[address] for address in self.addresses}

    def gone(self) -> list[str]:
        """Keys of the table that these sources brought once and have no more."""
        owned = set().union(*(self.keys.owned(owner) for owner in self.owners()))
        return sorted(owned - self.keys.taken)

    def stage(self, staging: Staging, progress: Progress) -> None:
        """Look at every item that no earlier run has finished."""
        items = ((number, item) for number, guess in enumerate(self.guesses) for item in guess.items())
        counts = [guess.count for guess in self.guesses]
        total = None if None in counts else sum(count for count in counts if count is not None)
        tally = _Tally(self, total, progress)
        rest = staging.take_up(items, tally.replay)
        maker = RowMaker(self.existing, self.keys, self.options, redraw=bool(self.rules.splits))
        workers = min(4, os.cpu_count() or 1)
        pool = ThreadPoolExecutor(max_workers=workers)
        part = _Part(staging)
        try:
            for number, item, opened in _in_order(pool, rest, self._open):
                row = maker.row(item, self.guesses[number].source, opened)
                part.add(row)
                tally.count(row)
            tally.tell()
        finally:
            pool.shutdown(cancel_futures=True)
            part.flush()

    def _open(self, item: Item) -> Any:
        return open_item(item, self.options.limits, self.existing.seen)


def _in_order(
    pool: ThreadPoolExecutor, items: Iterable[Numbered], work: Callable[[Item], Any]
) -> Iterator[tuple[int, Item, Any]]:
    """Each item with what `work` made of it; a few are under way at a time, handed over by the handful."""
    flying: deque[tuple[list[Numbered], Future[list[Any]]]] = deque()
    rest = iter(items)
    while handful := list(islice(rest, _HANDFUL)):
        flying.append((handful, pool.submit(lambda some: [work(item) for _, item in some], handful)))
        if len(flying) * _HANDFUL >= _IN_FLIGHT:
            yield from _landed(*flying.popleft())
    for flight in flying:
        yield from _landed(*flight)


def _landed(handful: list[Numbered], future: Future[list[Any]]) -> Iterator[tuple[int, Item, Any]]:
    for (number, item), made in zip(handful, future.result(), strict=True):
        yield number, item, made


class _Part:
    """Rows that are finished but not yet staged."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._rows: list[dict[str, Any]] = []
        self._bytes, self._since = 0, time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        """Keep one finished row, and stage it with others when they are many, large or old."""
        self._rows.append(row)
        self._bytes += len(row.get("image") or b"")
        late = time.monotonic() - self._since > PART_SECONDS
        if late or len(self._rows) >= PART_ITEMS or self._bytes >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Stage what is finished."""
        rows, self._rows = self._rows, []
        self._bytes, self._since = 0, time.monotonic()
        if rows:
            self._staging.add(rows)


class _Tally:
    """How far an import is; stops one that cannot succeed any more."""

    def __init__(self, work: _Work, total: int | None, progress: Progress) -> None:
        self._work, self._total, self._progress = work, total, progress
        self._done = self._bad = 0

    def replay(self, rows: list[dict[str, Any]]) -> None:
        """Count rows of an earlier run, and give their keys again."""
        for row in rows:
            self._work.keys.claim(row["source"], row["name"])
            self.count(row)

    def count(self, row: dict[str, Any]) -> None:
        """Count one finished row."""
        self._done += 1
        self._bad += row.get("reason") not in (None, NOT_DOWNLOADED)
        if self._done % _IN_FLIGHT == 0:
            self.tell()
        most = self._work.options.max_bad
        if self._total and self._total >= _SURE and self._bad > most * self._total:
            raise too_many(self._bad, self._done, self._work.names, "so far, too many already", most)

    def tell(self) -> None:
        """Tell the one who watches."""
        self._progress(self._done, self._total)


def _open_staging(work: _Work, overwrite: bool) -> Staging:
    options = work.options.model_dump(mode="json", exclude={"max_bad"})
    command = {
        "sources": [work.identities[guess.source] for guess in work.guesses],
        "options": options,
        "overwrite": overwrite,
        "splits": bool(work.rules.splits),
    }
    state = None if work.table is None else [work.table.version, work.table.versions()[-1].time]
    ground = {"limner": version("limner"), "table": state}
    return Staging(work.out, command, ground, work.rules.restart)


def _commit(
    work: _Work, staging: Staging, settled: Settled, record: dict[str, Any], overwrite: bool
) -> Table:
    """Write the new version, if anything has changed."""
    note = f"import {work.names}"
    keep = work.options.keep
    batches = staging.pictures(settled.keep, settled.splits, keep)
    if work.table is None:
        schema = pa.schema([*SCHEMA, *((name, pa.string()) for name in keep)])
        return Table.write(work.out, batches, schema, overwrite=overwrite, note=note, record=record)
    table, pruned = work.table, settled.gone if work.rules.prune else []
    if pruned:
        table = table.delete(pruned, note, record)
    if settled.keep.any() and (new := [name for name in keep if not table.has(name)]):
        empty = pa.table({name: pa.nulls(table.num_rows, pa.string()) for name in new})
        table = table.add_columns(empty, f"room for {', '.join(new)}")
    return table.upsert(batches, note, record) if settled.keep.any() else table


def _quarantine(work: _Work, rows: pa.Table, overwrite: bool) -> Path | None:
    refused = [row for row in rows.select(QUARANTINE_SCHEMA.names).to_pylist() if row["reason"]]
    sources = {work.identities[name] for name in rows["source"].unique().to_pylist()} | work.owners()

    def is_old(source: str) -> bool:
        return overwrite or not source or work.identities[source] in sources

    return merge_quarantine(quarantine_path(work.out), refused, is_old, f"import {work.names}")


def _record(work: _Work, settled: Settled, seconds: float, looked_at: int) -> dict[str, Any]:
    """What is kept with the version."""
    return {
        "verb": "import",
        "limner": version("limner"),
        "sources": [guess.source for guess in work.guesses],
        "options": work.options.model_dump(mode="json", exclude_defaults=True),
        "rules": work.rules.model_dump(mode="json", exclude_defaults=True),
        "guess": [list(guess.lines) for guess in work.guesses],
        **settled.values(),
        "seconds": round(seconds, 3),
        "pictures_per_s": round(looked_at / max(seconds, 1e-9), 1),
    }
