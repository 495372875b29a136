"""What CapFilt did to a table, read from the columns it wrote alone: the numbers of its report.

BLIP's paper tells of CapFilt in two tables of downstream scores. Here is what its columns hold besides: what
another threshold would keep, how scores of web and synthetic texts spread, and what replaced what. Texts are
looked at in `cleaned_texts`, agreement with people in `cleaned_agreement`.

Source: Li et al. 2022, BLIP (arXiv 2201.12086), section 3.3 and tables 1 and 2.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from limner.capfilt.audit import audit
from limner.capfilt.cut import Cut
from limner.capfilt.decision import DECIDED, KEEP, REPLACED, UNMATCHED
from limner.capfilt.ledger import tally
from limner.capfilt.settings import CapFiltSettings
from limner.data.table import Table
from limner.errors import DataError
from limner.record import read_records

SIDES: Final = ("web", "synthetic")
SCORES: Final = ("itm", "itc")
THRESHOLDS: Final = np.linspace(0, 1, 101)
BINS: Final = 40
QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


class Text(NamedTuple):
    """One text of one picture.

    Args:
        row: position of its row in the table.
        key: of the row.
        side: web or synthetic.
        text: as it stands there.
        itm: match probability, None where ITM was not asked.
        itc: cosine, None where nothing was asked.
        kept: whether training reads it.
        reason: why it goes, "" when it stays.
        decoding: that wrote it, "" for a web text.
        log_prob: the captioner's, None for a web text.
    """

    row: int
    key: str
    side: str
    text: str
    itm: float | None
    itc: float | None
    kept: bool
    reason: str
    decoding: str = ""
    log_prob: float | None = None

    @property
    def asked(self) -> bool:
        """Whether its ITM score decides: it was scored, and neither junk nor screened."""
        return self.itm is not None and self.reason in ("", UNMATCHED)


class Cleaned(NamedTuple):
    """A cleaned table without its pictures.

    Args:
        table: at the version that was read.
        settings: it was cleaned by.
        cut: the threshold, and where it comes from.
        origin: the column `capfilt`: digests of the models, when, by which limner.
        decisions: of each row: kept, replaced or dropped.
        reasons: of each row, None where it was kept.
        texts: of all rows, web before synthetic, in row order.
        ledger: counted again from the columns.
    """

    table: Table
    settings: CapFiltSettings
    cut: Cut
    origin: Mapping[str, Any]
    decisions: list[str]
    reasons: list[str | None]
    texts: list[Text]
    ledger: dict[str, Any]

    def of(self, side: str) -> list[Text]:
        """Texts of one side."""
        return [text for text in self.texts if text.side == side]


def read_cleaned(table: Table) -> Cleaned:
    """Read what CapFilt wrote.

    Raises: DataError when the table was not cleaned, or has rows that came since.
    """
    if not table.has("capfilt") or not all(map(table.has, DECIDED.names)):
        raise DataError(
            f"{table.path} was not cleaned",
            wanted="a table with CapFilt's columns",
            hint=f"limner capfilt {table.path}",
        )
    origin = table.rows([0], ["capfilt"])[0]["capfilt"] if table.num_rows else None
    if origin is None:
        raise DataError(f"{table.path} has no cleaned rows", hint=f"limner capfilt {table.path}")
    settings = CapFiltSettings.model_validate_json(origin["settings"])
    rows = list(_rows(table, settings.texts_column))
    new = sum(row["decision"] is None for row in rows)
    if new:
        raise DataError(
            f"{new} rows of {table.path} came since it was cleaned", hint=f"limner capfilt {table.path}"
        )
    texts = [text for place, row in enumerate(rows) for side in SIDES for text in _texts(place, row, side)]
    return Cleaned(
        table,
        settings,
        Cut.model_validate_json(origin["cut"]),
        origin,
        [row["decision"] for row in rows],
        [row["reason"] for row in rows],
        texts,
        tally(rows).model_dump(mode="json"),
    )


def _rows(table: Table, texts_column: str) -> Iterator[dict[str, Any]]:
    for batch in table.batches(["key", texts_column, *DECIDED.names], batch_size=4096):
        yield from (row | {"texts": [text or "" for text in row[texts_column] or ()]} for row in batch)


def _texts(place: int, row: Mapping[str, Any], side: str) -> Iterator[Text]:
    words = row["texts" if side == "web" else "synthetic"]
    columns = [row[f"{name}_{side}"] for name in ("itm", "itc", "decision", "reason")]
    more = [row["decoding_synthetic"], row["log_prob_synthetic"]] if side == "synthetic" else []
    for text, itm, itc, decision, reason, *written in zip(words, *columns, *more, strict=True):
        yield Text(place, row["key"], side, text, itm, itc, decision == KEEP, reason or "", *written)


# ---------------------------------------------------------------- sections


def made_by(cleaned: Cleaned) -> dict[str, Any]:
    """How the columns were made: models, decoding, threshold."""
    settings, origin = cleaned.settings, cleaned.origin
    return {
        "captioner": origin["captioner"],
        "filter": origin["filter"],
        "shared": origin["captioner"] == origin["filter"],
        "decoding": [
            {"count": count} | decoding.model_dump(mode="json") for decoding, count in settings.writings
        ],
        "prompt": settings.prompt,
        "seed": settings.seed,
        "itc_screen": settings.itc_screen,
        "cut": cleaned.cut.model_dump(mode="json"),
        "limner": origin["limner"],
        "time": origin["time"].isoformat(),
        "version": cleaned.table.version,
    }


def acceptance(cleaned: Cleaned) -> dict[str, list[float]]:
    """What each threshold from 0 to 1 would keep.

    Returns: `threshold`; of each, shares of `web` and `synthetic` texts that stay, and of rows that are
        `kept`, `replaced` and `dropped`, which add up to 1.
    """
    best = {side: np.full(len(cleaned.decisions), -1.0) for side in SIDES}
    scores: dict[str, list[float]] = {side: [] for side in SIDES}
    for text in cleaned.texts:
        score = text.itm if text.asked and text.itm is not None else -1.0
        scores[text.side].append(score)
        best[text.side][text.row] = max(best[text.side][text.row], score)
    web, synthetic = ([best[side] >= cut for cut in THRESHOLDS] for side in SIDES)
    return {
        "threshold": THRESHOLDS.tolist(),
        **{side: _shares_from(scores[side]) for side in SIDES},
        "kept": [float(one.mean()) for one in web],
        "replaced": [float((two & ~one).mean()) for one, two in zip(web, synthetic, strict=True)],
        "dropped": [float((~one & ~two).mean()) for one, two in zip(web, synthetic, strict=True)],
    }


def _shares_from(scores: Sequence[float]) -> list[float]:
    ordered = np.sort(scores)
    above = len(ordered) - np.searchsorted(ordered, THRESHOLDS, side="left")
    shares: list[float] = (above / max(1, len(ordered))).tolist()
    return shares


def spread(cleaned: Cleaned) -> dict[str, dict[str, dict[str, Any]]]:
    """How the scores of web and synthetic texts spread.

    Returns: score → side → `texts`, `scored`, `mean`, `quantiles` (share → score), `edges` and `counts` of a
        histogram.
    """
    return {
        score: {
            side: _spread_of([getattr(text, score) for text in cleaned.of(side)], score) for side in SIDES
        }
        for score in SCORES
    }


def _spread_of(scores: Sequence[float | None], name: str) -> dict[str, Any]:
    known = np.array([score for score in scores if score is not None])
    counts, edges = np.histogram(known, BINS, (0, 1) if name == "itm" else (-1, 1))
    return {
        "texts": len(scores),
        "scored": len(known),
        "mean": float(known.mean()) if len(known) else None,
        "quantiles": {str(q): float(np.quantile(known, q)) for q in QUANTILES} if len(known) else {},
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }


def replacements(cleaned: Cleaned) -> list[dict[str, Any]]:
    """Rows where only a synthetic text stays, by what was wrong with the web texts, the commonest first.

    Returns: `reason`, `rows`, and means of the best score of each side: `web` (None where none was scored)
        and `synthetic`.
    """
    best = {side: np.full(len(cleaned.decisions), np.nan) for side in SIDES}
    for text in cleaned.texts:
        if text.itm is not None and (text.side == "web" or text.kept):
            best[text.side][text.row] = np.fmax(best[text.side][text.row], text.itm)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for row, decision in enumerate(cleaned.decisions):
        if decision == REPLACED:
            places[cleaned.reasons[row] or ""].append(row)
    return [
        {"reason": reason, "rows": len(rows)} | {side: _mean(best[side][rows]) for side in SIDES}
        for reason, rows in sorted(places.items(), key=lambda one: (-len(one[1]), one[0]))
    ]


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def truth(cleaned: Cleaned) -> dict[str, Any] | None:
    """The decisions against a column `truth`; None without one, or when it says something else."""
    try:
        return audit(cleaned.table, texts_column=cleaned.settings.texts_column)
    except DataError:
        return None


def cost(cleaned: Cleaned, records: Path, price_per_hour: float | None = None) -> dict[str, Any] | None:
    """What the cleaning took, of the records that `limner capfilt` left.

    Args:
        cleaned: the table.
        records: the file; it need not be there.
        price_per_hour: of the machine; the one that was recorded when None.
    Returns: `pictures`, `seconds`, `pictures_per_second`, `hours_per_million`, `price_per_hour` and
        `cost_per_million` (None without a price), `peak_rss_gb` (None where it was not recorded); None when
        no record is of these models.
    """
    found = read_records(records) if records.exists() else []
    models = {name: cleaned.origin[name] for name in ("captioner", "filter")}
    runs = [
        one for one in found if one["kind"] == "capfilt" and one.items() >= models.items() and one["measured"]
    ]
    if not runs or not runs[-1]["seconds"]:
        return None
    last = runs[-1]
    told = next((one for one in found[found.index(last) :] if one["kind"] == "cost"), {})
    price = told.get("price_per_hour") if price_per_hour is None else price_per_hour
    speed = last["measured"] / last["seconds"]
    hours = 1e6 / speed / 3600
    return {
        "pictures": last["measured"],
        "seconds": last["seconds"],
        "pictures_per_second": speed,
        "hours_per_million": hours,
        "price_per_hour": price,
        "cost_per_million": None if price is None else hours * price,
        "peak_rss_gb": told.get("peak_rss_gb"),
    }
