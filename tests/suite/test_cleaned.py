"""Numbers of a cleaned table against loops over its rows."""

import json

import numpy as np
import pyarrow as pa
import pytest

from limner.capfilt.decision import decide, undecide
from limner.data.table import Table
from limner.errors import DataError
from limner.record import Recorder
from limner.suite.cleaned import acceptance, cost, made_by, read_cleaned, replacements, spread, truth


def rows_of(table):
    names = [name for name in table.column_names if name not in ("image", "capfilt")]
    return table.rows(range(table.num_rows), names)


def test_acceptance_is_what_capfilt_would_decide(make_cleaned):
    table = make_cleaned()
    found = acceptance(read_cleaned(table))
    for place in (0, 1, 37, 50, 80, 100):
        decided = [decide(undecide(row), row["texts"], found["threshold"][place]) for row in rows_of(table)]
        for side in ("web", "synthetic"):
            kept = [one == "keep" for row in decided for one in row[f"decision_{side}"]]
            assert found[side][place] == pytest.approx(np.mean(kept))
        for outcome in ("kept", "replaced", "dropped"):
            assert found[outcome][place] == pytest.approx(
                np.mean([r["decision"] == outcome for r in decided])
            )


def test_spread_counts_every_score_once(make_cleaned):
    table = make_cleaned()
    found = spread(read_cleaned(table))
    for score in ("itm", "itc"):
        for side in ("web", "synthetic"):
            scores = [s for row in rows_of(table) for s in row[f"{score}_{side}"] if s is not None]
            one = found[score][side]
            assert (one["scored"], sum(one["counts"])) == (len(scores), len(scores))
            assert one["mean"] == pytest.approx(np.mean(scores))
            assert one["quantiles"]["0.5"] == pytest.approx(np.median(scores))
    assert found["itm"]["web"]["texts"] == sum(len(row["texts"]) for row in rows_of(table))


def test_replacements_are_counted_by_reason(make_cleaned):
    table = make_cleaned()
    found = {one["reason"]: one for one in replacements(read_cleaned(table))}
    replaced = [row for row in rows_of(table) if row["decision"] == "replaced"]
    assert sum(one["rows"] for one in found.values()) == len(replaced) > 0
    unmatched = [row for row in replaced if row["reason"] == "unmatched"]
    best = [
        max(s for s, d in zip(r["itm_synthetic"], r["decision_synthetic"], strict=True) if d == "keep")
        for r in unmatched
    ]
    web = [max(s for s in row["itm_web"] if s is not None) for row in unmatched]
    assert found["unmatched"]["synthetic"] == pytest.approx(np.mean(best))
    assert found["unmatched"]["web"] == pytest.approx(np.mean(web))


def test_how_it_was_made_and_the_ledger(make_cleaned):
    cleaned = read_cleaned(make_cleaned())
    made = made_by(cleaned)
    assert (made["captioner"], made["shared"]) == ("c1", False)
    assert [one["method"] for one in made["decoding"]] == ["nucleus", "beam"]
    ledger = cleaned.ledger
    assert ledger["rows"] == ledger["kept"] + ledger["replaced"] + ledger["dropped"] == 24
    json.dumps([made, ledger], allow_nan=False)


def test_cost_is_of_the_last_record_of_these_models(make_cleaned, tmp_path):
    cleaned, path = read_cleaned(make_cleaned()), tmp_path / "records.jsonl"
    assert cost(cleaned, path) is None
    recorder = Recorder(path)
    recorder.write("capfilt", captioner="other", filter="f1", measured=24, seconds=1.0)
    assert cost(cleaned, path) is None
    recorder.write("capfilt", captioner="c1", filter="f1", measured=24, seconds=12.0)
    recorder.write("cost", price_per_hour=2.0, peak_rss_gb=1.5)
    recorder.write("capfilt", captioner="c1", filter="f1", measured=0, seconds=0.1)
    found = cost(cleaned, path)
    assert (found["pictures_per_second"], found["peak_rss_gb"]) == (2.0, 1.5)
    assert found["hours_per_million"] == pytest.approx(5e5 / 3600)
    assert found["cost_per_million"] == pytest.approx(1e6 / 3600)
    assert cost(cleaned, path, 4.0)["cost_per_million"] == pytest.approx(2e6 / 3600)


def test_truth_is_told_where_it_is_known(make_cleaned):
    words = [["clean", "junk"][: 1 + number % 2] for number in range(24)]
    assert truth(read_cleaned(make_cleaned(truth=words)))["noise"] == 11  # of 12, one picture cannot be read


def test_without_truth_there_is_none(make_cleaned):
    assert truth(read_cleaned(make_cleaned())) is None


def test_a_column_truth_that_says_something_else_is_none(make_cleaned):
    assert truth(read_cleaned(make_cleaned(truth=["Paris"] * 24))) is None


def test_a_table_that_was_not_cleaned_is_refused(tmp_path, make_cleaned):
    batch = pa.record_batch({"key": ["a"]})
    with pytest.raises(DataError, match=r"(?s)was not cleaned.*limner capfilt"):
        read_cleaned(Table.write(tmp_path / "t.lance", [batch], batch.schema))
