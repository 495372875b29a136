"""Agreement against pairs counted one by one."""

import csv
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from limner.capfilt.labels import REVIEW
from limner.suite.cleaned import read_cleaned
from limner.suite.cleaned_agreement import against_labels, heads, label_sources, people

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def slow_auroc(good, bad):
    return np.mean([(one > two) + 0.5 * (one == two) for one in good for two in bad])


def slow_kappa(one, other):
    both = np.mean([a == b for a, b in zip(one, other, strict=True)])
    chance = np.mean(one) * np.mean(other) + (1 - np.mean(one)) * (1 - np.mean(other))
    return (both - chance) / (1 - chance)


def test_itm_against_itc(make_cleaned):
    cleaned = read_cleaned(make_cleaned())
    found = heads(cleaned)
    texts = cleaned.of("synthetic")
    itm, itc = [t.itm for t in texts], [t.itc for t in texts]
    one = found["synthetic"]
    assert one["rho"] == pytest.approx(stats.spearmanr(itm, itc).statistic)
    kept = sum(score >= 0.5 for score in itm)
    cut = sorted(itc, reverse=True)[kept - 1]
    decided = [score >= 0.5 for score in itm], [score >= cut for score in itc]
    assert one["alike"] == pytest.approx(np.mean(np.equal(*decided)))
    assert one["kappa"] == pytest.approx(slow_kappa(*decided))
    assert sum(one["grid"]["counts"]) == one["texts"] == len(texts)
    gaps = [text["gap"] for text in found["itm_alone"]]
    assert gaps == sorted(gaps, reverse=True)
    assert all(gap > 0 for gap in gaps)
    assert all(text["gap"] < 0 for text in found["itc_alone"])


def test_scores_and_decisions_against_labels(make_cleaned):
    cleaned = read_cleaned(make_cleaned())
    texts = cleaned.of("synthetic")
    labels = {(t.key, t.text): number % 3 != 0 for number, t in enumerate(texts)}
    found = against_labels(cleaned, labels)
    good = [t for t in texts if labels[t.key, t.text]]
    bad = [t for t in texts if not labels[t.key, t.text]]
    assert (found["labelled"], found["good"], found["scored"]) == (len(texts), len(good), len(texts))
    for head in ("itm", "itc"):
        area = slow_auroc([getattr(t, head) for t in good], [getattr(t, head) for t in bad])
        assert found["auroc"][head]["value"] == pytest.approx(area)
        assert found["auroc"][head]["low"] < area < found["auroc"][head]["high"]
    kept = [t for t in texts if t.kept]
    hits = sum(labels[t.key, t.text] for t in kept)
    assert found["precision"]["value"] == pytest.approx(hits / len(kept))
    assert found["recall"]["value"] == pytest.approx(hits / len(good))
    assert found["kappa"] == pytest.approx(
        slow_kappa([t.kept for t in texts], [labels[t.key, t.text] for t in texts])
    )
    for one in found["calibration"]:
        here = [t for t in texts if min(int(t.itm * 10), 9) / 10 == one["from"]]
        assert one["texts"] == len(here)
        assert one["good"]["value"] == pytest.approx(np.mean([labels[t.key, t.text] for t in here]))


def test_labels_that_are_all_good_have_no_curve(make_cleaned):
    cleaned = read_cleaned(make_cleaned())
    found = against_labels(cleaned, {(t.key, t.text): True for t in cleaned.of("web")})
    assert found["auroc"] is None
    assert found["labelled"] > found["scored"]


def test_sources_are_a_review_a_truth_and_a_file(make_cleaned, tmp_path):
    truth = [["clean", "junk"][: 1 + number % 2] for number in range(24)]
    table = make_cleaned(truth=truth)
    judged = [
        {
            "review_text": ["a red ball number 0", "a red ball number 0"],
            "review_decision": ["accept", decision],
            "review_by": ["Ann", "Bob"],
            "review_time": [WHEN, WHEN],
        }
        for decision in ["accept", "reject"] * 12
    ]
    cleaned = read_cleaned(table.add_columns(pa.Table.from_pylist(judged, schema=REVIEW), "review"))
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([("key", "text", "good"), ("row0", "a red ball number 0", "yes")])
    found = label_sources(cleaned, str(path))
    assert list(found) == ["review", "truth", str(path)]
    assert found[str(path)] == {("row0", "a red ball number 0"): True}
    assert people(cleaned) == [
        {"one": "Ann", "other": "Bob", "texts": 24, "alike": 0.5, "kappa": pytest.approx(0.0)}
    ]


def test_a_column_truth_that_says_something_else_is_no_source(make_cleaned):
    assert label_sources(read_cleaned(make_cleaned(truth=["Paris"] * 24))) == {}


def test_without_a_review_there_are_no_people(make_cleaned):
    cleaned = read_cleaned(make_cleaned())
    assert people(cleaned) == []
    assert label_sources(cleaned) == {}
