"""Where to cut: the threshold a text must reach, given, by quantile, or calibrated on labelled texts.

A calibrated threshold is the lowest of ten, which leave 100, 90, … 10 % of all scored texts, whose kept
labelled texts are good at the wanted precision: the lower end of the exact interval must reach it. Each
interval is made for a tenth of the risk, so that the promise holds for all ten at once (Bonferroni), however
the best is picked. It speaks of texts like the labelled ones: a sample by chance, not the hard cases.

Source: Clopper and Pearson 1934 (exact interval).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from scipy import stats

from limner.capfilt.decision import SCREENED
from limner.capfilt.labels import Labels
from limner.capfilt.settings import CapFiltSettings
from limner.config import Config
from limner.errors import DataError

SHARES: Final = tuple(k / 10 for k in range(10))
"""Shares of scored texts that the calibrated thresholds drop."""


class Calibration(Config):
    """How a threshold was calibrated.

    Args:
        wanted: precision asked for.
        confidence: that it holds.
        labelled: texts with a label and a score.
        kept: of these, texts that stay.
        precision: share of the kept that is good.
        low: lower end of its exact interval.
        high: upper end.
        recall: share of the good that stays.
        recall_low: lower end of its exact interval.
        recall_high: upper end.
    """

    wanted: float
    confidence: float
    labelled: int
    kept: int
    precision: float
    low: float
    high: float
    recall: float
    recall_low: float
    recall_high: float


class Cut(Config):
    """A threshold and where it comes from.

    Args:
        threshold: ITM probability from which a text stays.
        rule: how it was found.
        quantile: share of scored texts below it that was asked for; None by another rule.
        calibration: on labels; None by another rule.
    """

    threshold: float
    rule: Literal["score", "quantile", "precision"]
    quantile: float | None = None
    calibration: Calibration | None = None


class ScreenLoss(Config):
    """What an ITC screen costs, on rows that were scored whole in spite of it.

    Args:
        texts: of those rows that were scored.
        screened: of these, texts the screen took.
        kept: of these, texts that ITM alone would keep.
        lost: of these, texts the screen took.
        recall: share of the kept that the screen let through; None where ITM keeps none.
        low: lower end of its exact interval at 95 %.
        high: upper end.
    """

    texts: int
    screened: int
    kept: int
    lost: int
    recall: float | None
    low: float | None
    high: float | None


def choose_cut(
    rows: Iterable[Mapping[str, Any]],
    texts: Iterable[Sequence[str]],
    settings: CapFiltSettings,
    labels: Labels | None = None,
) -> Cut:
    """The threshold that the settings ask for.

    Args:
        rows: of `MEASURED`.
        texts: web texts of each row.
        settings: say which rule.
        labels: whether a text is good, for a calibrated threshold.
    Raises: DataError when no text has a score, none of them has a label, or no threshold is precise enough.
    """
    if settings.quantile is None and settings.precision is None:
        return Cut(threshold=settings.threshold, rule="score")
    scored = list(_scored(rows, texts))
    scores = np.array([score for _, _, score in scored])
    if not len(scores):
        raise DataError("no text has a score to put a threshold among", wanted="texts that are not junk")
    if settings.quantile is not None:
        return Cut(
            threshold=_dropping(scores, settings.quantile), rule="quantile", quantile=settings.quantile
        )
    known = {(key, text): score for key, text, score in scored}
    if not labels:
        raise DataError(
            f"no text is labelled in {settings.labels}",
            wanted="yes or no beside texts of the table",
            hint="fill in the column good, or judge with limner review",
        )
    places = [place for place in labels if place in known]
    if not places:
        raise DataError(
            f"none of {len(labels)} labels is of a text that has a score",
            wanted="keys and texts of the table, as written there",
        )
    found = np.array([known[place] for place in places])
    good = np.array([labels[place] for place in places])
    return _calibrated(scores, found, good, settings)


def _calibrated(scores: np.ndarray, found: np.ndarray, good: np.ndarray, settings: CapFiltSettings) -> Cut:
    assert settings.precision is not None
    tried = [
        Cut(
            threshold=threshold,
            rule="precision",
            calibration=calibration(found >= threshold, good, settings.precision, settings.confidence),
        )
        for threshold in sorted({_dropping(scores, share) for share in SHARES})
        if (found >= threshold).any()
    ]
    for cut in tried:
        if cut.calibration is not None and cut.calibration.low >= settings.precision:
            return cut
    best = max((cut.calibration for cut in tried if cut.calibration), key=lambda one: one.low)
    within = max(0.01, np.floor(100 * best.low) / 100)
    raise DataError(
        f"no threshold is sure to keep texts of which {settings.precision:g} are good: the best keeps "
        f"{best.kept} of {best.labelled} labelled texts, of which {best.precision:.3f} are good "
        f"({best.low:.3f} to {best.high:.3f})",
        wanted=f"a lower end of {settings.precision:g} at {settings.confidence:g} for ten thresholds at once",
        hint=f"label more texts, ask for --precision {within:g}, or tune the filter",
    )


def calibration(kept: np.ndarray, good: np.ndarray, wanted: float, confidence: float) -> Calibration:
    """Precision and recall of a decision on labelled texts, with exact intervals for ten at once.

    Args:
        kept: n flags.
        good: n flags.
        wanted: precision asked for.
        confidence: of all ten intervals together.
    """
    hits, of_ten = int((kept & good).sum()), 1 - (1 - confidence) / len(SHARES)
    precision, low, high = exact_share(hits, int(kept.sum()), of_ten)
    recall, recall_low, recall_high = exact_share(hits, int(good.sum()), of_ten)
    return Calibration(
        wanted=wanted,
        confidence=confidence,
        labelled=len(kept),
        kept=int(kept.sum()),
        precision=precision,
        low=low,
        high=high,
        recall=recall,
        recall_low=recall_low,
        recall_high=recall_high,
    )


def screen_loss(rows: Iterable[Mapping[str, Any]], threshold: float) -> ScreenLoss:
    """What the screen costs at a threshold; spared rows show the ITM scores of what it took.

    Args:
        rows: of `MEASURED`, measured with a screen, spared ones alone.
        threshold: ITM probability from which a text stays.
    """
    found = [
        (score, reason == SCREENED)
        for row in rows
        for side in ("web", "synthetic")
        for score, reason in zip(row[f"itm_{side}"], row[f"junk_{side}"], strict=True)
        if score is not None
    ]
    kept = [screened for score, screened in found if score >= threshold]
    recall, low, high = exact_share(len(kept) - sum(kept), len(kept), 0.95) if kept else (None, None, None)
    return ScreenLoss(
        texts=len(found),
        screened=sum(screened for _, screened in found),
        kept=len(kept),
        lost=sum(kept),
        recall=recall,
        low=low,
        high=high,
    )


def exact_share(hits: int, whole: int, confidence: float) -> tuple[float, float, float]:
    """A share and its exact interval (Clopper and Pearson); of nothing, anything from 0 to 1."""
    if whole == 0:
        return 0.0, 0.0, 1.0
    interval = stats.binomtest(hits, whole).proportion_ci(confidence, method="exact")
    return hits / whole, float(interval.low), float(interval.high)


def _dropping(scores: np.ndarray, share: float) -> float:
    """The lowest score that stays when a share of all goes; equal scores stay together."""
    return float(np.quantile(scores, share, method="higher"))


def _scored(
    rows: Iterable[Mapping[str, Any]], texts: Iterable[Sequence[str]]
) -> Iterator[tuple[str, str, float]]:
    """Key, text and ITM score of every text that was not screened or junk."""
    for row, web in zip(rows, texts, strict=True):
        for side, words in (("web", web), ("synthetic", row["synthetic"])):
            judged = zip(words, row[f"itm_{side}"], row[f"junk_{side}"], strict=True)
            yield from (
                (row["key"], text, score)
                for text, score, reason in judged
                if reason is None and score is not None
            )
