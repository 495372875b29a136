"""A cleaned table against a known truth; reads the table alone, so anyone can derive the numbers again.

The truth of a web text is one word beside it in the column `truth`: "clean", "swapped" (a good text of
another picture) or "junk". The models never see that column.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sklearn.metrics import roc_auc_score

from limner.capfilt.decision import DROP, KEEP, REFUSED
from limner.capfilt.labels import beside
from limner.data.table import Table
from limner.errors import DataError

CLEAN, SWAPPED = "clean", "swapped"
TRUTHS = (CLEAN, SWAPPED, "junk")

Found = dict[str, float | int | None]

IsCorrect = Callable[[str, Mapping[str, Any]], bool]
"""Whether a text is right for a row; the row holds every column but the picture."""


def audit(
    table: Table,
    is_correct: IsCorrect | None = None,
    *,
    texts_column: str = "texts",
    truth_column: str = "truth",
) -> Found:
    """Measure what CapFilt did to a table whose noise is known.

    Args:
        table: cleaned, with the truth beside the texts.
        is_correct: checks a text against the row's ground truth; without it the shares of correct texts are
            left out.
        texts_column: the web texts.
        truth_column: a word a text, or one for all texts of the row.
    Returns: `auroc` of the ITM score, clean against all noise (a junk text, which is never scored, ranks
        below all), `auroc_swapped` and `auroc_swapped_itc`, clean against swapped alone; `drop_precision`
        and `drop_recall`, noise being what should go; `drop_recall_swapped`, `drop_recall_junk`;
        `kept_clean`, the share of clean texts that stay; `texts` and `noise`, how many there were. By the
        checker: shares of pictures that have a correct text, `pictures_correct_before` and `_after`; shares
        of texts that are correct, `texts_correct_before` and `_after`; of synthetic texts,
        `synthetic_correct`, and of those kept, `synthetic_correct_kept`. None where there is nothing to
        divide by. Texts of pictures that cannot be read count in the shares alone.
    Raises: DataError when the table was not cleaned, or does not have a truth for each text.
    """
    rows = _rows(table, texts_column, truth_column)
    texts = [
        _Text(truth, decision == DROP, itm, itc)
        for row in rows
        for truth, decision, itm, itc in zip(
            row[truth_column], row["decision_web"], row["itm_web"], row["itc_web"], strict=True
        )
        if row["reason"] is None or not row["reason"].startswith(REFUSED)
    ]
    found = _scores(texts) | _drops(texts)
    return found if is_correct is None else found | _shares(rows, texts_column, is_correct)


class _Text(NamedTuple):
    truth: str
    dropped: bool
    itm: float | None
    itc: float | None


def _rows(table: Table, texts_column: str, truth_column: str) -> list[dict[str, Any]]:
    if not table.has("decision_web"):
        raise DataError(f"{table.path} was not cleaned", hint=f"limner capfilt {table.path}")
    if not table.has(truth_column):
        raise DataError(
            f"{table.path} has no column {truth_column!r}",
            wanted="a table whose noise is known, beside its texts",
        )
    columns = [name for name in table.column_names if name not in ("image", "capfilt")]
    columns = [name for name in columns if not name.startswith("embedding_")]
    found = [
        row | {texts_column: row[texts_column] or []} for batch in table.batches(columns) for row in batch
    ]
    return [row | {truth_column: _truths(row[truth_column], row[texts_column], table)} for row in found]


def _truths(said: Any, texts: Sequence[str], table: Table) -> Sequence[str]:
    """The truth of each text of a row."""
    words = beside(said, len(texts))
    if len(words) != len(texts) or not all(word in TRUTHS for word in words):
        raise DataError(
            f"{table.path} says {said!r} of {len(texts)} texts",
            wanted=f"a word a text, or one a row, of {', '.join(TRUTHS)}",
        )
    return words


def _scores(texts: Sequence[_Text]) -> Found:
    """How well each score tells clean from noise, whatever the threshold."""
    alone = [text for text in texts if text.truth in (CLEAN, SWAPPED) and text.itm is not None]
    return {
        "auroc": _auroc([t.truth == CLEAN for t in texts], [-1.0 if t.itm is None else t.itm for t in texts]),
        "auroc_swapped": _auroc([t.truth == CLEAN for t in alone], [t.itm for t in alone]),
        "auroc_swapped_itc": _auroc([t.truth == CLEAN for t in alone], [t.itc for t in alone]),
    }


def _drops(texts: Sequence[_Text]) -> Found:
    """How well the decisions tell clean from noise."""
    noise = [t for t in texts if t.truth != CLEAN]
    return {
        "texts": len(texts),
        "noise": len(noise),
        "drop_precision": _share([t.truth != CLEAN for t in texts if t.dropped]),
        "drop_recall": _share([t.dropped for t in noise]),
        "drop_recall_swapped": _share([t.dropped for t in noise if t.truth == SWAPPED]),
        "drop_recall_junk": _share([t.dropped for t in noise if t.truth != SWAPPED]),
        "kept_clean": _share([not t.dropped for t in texts if t.truth == CLEAN]),
    }


def _shares(rows: Sequence[dict[str, Any]], texts_column: str, is_correct: IsCorrect) -> Found:
    """What training would read before and after, text by text and picture by picture."""
    before = [[is_correct(text or "", row) for text in row[texts_column]] for row in rows]
    after = [[is_correct(text, row) for text in row["texts_bootstrapped"]] for row in rows]
    written = [
        (is_correct(text, row), decision == KEEP)
        for row in rows
        for text, decision in zip(row["synthetic"], row["decision_synthetic"], strict=True)
    ]
    return {
        "pictures_correct_before": _share([any(row) for row in before]),
        "pictures_correct_after": _share([any(row) for row in after]),
        "texts_correct_before": _share([text for row in before for text in row]),
        "texts_correct_after": _share([text for row in after for text in row]),
        "synthetic_correct": _share([correct for correct, _ in written]),
        "synthetic_correct_kept": _share([correct for correct, kept in written if kept]),
    }


def _auroc(positive: Sequence[bool], scores: Sequence[float | None]) -> float | None:
    return float(roc_auc_score(positive, scores)) if any(positive) and not all(positive) else None


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
