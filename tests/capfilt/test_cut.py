"""Thresholds: what they promise, held against loops and against luck."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from limner.capfilt.cut import SHARES, Cut, calibration, choose_cut, screen_loss
from limner.capfilt.settings import CapFiltSettings
from limner.errors import DataError


def measured(scores: np.ndarray) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Rows of one scored web text each, and a junk one."""
    rows = [
        {
            "key": f"row{i}",
            "synthetic": [],
            "itm_web": [float(score), None],
            "junk_web": [None, "junk:url"],
            "itm_synthetic": [],
            "junk_synthetic": [],
        }
        for i, score in enumerate(scores)
    ]
    return rows, [["a cat", "x"] for _ in scores]


def drawn(seed: int, count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Scores s, and texts that are good with the probability s ** 0.3."""
    rng = np.random.default_rng(seed)
    scores = rng.random(count)
    return scores, rng.random(count) < scores**0.3


def calibrated(wanted: float, seed: int, labelled: int = 300) -> Cut:
    scores, good = drawn(seed)
    labels = {(f"row{i}", "a cat"): bool(good[i]) for i in range(labelled)}
    settings = CapFiltSettings(precision=wanted, labels="good")
    return choose_cut(*measured(scores), settings, labels)


def test_a_score_is_taken_as_it_is() -> None:
    assert choose_cut([], [], CapFiltSettings(threshold=0.3)) == Cut(threshold=0.3, rule="score")


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.25, 0.9])
def test_a_quantile_drops_its_share_of_scored_texts(quantile: float) -> None:
    scores, _ = drawn(0, 200)
    cut = choose_cut(*measured(scores), CapFiltSettings(quantile=quantile))
    assert (cut.rule, cut.quantile) == ("quantile", quantile)
    assert abs((scores < cut.threshold).sum() - quantile * 200) <= 1


def test_the_interval_is_the_exact_one_of_a_tenth_of_the_risk() -> None:
    kept, good = np.arange(40) < 30, np.arange(40) % 10 != 0
    found = calibration(kept, good, 0.8, 0.95)
    assert (found.labelled, found.kept, found.precision, found.recall) == (40, 30, 27 / 30, 27 / 36)
    tail = 0.05 / len(SHARES) / 2
    assert found.low == pytest.approx(stats.beta.ppf(tail, 27, 4))
    assert found.high == pytest.approx(stats.beta.ppf(1 - tail, 28, 3))
    assert stats.binom.sf(26, 30, found.low) == pytest.approx(tail)


def test_the_lowest_threshold_that_is_sure_is_taken() -> None:
    scores, good = drawn(3)
    cut = calibrated(0.8, 3)
    assert cut.calibration is not None
    assert cut.calibration.low >= 0.8
    lower = sorted(float(np.quantile(scores, share, method="higher")) for share in SHARES)
    for threshold in lower[: lower.index(cut.threshold)]:
        assert calibration(scores[:300] >= threshold, good[:300], 0.8, 0.95).low < 0.8


def test_the_promise_is_kept() -> None:
    """The true precision above t is the mean of s ** 0.3 over [t, 1]: few of 60 samples may break it."""
    thresholds = np.array([calibrated(0.8, seed).threshold for seed in range(60)])
    truth = (1 - thresholds**1.3) / (1.3 * (1 - thresholds))
    assert (truth < 0.8).sum() <= 3
    assert thresholds.mean() < 0.6


def test_what_cannot_be_promised_is_refused() -> None:
    with pytest.raises(DataError, match=r"no threshold is sure .* 0\.99") as caught:
        calibrated(0.99, 0)
    assert "--precision 0." in str(caught.value)
    scores, _ = drawn(0, 10)
    with pytest.raises(DataError, match=r"(?s)no text is labelled in x.*fill in the column good"):
        choose_cut(*measured(scores), CapFiltSettings(precision=0.5, labels="x"), {})
    with pytest.raises(DataError, match="none of 1 labels"):
        choose_cut(*measured(scores), CapFiltSettings(precision=0.5, labels="x"), {("row0", "another"): True})
    with pytest.raises(DataError, match="no text has a score"):
        choose_cut([], [], CapFiltSettings(quantile=0.5))


def test_what_a_screen_costs_is_counted_on_rows_scored_whole() -> None:
    rows, _ = measured(np.array([0.9, 0.8, 0.7, 0.2, 0.1]))
    for index in (2, 4):
        rows[index]["junk_web"][0] = "screened"
    loss = screen_loss(rows, 0.5)
    assert (loss.texts, loss.screened, loss.kept, loss.lost) == (5, 2, 3, 1)
    assert loss.recall == pytest.approx(2 / 3)
    assert loss.low is not None
    assert loss.low < 2 / 3
    assert screen_loss(rows, 0.95).recall is None
