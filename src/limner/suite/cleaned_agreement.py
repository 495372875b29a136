"""Do ITM, ITC and people agree on which texts fit?

BLIP's filter asks both heads and its paper does not say how often they differ. People's labels come from a
review (`limner review`), a column or a CSV; a column `truth` serves as one more judge.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any, Final

import numpy as np
from scipy import stats

from limner.capfilt.cut import exact_share
from limner.capfilt.labels import GOOD, REVIEW, Labels, judgements, read_labels
from limner.errors import DataError
from limner.evaluate.human import error_consistency
from limner.evaluate.metrics import auroc, bootstrap_interval
from limner.suite.cleaned import SIDES, Cleaned, Text

_RESAMPLES: Final = 500
_SHOWN: Final = 8
_CELLS: Final = (25, 100)


def heads(cleaned: Cleaned) -> dict[str, Any]:
    """ITM against ITC, of the texts that both have scored.

    Returns: side → `texts`, Spearman's `rho`, and what their decisions share when ITC drops as many texts as
        ITM does: `alike`, a share, and Cohen's `kappa`; `grid`, how many texts lie in each part of the plane
        of both scores; `itm_alone` and `itc_alone`: the texts that one
        likes most and the other least, by difference of percentile ranks.
    """
    both = {side: [t for t in cleaned.of(side) if t.itm is not None and t.itc is not None] for side in SIDES}
    threshold = cleaned.cut.threshold
    apart = [_apart(texts) for texts in both.values() if texts]
    pairs = sorted((pair for found in apart for pair in found), key=lambda pair: (-pair[0], pair[1].row))
    return {
        **{side: _two_heads(texts, threshold) for side, texts in both.items() if texts},
        "itm_alone": [_shown(text, gap) for gap, text in pairs[:_SHOWN] if gap > 0],
        "itc_alone": [_shown(text, gap) for gap, text in pairs[::-1][:_SHOWN] if gap < 0],
    }


def _two_heads(texts: Sequence[Text], threshold: float) -> dict[str, Any]:
    itm, itc = (np.array([getattr(text, name) for text in texts]) for name in ("itm", "itc"))
    by_itm = itm >= threshold
    order = np.argsort(-itc, kind="stable")
    by_itc = np.zeros(len(texts), bool)
    by_itc[order[: int(by_itm.sum())]] = True
    varied = len(set(itm)) > 1 and len(set(itc)) > 1
    return {
        "texts": len(texts),
        "rho": float(stats.spearmanr(itm, itc).statistic) if varied else None,
        "alike": float((by_itm == by_itc).mean()),
        "kappa": _kappa(by_itm, by_itc),
        "grid": _grid(itm, itc),
    }


def _grid(itm: np.ndarray, itc: np.ndarray) -> dict[str, list[Any]]:
    """Parts of the plane that hold texts: their middles, and how many they hold."""
    counts, rows, columns = np.histogram2d(itm, itc, bins=_CELLS, range=((0, 1), (-1, 1)))
    places = np.nonzero(counts)
    middles = [(edges[1:] + edges[:-1]) / 2 for edges in (rows, columns)]
    return {
        "itm": middles[0][places[0]].tolist(),
        "itc": middles[1][places[1]].tolist(),
        "counts": counts[places].astype(int).tolist(),
    }


def _apart(texts: Sequence[Text]) -> list[tuple[float, Text]]:
    """Each text with the percentile rank of its ITM score minus that of its ITC score."""
    ranks = [stats.rankdata([getattr(t, name) for t in texts]) / len(texts) for name in ("itm", "itc")]
    return list(zip((ranks[0] - ranks[1]).tolist(), texts, strict=True))


def _shown(text: Text, gap: float) -> dict[str, Any]:
    return {
        "key": text.key,
        "row": text.row,
        "side": text.side,
        "text": text.text,
        "itm": text.itm,
        "itc": text.itc,
        "gap": gap,
    }


def _kappa(one: np.ndarray, other: np.ndarray) -> float | None:
    """Cohen's kappa; None where both say the same of all."""
    found = error_consistency(one, other)
    return None if np.isnan(found) else found


# ---------------------------------------------------------------- people


def label_sources(cleaned: Cleaned, source: str = "") -> dict[str, Labels]:
    """Who says which texts are good: a review in the table, its column `truth`, and another source.

    Args:
        cleaned: the table.
        source: a column, or a CSV of key, text, good; "" for none.
    Raises: DataError when the source cannot be read.
    """
    table, column = cleaned.table, cleaned.settings.texts_column
    found = {}
    if all(map(table.has, REVIEW.names)):
        found["review"] = read_labels(table, "review", column)
    if table.has("truth"):
        with suppress(DataError):  # a column of that name may say something else
            found["truth"] = read_labels(table, "truth", column)
    if source and source not in found:
        found[source] = read_labels(table, source, column)
    return {name: labels for name, labels in found.items() if labels}


def against_labels(cleaned: Cleaned, labels: Labels) -> dict[str, Any]:
    """Scores and decisions against labels.

    Returns: `labelled`, texts of the table that have a label; `good` of them; `scored`, those that both heads
        have scored, on which the rest is measured: `auroc` of `itm`, `itc` and the `mean` of their percentile
        ranks, with bootstrap 95 % intervals (None when all are good, or none); `calibration`, ten bins of the
        ITM probability. `precision` and `recall` of what is kept, with exact 95 % intervals, and `kappa` are
        measured on all that have a label.
    """
    texts = [text for text in _different(cleaned.texts) if (text.key, text.text) in labels]
    good = np.array([labels[text.key, text.text] for text in texts], bool)
    kept = np.array([text.kept for text in texts], bool)
    scored = np.array([text.itm is not None and text.itc is not None for text in texts], bool)
    both = [text for text, known in zip(texts, scored, strict=True) if known]
    hits = int((kept & good).sum())
    return {
        "labelled": len(texts),
        "good": int(good.sum()),
        "scored": len(both),
        "auroc": _areas(both, good[scored]),
        "calibration": _calibration(np.array([text.itm for text in both], float), good[scored]),
        "precision": _share(hits, int(kept.sum())),
        "recall": _share(hits, int(good.sum())),
        "kappa": _kappa(kept, good) if texts else None,
    }


def _different(texts: Sequence[Text]) -> list[Text]:
    """One of each key and text: the one that was kept, if one was."""
    found: dict[tuple[str, str], Text] = {}
    for text in texts:
        before = found.get((text.key, text.text))
        if before is None or (text.kept and not before.kept):
            found[text.key, text.text] = text
    return list(found.values())


def _areas(texts: Sequence[Text], good: np.ndarray) -> dict[str, dict[str, float]] | None:
    if good.all() or not good.any():
        return None
    ranks = [stats.rankdata([getattr(t, name) for t in texts]) / len(texts) for name in ("itm", "itc")]
    scores = {"itm": ranks[0], "itc": ranks[1], "mean": (ranks[0] + ranks[1]) / 2}
    return {name: _area(values, good) for name, values in scores.items()}


def _area(scores: np.ndarray, good: np.ndarray) -> dict[str, float]:
    def of(rows: np.ndarray) -> float:
        truth = rows[:, 1] > 0
        return auroc(rows[:, 0], truth) if truth.any() and not truth.all() else 0.5

    stacked = np.stack([scores, good], 1)
    low, high = bootstrap_interval(stacked, 0, of, resamples=_RESAMPLES)
    return {"value": auroc(scores, good), "low": low, "high": high}


def _calibration(probability: np.ndarray, good: np.ndarray) -> list[dict[str, Any]]:
    bins = np.minimum((probability * 10).astype(int), 9)
    return [
        {
            "from": number / 10,
            "texts": int(here.sum()),
            "mean": float(probability[here].mean()),
            "good": _share(int(good[here].sum()), int(here.sum())),
        }
        for number in range(10)
        if (here := bins == number).any()
    ]


def _share(hits: int, whole: int) -> dict[str, float] | None:
    if not whole:
        return None
    value, low, high = exact_share(hits, whole, 0.95)
    return {"value": value, "low": low, "high": high, "of": whole}


def people(cleaned: Cleaned) -> list[dict[str, Any]]:
    """How far two reviewers agree, pair by pair, on texts that both have judged.

    Returns: `one`, `other`, `texts`, `alike`, `kappa` of each pair that shares a text.
    """
    if not all(map(cleaned.table.has, REVIEW.names)):
        return []
    said: defaultdict[str, dict[tuple[str, str], bool]] = defaultdict(dict)
    for one in judgements(cleaned.table):
        said[one.by][one.key, one.text] = one.decision in GOOD
    return [found for a, b in combinations(sorted(said), 2) if (found := _pair(a, b, said))]


def _pair(one: str, other: str, said: Mapping[str, Mapping[tuple[str, str], bool]]) -> dict[str, Any] | None:
    shared = sorted(said[one].keys() & said[other].keys())
    if not shared:
        return None
    first, second = (np.array([said[who][place] for place in shared], bool) for who in (one, other))
    alike = float((first == second).mean())
    return {"one": one, "other": other, "texts": len(shared), "alike": alike, "kappa": _kappa(first, second)}
