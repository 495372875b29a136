"""What there is to find in a table without opening its pictures: counts, faults, duplicates, leaks.

A table that lacks a column is looked at without it. Everything is plain values, so that the page and
`--json` say the same.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from pydantic import Field

from limner.config import Config
from limner.data.duplicates import (
    Leak,
    embedding_groups,
    exact_groups,
    joined,
    leaks,
    near_groups,
    telling_hash,
)
from limner.data.languages import UNKNOWN, language_counts
from limner.data.quarantine import quarantine_path
from limner.data.table import Table
from limner.errors import DataError
from limner.report.scrub_texts import Texts, judge_texts

_COLUMNS: Final = (
    *("key", "width", "height", "format", "sha256", "phash"),
    *("texts", "label", "split", "source", "licence"),
)
_COUNTED: Final = ("split", "source", "licence", "label", "format")
_EXAMPLES: Final = 5


class ScrubSettings(Config):
    """How closely a table is looked at.

    Args:
        near: bits that perceptual hashes of near duplicates differ in at most, [0, 16].
        where: SQL over the columns; only these rows.
        sample: most pictures that are opened and most vectors that are compared; of five times as many texts
            the language is told. Drawn with the seed.
        seed: of the sample.
        examples: pictures of a sheet, groups of duplicates, leaks shown.
    """

    near: int = Field(2, ge=0, le=16)
    where: str | None = None
    sample: int = Field(4000, ge=1)
    seed: int = 0
    examples: int = Field(12, ge=1)


@dataclass(frozen=True)
class Group:
    """Rows that show one picture.

    Args:
        size: rows.
        rows: of a few of them, first the one it is named after.
    """

    size: int
    rows: list[int]


@dataclass(frozen=True)
class Duplicates:
    """Pictures that stand in the table more than once.

    Args:
        exact: rows whose bytes an earlier row has.
        near: rows that only look like an earlier one.
        exact_groups: the largest groups of equal bytes.
        near_groups: the largest groups that hold different bytes, one row for each.
        by_embedding: column that was compared too; "" without one.
        compared: vectors compared.
    """

    exact: int
    near: int
    exact_groups: list[Group]
    near_groups: list[Group]
    by_embedding: str = ""
    compared: int = 0


@dataclass(frozen=True)
class Refused:
    """What the import refused: how many for which reason, and a few of them."""

    total: int
    reasons: dict[str, int]
    examples: list[dict[str, Any]]


@dataclass(frozen=True)
class Findings:
    """What there is to say about a table, without its pictures.

    Args:
        rows: looked at.
        total: in the table.
        positions: in the table, of the rows looked at.
        columns: name to values, one for each row looked at; None where the table has none.
        texts: faults, repeats, lengths.
        languages: language code to texts, of a sample when there are many.
        duplicates: exact and near.
        leaks: pictures that stand in several splits.
        counts: column to value to rows, most frequent first.
        refused: of the quarantine table; None without one.
    """

    rows: int
    total: int
    positions: np.ndarray
    columns: dict[str, list[Any]]
    texts: Texts
    languages: dict[str, int]
    duplicates: Duplicates
    leaks: list[Leak]
    counts: dict[str, dict[str, int]]
    refused: Refused | None

    @property
    def without_text(self) -> int:
        """Rows with no text."""
        return self.texts.per_picture.get(0, 0)

    @property
    def not_english(self) -> int:
        """Texts in another language, of those whose language is told."""
        return sum(number for name, number in self.languages.items() if name not in ("en", UNKNOWN))

    def values(self) -> dict[str, Any]:
        """Everything as plain values, with keys for rows."""
        keys = self.columns["key"]
        found = self.duplicates

        def named(groups: list[Group]) -> list[dict[str, Any]]:
            return [{"size": group.size, "keys": [keys[row] for row in group.rows]} for group in groups]

        texts = {name: getattr(self.texts, name) for name in ("count", "distinct", "shared", "per_picture")}
        return {
            "rows": self.rows,
            "texts": texts
            | {
                "faults": [asdict(fault) for fault in self.texts.faults],
                "repeats": [
                    {"text": repeat.text, "count": repeat.count, "keys": [keys[row] for row in repeat.rows]}
                    for repeat in self.texts.repeats
                ],
            },
            "languages": self.languages,
            "duplicates": asdict(found)
            | {"exact_groups": named(found.exact_groups), "near_groups": named(found.near_groups)},
            "leaks": {
                "count": len(self.leaks),
                "examples": [
                    {"keys": list(leak.keys), "splits": list(leak.splits)} for leak in self.leaks[:20]
                ],
            },
            "counts": self.counts,
            "refused": asdict(self.refused) if self.refused else None,
        }


def look_at(table: Table, settings: ScrubSettings) -> Findings:
    """Read every column but the pictures, and say what there is to find.

    Args:
        table: with `key` and `image`; any other column may be missing.
        settings: how closely.
    Raises: DataError when the table has no `key`, no row is left, or the filter cannot be read.
    """
    if not table.has("key") or not table.has("image"):
        raise DataError(f"{table.path} is no pairs table", wanted="columns key and image")
    positions = table.positions(settings.where)
    if not len(positions):
        raise DataError(f"{table.path} has no rows to look at", hint="leave out --where")
    there = [name for name in _COLUMNS if table.has(name)]
    read = table.arrow(there, settings.where)
    rows = len(positions)
    columns: dict[str, list[Any]] = {name: [None] * rows for name in _COLUMNS}
    columns |= {name: read[name].to_pylist() for name in there}
    groups, duplicates = _duplicates(table, positions, columns, settings)
    return Findings(
        rows=rows,
        total=len(table),
        positions=positions,
        columns=columns,
        texts=judge_texts(columns["texts"], columns["key"], settings.examples),
        languages=_languages(columns["texts"], settings),
        duplicates=duplicates,
        leaks=leaks(groups, columns["split"], columns["key"]),
        counts={name: counted(columns[name]) for name in _COUNTED},
        refused=_refused(table),
    )


def counted(values: Sequence[Any]) -> dict[str, int]:
    """Value to count, most frequent first; "(none)" for what is not there."""
    return {str(value or "(none)"): number for value, number in Counter(values).most_common()}


def drawn(rows: int, most: int, seed: int) -> np.ndarray:
    """Numbers of the rows in a sample, in order; all of them when they are few."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def embedding_of(table: Table, rows: Sequence[int]) -> tuple[str, np.ndarray]:
    """The newest embedding column and its vectors of some rows; "" and nothing without one.

    Args:
        table: any.
        rows: positions; a row without a vector is all NaN.
    """
    names = [name for name in table.column_names if name.startswith("embedding_")]
    if not names:
        return "", np.zeros((0, 0), np.float32)
    name = names[-1]
    vectors = [row[name] for row in table.rows(rows, [name])]
    width = max((len(vector) for vector in vectors if vector), default=0)
    nothing = [float("nan")] * width
    return name if width else "", np.array([vector or nothing for vector in vectors], dtype=np.float32)


def _languages(texts: Sequence[Sequence[str] | None], settings: ScrubSettings) -> dict[str, int]:
    flat = [text for own in texts for text in own or ()]
    return language_counts(flat[i] for i in drawn(len(flat), 5 * settings.sample, settings.seed))


def _duplicates(
    table: Table, positions: np.ndarray, columns: dict[str, list[Any]], settings: ScrubSettings
) -> tuple[np.ndarray, Duplicates]:
    """Groups of the rows, and what there is to say about them."""
    exact = exact_groups(columns["sha256"])
    telling = list(map(telling_hash, columns["phash"], columns["width"], columns["height"]))
    groups = joined(exact, near_groups(telling, settings.near))
    sample = drawn(len(positions), settings.sample, settings.seed)
    name, vectors = embedding_of(table, positions[sample].tolist())
    if name:
        alike = np.arange(len(groups))
        alike[sample] = sample[embedding_groups(vectors)]
        groups = joined(groups, alike)
    order = np.arange(len(groups))
    firsts = np.flatnonzero(exact == order)  # of the same bytes one row is enough to show
    return groups, Duplicates(
        exact=int((exact != order).sum()),
        near=int(((groups != order) & (exact == order)).sum()),
        exact_groups=_largest(exact, order, settings.examples),
        near_groups=_largest(groups, firsts, settings.examples),
        by_embedding=name,
        compared=len(sample) if name else 0,
    )


def _largest(groups: np.ndarray, rows: np.ndarray, most: int) -> list[Group]:
    """The largest groups among some rows."""
    names, sizes = np.unique(groups[rows], return_counts=True)
    largest = np.argsort(-sizes, kind="stable")[:most]
    return [
        Group(int(sizes[one]), rows[groups[rows] == names[one]][:_EXAMPLES].tolist())
        for one in largest
        if sizes[one] > 1
    ]


def _refused(table: Table) -> Refused | None:
    """What lies in the quarantine table beside a table."""
    path = quarantine_path(table.path)
    if not (path / "_versions").is_dir():
        return None
    rows = Table.open(path).arrow(["origin", "reason", "message"]).to_pylist()
    return Refused(len(rows), counted([row["reason"] for row in rows]), rows[:_EXAMPLES])
