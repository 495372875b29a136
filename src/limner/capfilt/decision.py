"""From scores to decisions: plain values in, plain values out, no model.

A row that was measured holds its scores; decisions follow from them and the threshold alone, so that another
threshold needs no second pass of the models.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

KEEP, DROP = "keep", "drop"
"""What becomes of a text."""

KEPT, REPLACED, DROPPED = "kept", "replaced", "dropped"
"""What becomes of a row; see `ledger`."""

UNMATCHED = "unmatched"
"""Reason of a text whose ITM probability is below the threshold."""

SCREENED = "screened"
"""Reason of a text whose ITC cosine was too low for ITM to be asked."""

REFUSED = ("picture:", "model:")
"""How the reason of a refused row begins: its picture cannot be read, or a model fails on it."""

NO_WEB_TEXT = "no_web_text"
"""Reason of a row that came without a text."""

_TEXTS, _SCORES = pa.list_(pa.string()), pa.list_(pa.float32())

MEASURED = pa.schema(
    {
        "key": pa.string(),
        "picture": pa.string(),  # why the row was refused, null when it was not
        "junk_web": _TEXTS,
        "itm_web": _SCORES,
        "itc_web": _SCORES,
        "synthetic": _TEXTS,
        "decoding_synthetic": _TEXTS,
        "log_prob_synthetic": _SCORES,
        "junk_synthetic": _TEXTS,
        "itm_synthetic": _SCORES,
        "itc_synthetic": _SCORES,
    }
)
"""What the models say of a row; lists run beside the row's texts, and a junk text has null scores.

`junk_*` says why a text goes without being judged by ITM: junk, or screened by ITC."""

DECIDED = pa.schema(
    {
        "synthetic": _TEXTS,
        "decoding_synthetic": _TEXTS,
        "log_prob_synthetic": _SCORES,
        "itm_web": _SCORES,
        "itc_web": _SCORES,
        "itm_synthetic": _SCORES,
        "itc_synthetic": _SCORES,
        "decision": pa.string(),
        "reason": pa.string(),
        "decision_web": _TEXTS,
        "reason_web": _TEXTS,
        "decision_synthetic": _TEXTS,
        "reason_synthetic": _TEXTS,
        "texts_kept": _TEXTS,
        "texts_bootstrapped": _TEXTS,
    }
)
"""The columns a cleaned table gains, besides `capfilt`, which says how they were made."""


def decide(measured: Mapping[str, Any], texts: Sequence[str], threshold: float) -> dict[str, Any]:
    """Decide on a row and on each of its texts.

    Args:
        measured: a row of `MEASURED`.
        texts: the row's web texts.
        threshold: ITM probability from which a text stays, [0, 1].
    Returns: a row of `DECIDED`.
    """
    web = _reasons(measured, "web", threshold)
    synthetic = _reasons(measured, "synthetic", threshold)
    kept_web = [text for text, reason in zip(texts, web, strict=True) if reason is None]
    kept = kept_web + [
        t for t, reason in zip(measured["synthetic"], synthetic, strict=True) if reason is None
    ]
    decision = KEPT if kept_web else REPLACED if kept else DROPPED
    return {name: measured[name] for name in DECIDED.names if name in measured} | {
        "decision": decision,
        "reason": None if decision == KEPT else _row_reason(measured["picture"], web),
        "decision_web": [DROP if reason else KEEP for reason in web],
        "reason_web": web,
        "decision_synthetic": [DROP if reason else KEEP for reason in synthetic],
        "reason_synthetic": synthetic,
        "texts_kept": list(dict.fromkeys(kept_web)),
        "texts_bootstrapped": list(dict.fromkeys(kept)),
    }


def undecide(row: Mapping[str, Any]) -> dict[str, Any]:
    """Get a row of `MEASURED` back from its key and its columns of `DECIDED`."""
    reason = row["reason"] or ""
    return {name: row[name] for name in MEASURED.names if name in row} | {
        "picture": reason if reason.startswith(REFUSED) else None,
        "junk_web": [_before_scoring(r) for r in row["reason_web"]],
        "junk_synthetic": [_before_scoring(r) for r in row["reason_synthetic"]],
    }


def _reasons(measured: Mapping[str, Any], side: str, threshold: float) -> list[str | None]:
    pairs = zip(measured[f"itm_{side}"], measured[f"junk_{side}"], strict=True)
    return [
        measured["picture"] or junk or (UNMATCHED if score < threshold else None) for score, junk in pairs
    ]


def _row_reason(picture: str | None, web: list[str | None]) -> str | None:
    """The reason of the web text that came furthest: to the model, or else to the junk tests."""
    if picture is not None:
        return picture
    return UNMATCHED if UNMATCHED in web else next(iter(web), NO_WEB_TEXT)


def _before_scoring(reason: str | None) -> str | None:
    known = reason is not None and (reason == SCREENED or reason.startswith("junk:"))
    return reason if known else None
