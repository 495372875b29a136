"""What an import comes to: counts, duplicates, splits and leaks of everything that was looked at."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from limner.config import Config
from limner.data.captions import shared_texts
from limner.data.duplicates import assigned_splits, exact_groups, joined, leaks, near_groups, telling_hash
from limner.data.import_rows import Existing
from limner.data.sources import Guess
from limner.data.table import Table
from limner.errors import ConfigError, DataError

NOT_DOWNLOADED: Final = "not_downloaded"
_EXAMPLES: Final = 3
_LIGHT: Final = ["key", "state", "sha256", "phash", "split", "width", "height"]


class ImportRules(Config):
    """What an import does with what it has found.

    Args:
        prune: delete rows of these sources that are gone from them.
        drop_duplicates: leave out new pictures with the same bytes as an earlier row, or that look like one.
        splits: name to share; rows without a split are given one, duplicates together.
        seed: of the splits.
        restart: throw away what an unfinished import has left.
    """

    prune: bool = False
    drop_duplicates: Literal["exact", "near"] | None = None
    splits: dict[str, float] = Field(default_factory=dict)
    seed: int = 0
    restart: bool = False


@dataclass(frozen=True)
class Duplicates:
    """Pictures that the table holds more than once.

    Args:
        exact: rows whose bytes an earlier row has.
        near: rows that only look like an earlier one.
        examples: keys that belong together, a few groups.
        dropped: keys left out.
    """

    exact: int = 0
    near: int = 0
    examples: tuple[tuple[str, ...], ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settled:
    """What is to be written, and what there is to say about it.

    Args:
        keep: which staged rows go into the table.
        splits: split of each staged row.
        gone: keys of the table that the sources have no more.
        counts: "added", "updated", "unchanged", "missing".
        refused: reason code to count, most frequent first.
        captions: "kept", and a count for each reason not to keep one.
        lost: reason to its commonest captions, with their counts.
        shared: captions that stand on many pictures: how many, and the commonest with their counts.
        without_text: rows that came in with no text at all.
        duplicates: of the table as it will be.
        leaks: keys of pictures that stand in more than one split, with these splits.
    """

    keep: np.ndarray
    splits: list[str | None]
    gone: list[str]
    counts: dict[str, int]
    refused: dict[str, int]
    captions: dict[str, int]
    lost: dict[str, list[tuple[str, int]]]
    shared: tuple[int, list[tuple[str, int]]]
    without_text: int
    duplicates: Duplicates
    leaks: list[dict[str, Any]] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Everything there is to say, as plain values."""
        return {
            **self.counts,
            "refused": self.refused,
            "captions": self.captions,
            "captions_lost": {reason: dict(texts) for reason, texts in self.lost.items()},
            "captions_on_many": {"count": self.shared[0], "commonest": dict(self.shared[1])},
            "without_text": self.without_text,
            "duplicates": {**asdict(self.duplicates), "dropped": list(self.duplicates.dropped)},
            "leaks": {"count": len(self.leaks), "examples": self.leaks[:20]},
        }


@dataclass(frozen=True)
class ImportResult:
    """What an import did; `rows + sum(refused.values())` and the dropped are what the sources held.

    Args:
        table: at its newest version.
        version: the version this import made; None when nothing had changed.
        settled: counts, captions, duplicates and leaks.
        pruned: rows deleted.
        quarantine: table of the refused; None when there are none.
        guesses: what each source was taken for.
        seconds: this run took.
        looked_at: items this run looked at; the others were finished by an earlier, killed run.
    """

    table: Table
    version: int | None
    settled: Settled
    pruned: int
    quarantine: Path | None
    guesses: tuple[Guess, ...]
    seconds: float
    looked_at: int

    @property
    def rows(self) -> int:
        """Pictures of the sources that are in the table."""
        return sum(self.settled.counts[name] for name in ("added", "updated", "unchanged"))

    @property
    def refused(self) -> dict[str, int]:
        """Reason code to count, most frequent first."""
        return self.settled.refused

    @property
    def pictures_per_s(self) -> float:
        """Speed of this run."""
        return self.looked_at / max(self.seconds, 1e-9)


def settle(rows: pa.Table, existing: Existing, gone: list[str], rules: ImportRules) -> Settled:
    """Decide what is written.

    Args:
        rows: everything that was looked at, without pictures; see `STAGED`.
        existing: rows of the table.
        gone: keys of the table that the sources have no more.
        rules: what to do.
    """
    states = rows["state"].to_pylist()
    keep = np.array([state in ("added", "updated") for state in states], dtype=bool)
    after = _After(rows, existing, set(gone) if rules.prune else set())
    duplicates = after.duplicates(rules.drop_duplicates)
    dropped = set(duplicates.dropped)
    keys = rows["key"].to_pylist()
    for position, (key, state) in enumerate(zip(keys, states, strict=True)):
        keep[position] &= not (state == "added" and key in dropped)
    chosen = after.draw_splits(rules) if rules.splits else after.splits_by_key()
    counts = Counter(states)
    lost = rows["lost"].combine_chunks().flatten()
    texts = rows["texts"].combine_chunks().flatten()
    good = counts["added"] + counts["updated"] + counts["unchanged"]
    return Settled(
        keep=keep,
        splits=[chosen.get(key) for key in keys],
        gone=gone,
        counts={
            "added": counts["added"] - len(dropped),
            "updated": counts["updated"],
            "unchanged": counts["unchanged"],
            "missing": len(gone),
        },
        refused=_tally(rows["reason"]),
        captions={"kept": len(texts), **_tally(lost.field("reason"))},
        lost=_commonest(lost),
        shared=shared_texts(pa.chunked_array([texts])),
        without_text=good - int(pc.sum(pc.greater(pc.list_value_length(rows["texts"]), 0)).as_py() or 0),
        duplicates=duplicates,
        leaks=after.leaks(dropped),
    )


def judge(settled: Settled, names: str, max_bad: float, rows: pa.Table) -> None:
    """Refuse an import when too many of its pictures are.

    Args:
        settled: the counts.
        names: of the sources, for the message.
        max_bad: share that may be refused, [0, 1]; what a downloader reported missing does not count.
        rows: everything that was looked at.
    Raises: DataError with counts per reason and the first of the refused.
    """
    refused = {reason: number for reason, number in settled.refused.items() if reason != NOT_DOWNLOADED}
    bad, total = sum(refused.values()), rows.num_rows - settled.refused.get(NOT_DOWNLOADED, 0)
    good = total - bad
    if good and bad <= max_bad * total:
        return
    if not rows.num_rows:
        raise DataError(f"{names} holds no pictures", wanted="at least one")
    first = [row for row in rows.select(["origin", "reason", "message"]).to_pylist() if row["reason"]]
    told = "; ".join(f"{row['origin']}: {row['message'].splitlines()[0]}" for row in first[:_EXAMPLES])
    reasons = ", ".join(f"{number} {reason}" for reason, number in settled.refused.items())
    if not good:
        raise DataError(
            f"none of {rows.num_rows} pictures in {names} can be used ({reasons}): {told}",
            hint="look at one of these files, or name the columns and the base folder",
        )
    raise too_many(bad, total, names, f"({reasons}): {told}", max_bad)


def too_many(bad: int, total: int, names: str, told: str, max_bad: float) -> DataError:
    """The error of an import with too many refusals."""
    return DataError(
        f"{bad} of {total} pictures in {names} are refused {told}",
        wanted=f"at most {max_bad:.0%}",
        hint="--max-bad 1 imports the good ones, from what was looked at already, and puts the others in a "
        "quarantine table",
    )


class _After:
    """The rows of the table as it will be: those it holds, then the new ones."""

    def __init__(self, rows: pa.Table, existing: Existing, pruned: set[str]) -> None:
        self._staged = {row["key"]: row for row in _light(rows) if row["state"] != "refused"}
        self.keys: list[str] = []
        self.sha256: list[str] = []
        self.phashes: list[str | None] = []
        self.splits: list[str | None] = []
        self.new: list[bool] = []
        for (key, known), phash in zip(existing.rows.items(), existing.phashes, strict=True):
            if key not in pruned:
                now = self._staged.get(key)
                old = {"sha256": known.sha256, "phash": phash, "split": known.split}
                self._append(key, now or old, new=False)
        for key, row in self._staged.items():
            if key not in existing.rows:
                self._append(key, row, new=True)
        self._exact = self._groups = np.arange(len(self.keys), dtype=np.int64)
        if self.keys:
            self._exact = exact_groups(self.sha256)
            self._groups = joined(self._exact, near_groups(self.phashes))

    def _append(self, key: str, row: dict[str, Any], new: bool) -> None:
        self.keys.append(key)
        self.sha256.append(row["sha256"])
        self.phashes.append(row["phash"])
        self.splits.append(row["split"])
        self.new.append(new)

    def duplicates(self, drop: str | None) -> Duplicates:
        """Counts and examples; dropped are new rows that are not the first of their group."""
        order = np.arange(len(self.keys))
        exact, near = self._exact != order, self._groups != order
        dropping = {"exact": exact, "near": near}.get(drop or "", np.zeros(len(order), dtype=bool))
        members: dict[int, list[str]] = {}
        for position in np.flatnonzero(near):
            group = int(self._groups[position])
            if group in members or len(members) < _EXAMPLES:
                members.setdefault(group, [self.keys[group]]).append(self.keys[position])
        return Duplicates(
            exact=int(exact.sum()),
            near=int((near & ~exact).sum()),
            examples=tuple(tuple(keys[:_EXAMPLES]) for keys in members.values()),
            dropped=tuple(
                self.keys[position] for position in np.flatnonzero(dropping & np.array(self.new, dtype=bool))
            ),
        )

    def draw_splits(self, rules: ImportRules) -> dict[str, str | None]:
        """Key to split of each row: its own, that of its duplicates, or a drawn one."""
        drawn = assigned_splits(self._groups, rules.splits, rules.seed, ids=self.sha256)
        known: dict[int, str] = {}
        for group, split in zip(self._groups, self.splits, strict=True):
            if split:
                known.setdefault(int(group), split)
        for position, group in enumerate(self._groups):
            if self.keys[position] in self._staged:
                self.splits[position] = self.splits[position] or known.get(int(group), drawn[position])
        return self.splits_by_key()

    def splits_by_key(self) -> dict[str, str | None]:
        """Key to split of each row."""
        return dict(zip(self.keys, self.splits, strict=True))

    def leaks(self, dropped: set[str]) -> list[dict[str, Any]]:
        """Groups of duplicates that stand in more than one split."""
        here = [position for position, key in enumerate(self.keys) if key not in dropped]
        splits = [self.splits[position] or "" for position in here]
        if len(set(splits) - {""}) < 2:
            return []
        found = leaks(self._groups[here], splits, [self.keys[position] for position in here])
        return [{"keys": list(leak.keys), "splits": list(leak.splits)} for leak in found]


def _light(rows: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.select(_LIGHT).to_pylist()
    return [row | {"phash": telling_hash(row["phash"], row["width"], row["height"])} for row in found]


def _tally(column: Any) -> dict[str, int]:
    """Value to count, most frequent first; nulls are not counted."""
    counts = Counter({pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()})
    counts.pop(None, None)
    return dict(counts.most_common())


def _commonest(lost: Any) -> dict[str, list[tuple[str, int]]]:
    """For each reason the captions lost most often."""
    found: dict[str, list[tuple[str, int]]] = {}
    for reason in _tally(lost.field("reason")):
        texts = lost.field("text").filter(pc.equal(lost.field("reason"), reason))
        found[reason] = [(text, number) for text, number in _tally(texts).items() if text][:_EXAMPLES]
    return found


def parsed_splits(text: str) -> dict[str, float]:
    """Shares as people write them: `train=0.8,val=0.1,test=0.1`.

    Raises: ConfigError when a part is no `name=share`, or the shares are not 1 in all.
    """
    splits: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            splits[name.strip()] = float(share)
        except ValueError:
            splits[""] = 0
    whole = abs(sum(splits.values()) - 1) < 1e-6 and all(share > 0 for share in splits.values())
    if "" in splits or not whole:
        raise ConfigError(
            f"--splits {text!r}",
            wanted="names with shares above 0 that are 1 in all",
            hint="train=0.8,val=0.2",
        )
    return splits
