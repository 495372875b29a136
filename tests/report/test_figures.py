import re
from xml.etree import ElementTree

import numpy as np
import pytest

from limner.report import figures
from limner.report.figures import Interval


def every_figure() -> dict[str, str]:
    panels = {"R@1": {"raw": Interval(0.4, 0.3, 0.5), "cleaned": Interval(0.6, 0.5, 0.7)}}
    return {
        "histogram": figures.score_histogram({"clean": [0.9, 0.8], "swapped": [0.1]}, 0.5, "Scores of texts"),
        "threshold": figures.threshold_curve([0.9, 0.2, 0.7], [False, True, False], 0.5, "By threshold"),
        "curves": figures.training_curves({"raw": [(1, 2.0), (2, 1.0)]}, "loss", "Loss by step"),
        "intervals": figures.interval_chart(panels, "Held-out measures"),
        "bars": figures.time_bars({"tables": 1.5, "training": 60.0}, "Seconds by stage"),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return every_figure()


def test_figures_are_whole_accessible_and_need_nothing_else(drawn):
    for svg in drawn.values():
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert root.get("viewBox")
        assert "http" not in svg
        assert "font-family" not in svg


def test_every_colour_is_a_variable_of_the_page(drawn):
    for name, svg in drawn.items():
        colours = set(re.findall(r"#[0-9a-f]{6}\b", svg))
        assert colours == set(), name
        assert "var(--soft)" in svg


def test_ids_of_two_figures_do_not_meet(drawn):
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in drawn.values()]
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_same_numbers_same_bytes(drawn):
    assert every_figure() == drawn


def test_labels_cannot_break_out():
    svg = figures.training_curves({'a<b&"$x$': [(1, 1.0)]}, "loss", 'a "title" <b>')
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == 'a "title" <b>'


def test_sweep_equals_counting_one_threshold_at_a_time():
    rng = np.random.default_rng(0)
    scores, wrong = rng.random(200), rng.random(200) < 0.3
    cuts, precision, recall = figures.sweep(scores.tolist(), wrong.tolist())
    for cut, p, r in zip(cuts, precision, recall, strict=True):
        dropped = [bool(w) for s, w in zip(scores, wrong, strict=True) if s < cut]
        if dropped:
            assert p == pytest.approx(sum(dropped) / len(dropped))
        else:
            assert np.isnan(p)
        assert r == pytest.approx(sum(dropped) / wrong.sum())


def test_a_share_is_drawn_up_to_one():
    drawn = figures.interval_chart({"AUROC": {"raw": Interval(1.0, 0.98, 1.0)}}, "Shares")
    ticks = [float(tick) for tick in re.findall(r">([\d.]+)</text>", drawn)]
    assert (min(ticks), max(ticks)) == (0.9, 1.0)
