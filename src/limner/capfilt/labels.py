"""Which texts people call good: what a review writes, what thresholds are set and models tuned by.

A review is four columns that run beside each other, one entry a judgement, so that several texts of a row and
several people fit: see `REVIEW`. An edit is two judgements: the text shown is rejected, the text written in
its place is an "edit". Nothing is deleted; of two judgements of one text by one person the later one holds.
"""

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from limner.data.table import Table
from limner.errors import DataError

ACCEPT, REJECT, EDIT = "accept", "reject", "edit"

REVIEW: Final = pa.schema(
    {
        "review_text": pa.list_(pa.string()),
        "review_decision": pa.list_(pa.string()),
        "review_by": pa.list_(pa.string()),
        "review_time": pa.list_(pa.timestamp("ms", tz="UTC")),
    }
)
"""Columns of a review: the text that was judged or written; accept, reject or edit; who; when."""

GOOD: Final = frozenset({"1", "true", "yes", "y", "good", "accept", "keep", "clean", EDIT})
BAD: Final = frozenset({"0", "false", "no", "n", "bad", "reject", "drop", "swapped", "junk"})

Labels = dict[tuple[str, str], bool]
"""Whether a text is good, by the row's key and the text."""

_LONGEST_NAME: Final = 60


class Judgement(NamedTuple):
    """One text of one row, as one person saw it."""

    key: str
    text: str
    decision: str
    by: str


def named(person: str) -> str:
    """A person's name, trimmed.

    Raises: DataError when nothing is left, or it is longer than 60 characters.
    """
    name = " ".join(person.split())
    if not name or len(name) > _LONGEST_NAME:
        raise DataError(f"the name {name[:80]!r}", wanted=f"1 to {_LONGEST_NAME} characters")
    return name


def majority(votes: Mapping[tuple[str, str], Collection[bool]]) -> Labels:
    """What most say of each text; of one that as many call good as bad, nothing."""
    balance = {place: 2 * sum(given) - len(given) for place, given in votes.items()}
    return {place: more > 0 for place, more in balance.items() if more}


def review_entries(table: Table) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """The key of each row, in row order, and its entries: text, decision, by, time."""
    for row in (row for batch in table.batches(["key", *REVIEW.names]) for row in batch):
        yield row["key"], list(zip(*(row[name] or [] for name in REVIEW.names), strict=True))


def judgements(table: Table) -> Iterator[Judgement]:
    """Every judgement of a reviewed table; of two by one person of one text, the later one.

    Raises: DataError when nobody has reviewed the table.
    """
    if not all(table.has(name) for name in REVIEW.names):
        raise DataError(
            f"{table.path} has not been reviewed", wanted=f"the columns {', '.join(REVIEW.names)}"
        )
    latest: dict[tuple[str, str, str], tuple[Any, str]] = {}
    for key, entries in review_entries(table):
        for text, decision, by, when in entries:
            place = (key, text, by or "")
            if place not in latest or latest[place][0] is None or when is None or when >= latest[place][0]:
                latest[place] = (when, decision)
    for (key, text, by), (_, decision) in latest.items():
        yield Judgement(key, text, decision, by)


def read_labels(table: Table, source: str, texts_column: str = "texts") -> Labels:
    """Labels of a table's texts; a text that as many call good as bad has none.

    Args:
        table: any.
        source: "review" or "review_decision" for the review columns; another column, beside the web texts
            (a flag or a word each: accept, good, clean, true, … or reject, bad, swapped, false, …); or a CSV
            with the columns key, text, good, whose rows with an empty `good` are left out.
        texts_column: the web texts.
    Raises: DataError when there is no such source, or a word is neither good nor bad.
    """
    if source in ("review", "review_decision"):
        found: Iterable[tuple[str, str, Any]] = (
            (one.key, one.text, one.decision) for one in judgements(table)
        )
    elif table.has(source):
        found = _beside(table, source, texts_column)
    elif Path(source).is_file():
        found = _in_csv(Path(source))
    else:
        raise DataError(
            f"no labels in {source!r}",
            wanted=f"a column of {table.path}, or a CSV with key, text, good",
            hint=f"limner capfilt select {table.path} --out labels.csv makes one to fill in",
        )
    votes: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for key, text, word in found:
        votes[key, text].append(_is_good(word, source))
    return majority(votes)


def good_texts(table: Table, labels: Mapping[tuple[str, str], bool]) -> list[list[str]]:
    """The texts of each row that are labelled good, in row order."""
    good: defaultdict[str, list[str]] = defaultdict(list)
    for (key, text), is_good in labels.items():
        if is_good:
            good[key].append(text)
    return [good.get(key, []) for key in table.column("key")]


def beside(said: Any, texts: int) -> list[Any]:
    """What is said of each text of a row: a word each, as they stand, or one word for all of them."""
    return said if isinstance(said, list) else [said] * texts


def _beside(table: Table, column: str, texts_column: str) -> Iterator[tuple[str, str, Any]]:
    for row in (row for batch in table.batches(["key", texts_column, column]) for row in batch):
        texts = row[texts_column] or []
        words = beside(row[column], len(texts))
        if len(words) != len(texts):
            raise DataError(
                f"{len(words)} labels in {column!r} for {len(texts)} texts of {row['key']}",
                wanted="one a text, or one a row",
            )
        yield from (
            (row["key"], text or "", word) for text, word in zip(texts, words, strict=True) if _said(word)
        )


def _in_csv(path: Path) -> Iterable[tuple[str, str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = {"key", "text", "good"} - set(rows.fieldnames or ())
        if missing:
            raise DataError(f"{path} has no {', '.join(sorted(missing))}", wanted="columns key, text, good")
        return [(row["key"], row["text"], row["good"]) for row in rows if _said(row["good"])]


def _said(word: Any) -> bool:
    return word is not None and str(word).strip() != ""


def _is_good(word: Any, source: str) -> bool:
    said = str(word).strip().lower()
    if said not in GOOD | BAD:
        raise DataError(
            f"the label {word!r} in {source}",
            wanted=f"one of {', '.join(sorted(GOOD))}; or {', '.join(sorted(BAD))}",
        )
    return said in GOOD
