"""The drawings hold what they are given."""

from limner.report.cleaned_figures import (
    acceptance_chart,
    calibration_chart,
    heads_chart,
    outcome_chart,
    spread_chart,
)

SHARES = {
    "threshold": [0.0, 0.5, 1.0],
    "web": [1.0, 0.5, 0.0],
    "synthetic": [1.0, 0.9, 0.1],
    "kept": [1.0, 0.5, 0.0],
    "replaced": [0.0, 0.4, 0.1],
    "dropped": [0.0, 0.1, 0.9],
}
SIDE = {"edges": [0.0, 0.5, 1.0], "counts": [1, 3], "scored": 4, "texts": 1234}


def test_every_chart_is_one_themed_drawing():
    grid = {"itm": [0.1, 0.9], "itc": [0.2, 0.3], "counts": [1, 7]}
    bins = [{"mean": 0.4, "texts": 3, "good": {"value": 0.5, "low": 0.2, "high": 0.8}}]
    drawn = {
        "web texts": acceptance_chart(SHARES, 0.5, "Texts <kept>"),
        "dropped": outcome_chart(SHARES, 0.5, "Rows"),
        "4 of 1,234 scored": spread_chart({"web": SIDE, "synthetic": SIDE}, "ITM", "Spread", 0.5),
        "cosine": heads_chart({"web": grid, "synthetic": grid}, 0.5, "Heads"),
        "share that is good": calibration_chart(bins, "Calibration"),
    }
    for word, svg in drawn.items():
        assert word in svg
        assert svg.count("<svg") == 1
        assert "var(--" in svg
    assert "Texts &lt;kept&gt;" in drawn["web texts"]


def test_a_spread_without_scores_is_empty():
    nothing = SIDE | {"counts": [0, 0], "scored": 0}
    assert "0 of 1,234 scored" in spread_chart({"web": nothing}, "ITC", "Spread")
