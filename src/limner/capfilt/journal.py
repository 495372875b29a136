"""Judgements on their way into the table: a file of lines beside it, one line a judgement, on disk at once.

A kill loses nothing: what was left is written back at the next start. Writing back is one new version, and
may be repeated: a judgement that is in the table already is not written twice.
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from limner.capfilt.labels import EDIT, REJECT, REVIEW, review_entries
from limner.data.table import Table
from limner.errors import DataError
from limner.record import Recorder, read_records

_BEGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Said(NamedTuple):
    """One judgement.

    Args:
        key: of the row.
        text: that was shown.
        decision: accept, reject or edit.
        by: who.
        time: seconds since 1970.
        written: the text put in its place by an edit.
    """

    key: str
    text: str
    decision: str
    by: str
    time: float
    written: str | None = None

    @property
    def entries(self) -> list[tuple[str, str, str, datetime]]:
        """What stands in the columns of `REVIEW`: text, decision, by, time; of an edit two."""
        when = _BEGIN + timedelta(milliseconds=round(1000 * self.time))
        if self.decision != EDIT:
            return [(self.text, self.decision, self.by, when)]
        return [(self.text, REJECT, self.by, when), (self.written or "", EDIT, self.by, when)]


class Journal:
    """The judgements that are not in the table yet.

    Args:
        table: path of the table.
    """

    def __init__(self, table: Path) -> None:
        self.table = table
        self.path = table.with_name(f"{table.name}.review.jsonl")
        self.strays = table.with_name(f"{table.name}.review-strays.jsonl")

    def add(self, key: str, text: str, decision: str, by: str, written: str | None = None) -> Said:
        """Keep one judgement."""
        fields = {"key": key, "text": text, "decision": decision, "by": by, "written": written}
        return Said(key, text, decision, by, self._recorder.write("judgement", **fields)["time"], written)

    def undo(self, by: str) -> None:
        """Take back the last judgement of a person."""
        self._recorder.write("undo", by=by)

    def read(self) -> list[Said]:
        """The judgements that hold, in order; a last line that a kill cut short is none."""
        said: list[Said | None] = []
        of: defaultdict[str, list[int]] = defaultdict(list)
        for record in read_records(self.path) if self.path.exists() else []:
            if record["kind"] == "undo":
                if of[record["by"]]:
                    said[of[record["by"]].pop()] = None
                continue
            of[record["by"]].append(len(said))
            said.append(Said(**{name: record[name] for name in Said._fields}))
        return [one for one in said if one is not None]

    def write_back(self) -> Table:
        """Write every judgement into the table as one new version, and take the file away.

        A judgement whose row is gone from the table is kept in `strays`.
        Returns: the table at its newest version; no new one when there was nothing to write.
        Raises: DataError when the table changes in the meantime; the file is then as it was.
        """
        table, said = Table.open(self.table), self.read()
        held = held_entries(table)
        fresh: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for one in said:
            known = set(held.get(one.key, ()))
            fresh[one.key] += [entry for entry in one.entries if entry not in known]
        count = sum(len(fresh[key]) for key in held)
        if count:
            rows = [_columns([*entries, *fresh[key]]) for key, entries in held.items()]
            people = len({one.by for one in said})
            note = f"reviewed: {count} judgements of {people} {'person' if people == 1 else 'people'}"
            table = table.add_columns(pa.Table.from_pylist(rows, schema=REVIEW), note)
        self._keep_strays([one for one in said if one.key not in held])
        self.path.unlink(missing_ok=True)
        return table

    @property
    def _recorder(self) -> Recorder:
        return Recorder(self.path, durable=True)

    def _keep_strays(self, said: list[Said]) -> None:
        for one in said:
            Recorder(self.strays, durable=True).write("judgement", **one._asdict())


def held_entries(table: Table) -> dict[str, list[tuple[Any, ...]]]:
    """The entries of the review columns of each row, by its key, in row order."""
    if not any(table.has(name) for name in REVIEW.names):
        return {key: [] for key in table.column("key")}
    missing = [name for name in REVIEW.names if not table.has(name)]
    if missing:
        raise DataError(
            f"{table.path} has no {', '.join(missing)}", wanted="all columns of a review, or none"
        )
    return dict(review_entries(table))


def _columns(entries: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: [entry[i] for entry in entries] for i, name in enumerate(REVIEW.names)}
