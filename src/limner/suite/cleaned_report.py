"""All that the report of a cleaned table says, as plain values."""

from pathlib import Path
from typing import Any

from limner.suite.cleaned import (
    Cleaned,
    acceptance,
    cost,
    made_by,
    replacements,
    spread,
    truth,
)
from limner.suite.cleaned_agreement import against_labels, heads, label_sources, people
from limner.suite.cleaned_texts import decodings, varied


def cleaned_report(
    cleaned: Cleaned,
    labels: str = "",
    records: str | Path | None = None,
    price_per_hour: float | None = None,
) -> dict[str, Any]:
    """Measure every section of the report; no model is loaded.

    Args:
        cleaned: what `read_cleaned` gives.
        labels: a column, or a CSV of key, text, good, beside a review and a column `truth`; "" for none.
        records: of `limner capfilt`; those beside the table when None.
        price_per_hour: of the machine that cleaned; the recorded one when None.
    Returns: one entry a section; a section without its data is None or empty.
    """
    path = cleaned.table.path
    found = Path(records) if records is not None else path.with_suffix(".capfilt") / "records.jsonl"
    sources = label_sources(cleaned, labels)
    return {
        "table": str(path),
        "texts_column": cleaned.settings.texts_column,
        "made": made_by(cleaned),
        "ledger": cleaned.ledger,
        "acceptance": acceptance(cleaned),
        "spread": spread(cleaned),
        "replacements": replacements(cleaned),
        "diversity": varied(cleaned),
        "decodings": decodings(cleaned),
        "heads": heads(cleaned),
        "labels": {name: against_labels(cleaned, one) for name, one in sources.items()},
        "people": people(cleaned),
        "truth": truth(cleaned),
        "cost": cost(cleaned, found, price_per_hour),
        "records": str(found),
    }
