"""Which pairs are worth a person's look: those the filter is unsure of, and those its two scores dispute.

Disagreement is how far apart a pair stands in the order by ITM and in the order by ITC; uncertainty how near
its ITM stands to the threshold, in the same order. Both are shares of all scored pairs, so neither's scale
counts. Pairs by chance are for measuring: a threshold calibrated on hard pairs alone would promise too little
and too much at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from scipy import stats

from limner.capfilt.cut import Cut
from limner.data.table import Table
from limner.data.table_reading import require_texts
from limner.errors import DataError

SELECTED = pa.schema(
    {
        "selected_text": pa.string(),
        "selected_rank": pa.int32(),
        "selected_for": pa.string(),
        "selected_itm": pa.float32(),
        "selected_itc": pa.float32(),
    }
)
"""Columns of a selection: which text of the row to look at, its place in the order from 0, why, its scores;
null in rows that were not taken."""

By = Literal["active", "random"]


class Pair(NamedTuple):
    """One pair to look at.

    Args:
        row: its position in the table.
        key: of the row.
        text: to judge.
        itm: match probability.
        itc: cosine.
        why: "disagreement", "uncertainty" or "random".
    """

    row: int
    key: str
    text: str
    itm: float
    itc: float
    why: str


def select(
    table: Table, count: int, by: By = "active", seed: int = 0, texts_column: str = "texts"
) -> list[Pair]:
    """Pairs to look at, the most telling first, at most one a row.

    Args:
        table: cleaned.
        count: how many; all there are when there are fewer.
        by: "active": disagreement and uncertainty; "random": by chance, to measure or calibrate on.
        seed: of chance, and of the order of equals.
        texts_column: the web texts.
    Raises: DataError when the table was not cleaned, or no text of it has both scores.
    """
    pairs = in_order(table, by, seed, texts_column)
    if not pairs:
        raise DataError(
            f"no text of {table.path} has an ITM and an ITC score", wanted="texts that are not junk"
        )
    first: dict[int, Pair] = {}
    for pair in pairs:
        first.setdefault(pair.row, pair)
    return list(first.values())[:count]


def in_order(table: Table, by: By = "active", seed: int = 0, texts_column: str = "texts") -> list[Pair]:
    """Every pair that has both scores, the most telling first; arguments as in `select`.

    Raises: DataError when the table was not cleaned.
    """
    pairs, threshold = _scored(table, texts_column)
    rng = np.random.default_rng(seed)
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    return _most_telling(pairs, threshold) if by == "active" and pairs else pairs


def add_selection(table: Table, pairs: Sequence[Pair]) -> Table:
    """Write a selection into the table as one new version; an earlier one is replaced."""
    places = {pair.row: (rank, pair) for rank, pair in enumerate(pairs)}
    nothing: dict[str, Any] = dict.fromkeys(SELECTED.names)
    rows = [_columns(*places[i]) if i in places else nothing for i in range(table.num_rows)]
    return table.add_columns(
        pa.Table.from_pylist(rows, schema=SELECTED), f"selected {len(pairs)} pairs to look at"
    )


def _columns(rank: int, pair: Pair) -> dict[str, Any]:
    return {
        "selected_text": pair.text,
        "selected_rank": rank,
        "selected_for": pair.why,
        "selected_itm": pair.itm,
        "selected_itc": pair.itc,
    }


def _most_telling(pairs: Sequence[Pair], threshold: float) -> list[Pair]:
    """In falling order of disagreement plus uncertainty; equals keep their order."""
    itm, itc = np.array([pair.itm for pair in pairs]), np.array([pair.itc for pair in pairs])
    disagreement = np.abs(_place(itm) - _place(itc))
    uncertainty = 1 - np.abs(_place(itm) - (itm < threshold).mean())
    order = np.argsort(-(disagreement + uncertainty), kind="stable")
    told = np.where(_place(disagreement) >= _place(uncertainty), "disagreement", "uncertainty")
    return [pairs[i]._replace(why=str(told[i])) for i in order]


def _place(values: np.ndarray) -> np.ndarray:
    """Where each value stands in the order of all, (0, 1); equals stand together."""
    placed: np.ndarray = (stats.rankdata(values) - 0.5) / len(values)
    return placed


def _scored(table: Table, texts_column: str) -> tuple[list[Pair], float]:
    """Every text with both scores, and the threshold of the last cleaning."""
    if not table.has("capfilt"):
        raise DataError(f"{table.path} was not cleaned", hint=f"limner capfilt {table.path}")
    require_texts(table.path, table.schema, texts_column)
    names = [f"{score}_{side}" for score in ("itm", "itc") for side in ("web", "synthetic")]
    columns = ["key", texts_column, "synthetic", *names]
    rows = (row for batch in table.batches(columns) for row in batch)
    pairs = [pair for i, row in enumerate(rows) for pair in _pairs(i, row, texts_column)]
    return pairs, Cut.model_validate_json(table.rows([0], ["capfilt"])[0]["capfilt"]["cut"]).threshold


def _pairs(number: int, row: Mapping[str, Any], texts_column: str) -> list[Pair]:
    sides = (("web", row[texts_column] or []), ("synthetic", row["synthetic"] or []))
    return [
        Pair(number, row["key"], text, itm, itc, "random")
        for side, texts in sides
        for text, itm, itc in zip(texts, row[f"itm_{side}"] or [], row[f"itc_{side}"] or [], strict=True)
        if itm is not None and itc is not None
    ]
