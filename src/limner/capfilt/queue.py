"""The texts that people look at, in the order in which they look at them."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from limner.capfilt.decision import KEEP
from limner.capfilt.select import SELECTED, in_order
from limner.data.table import Table
from limner.data.table_reading import require_texts
from limner.errors import DataError

Order = Literal["selected", "active", "random", "table"]


class Item(NamedTuple):
    """One text of one picture to judge.

    Args:
        row: its position in the table.
        key: of the row.
        text: to judge.
        kept: what the filter decided of it; None where none did.
    """

    row: int
    key: str
    text: str
    kept: bool | None

    @property
    def place(self) -> tuple[str, str]:
        """Key and text, by which a judgement finds it again."""
        return self.key, self.text


def texts_to_judge(table: Table, texts_column: str = "texts") -> list[Item]:
    """Every different text of every row in table order: web texts, then synthetic ones.

    Raises: DataError when there is none, or the column holds no texts.
    """
    require_texts(table.path, table.schema, texts_column)
    found: dict[tuple[str, str], Item] = {}
    for item in _texts(table, texts_column):
        before = found.get(item.place)
        found[item.place] = item if before is None else before._replace(kept=before.kept or item.kept)
    if not found:
        raise DataError(
            f"{table.path} has no text to judge",
            wanted=f"texts in its column {texts_column!r}, or synthetic ones",
            hint=f"limner capfilt {table.path} writes some",
        )
    return list(found.values())


def put_in_order(
    table: Table, items: list[Item], order: Order | None = None, seed: int = 0, texts_column: str = "texts"
) -> list[Item]:
    """The queue.

    Args:
        table: that the items are of.
        items: see `texts_to_judge`.
        order: "selected": the pairs of `limner capfilt select` alone, as ranked there; "active": by
            disagreement and uncertainty, then what has no scores; "random": by chance; "table": as they
            stand; None: the first of selected, active and table that the table has columns for.
        seed: of chance, and of the order of equals.
        texts_column: the web texts.
    Raises: DataError when the table lacks what the order needs.
    """
    order = order or _natural(table)
    if order == "table":
        return items
    if order == "random":
        return [items[i] for i in np.random.default_rng(seed).permutation(len(items))]
    places = {item.place: item for item in items}
    if order == "selected":
        return [places[place] for place in _selected(table) if place in places]
    telling = [(pair.key, pair.text) for pair in in_order(table, "active", seed, texts_column)]
    first = [places[place] for place in dict.fromkeys(telling)]
    taken = set(telling)
    return first + [item for item in items if item.place not in taken]


def _natural(table: Table) -> Order:
    if all(table.has(name) for name in SELECTED.names):
        return "selected"
    return "active" if table.has("capfilt") else "table"


def _selected(table: Table) -> list[tuple[str, str]]:
    if not all(table.has(name) for name in SELECTED.names):
        raise DataError(f"nothing is selected in {table.path}", hint=f"limner capfilt select {table.path}")
    columns = ["key", "selected_text", "selected_rank"]
    rows = [row for batch in table.batches(columns) for row in batch if row["selected_rank"] is not None]
    return [(row["key"], row["selected_text"]) for row in sorted(rows, key=lambda row: row["selected_rank"])]


def _texts(table: Table, texts_column: str) -> Iterator[Item]:
    sides = [(texts_column, "decision_web"), ("synthetic", "decision_synthetic")]
    sides = [side for side in sides if side[0] == texts_column or table.has(side[0])]
    decided = [decision for _, decision in sides if table.has(decision)]
    columns = ["key", *(texts for texts, _ in sides), *decided]
    rows = (row for batch in table.batches(columns) for row in batch)
    for number, row in enumerate(rows):
        for texts, decision in sides:
            yield from _side(number, row, row[texts] or [], row.get(decision))


def _side(number: int, row: dict[str, Any], texts: list[str], decisions: list[str] | None) -> Iterator[Item]:
    """The texts of one side of a row; decisions that do not run beside them are of other texts."""
    words = decisions if decisions is not None and len(decisions) == len(texts) else [None] * len(texts)
    for text, word in zip(texts, words, strict=True):
        if text and text.strip():
            yield Item(number, row["key"], text, None if word is None else word == KEEP)
