"""A pass of CapFilt over the study's web pairs: its decoding, the filter's threshold, what it did."""

import csv
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from limner.capfilt.audit import audit
from limner.capfilt.pipeline import Progress
from limner.capfilt.pipeline import run as run_capfilt
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.errors import DataError
from limner.models.generate import Decoding
from limner.quickstart.tables import is_correct
from limner.studies.blip_paper import Cleaning

CAPTIONED: Final = "texts_captioned"
"""Column of the web texts with the synthetic ones beside them, nothing filtered."""

FILTERED: Final = ("texts_kept", "texts_bootstrapped")
"""Columns that hang on the filter's threshold."""

DECODINGS: Final[dict[Cleaning, Decoding]] = {
    "nucleus": Decoding(method="nucleus", top_p=0.9, max_tokens=16),
    "beam": Decoding(method="beam", num_beams=3, max_tokens=16),
    "shared": Decoding(method="nucleus", top_p=0.9, max_tokens=16),
}

_TOLD: Final = (
    *("auroc", "drop_precision", "drop_recall", "kept_clean"),
    *("texts_correct_before", "texts_correct_after", "synthetic_correct", "synthetic_correct_kept"),
)
"""What is told of a pass, from its audit against the known noise."""


def cleaned(
    web: Path,
    models: list[Bundle],
    cleaning: Cleaning,
    seed: int,
    *,
    labelled: int = 0,
    precision: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Clean the web pairs; the table gets the columns of CapFilt and `texts_captioned`.

    Args:
        web: the table.
        models: captioner and filter, or one that is both.
        cleaning: what pass it is.
        seed: of the captions.
        labelled: rows whose truth sets the threshold, if any.
        precision: of kept texts, as far as those can tell.
        progress: hears how far it is.
    Returns: the version with the columns, the threshold, the share of texts filtered, and the audit.
    Raises: DataError when no threshold is as precise as asked for.
    """
    table = Table.open(web)
    labels = str(write_labels(table, labelled, web.with_name("labels.csv"))) if labelled else ""
    settings = CapFiltSettings(seed=seed, decoding=DECODINGS[cleaning], labels=labels, precision=precision)
    try:
        done = run_capfilt(table, models[0], models[-1], settings, progress=progress)
    except DataError as error:
        if not labelled:
            raise
        hint = "--set labelled=N for more labels, --set precision=P for less, or --set labelled=0"
        raise DataError(error.given, wanted=error.wanted, hint=hint) from error
    truths = audit(done.table, is_correct)
    texts = (done.ledger.web, done.ledger.synthetic)
    return {
        "version": with_captioned(done.table).version,
        "threshold": done.cut.threshold,
        "filtered": sum(side.dropped for side in texts) / sum(side.total for side in texts),
        **{name: truths[name] for name in _TOLD},
    }


def write_labels(table: Table, count: int, path: Path) -> Path:
    """Write the truth of the first web texts as labels that CapFilt calibrates on.

    Args:
        table: of web pairs.
        count: rows to tell of.
        path: the CSV of key, text and good.
    """
    batch = next(iter(table.batches(["key", "texts", "objects", "boxes", "ground"], batch_size=count)), [])
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(("key", "text", "good"))
        lines.writerows(
            (row["key"], text, int(is_correct(text, row))) for row in batch for text in row["texts"]
        )
    return path


def with_captioned(table: Table) -> Table:
    """Add `texts_captioned` to a cleaned table: web and synthetic texts, each different one once."""
    both = [
        list(dict.fromkeys([*web, *synthetic]))
        for web, synthetic in zip(table.column("texts"), table.column("synthetic"), strict=True)
    ]
    columns = pa.table({CAPTIONED: pa.array(both, pa.list_(pa.string()))})
    return table.add_columns(columns, "study: web and synthetic texts, unfiltered")
