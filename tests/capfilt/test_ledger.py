"""The ledger against counts made one row at a time, and against every way it could be wrong."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.capfilt.ledger import Ledger, check, tally
from limner.errors import DataError

REASON = st.sampled_from([None, "unmatched", "junk:url", "junk:empty"])
TEXTS = st.lists(st.tuples(st.sampled_from(["a cat", "a dog", "two owls"]), REASON), max_size=4)


def decided_row(web: list[tuple[str, Any]], synthetic: list[tuple[str, Any]]) -> dict[str, Any]:
    """A decided row from (text, reason it goes or None) pairs."""
    kept_web, kept = [t for t, r in web if r is None], [t for t, r in [*web, *synthetic] if r is None]
    return {
        "texts": [text for text, _ in web],
        "decision": "kept" if kept_web else "replaced" if kept else "dropped",
        "reason": None if kept_web else "unmatched",
        "decision_web": ["drop" if reason else "keep" for _, reason in web],
        "reason_web": [reason for _, reason in web],
        "decision_synthetic": ["drop" if reason else "keep" for _, reason in synthetic],
        "reason_synthetic": [reason for _, reason in synthetic],
        "texts_bootstrapped": sorted(set(kept)),
    }


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=10))
def test_every_row_and_text_is_counted_once(rows: list[tuple[list[Any], list[Any]]]) -> None:
    ledger = tally(decided_row(web, synthetic) for web, synthetic in rows)
    for index, side in enumerate(("web", "synthetic")):
        count = getattr(ledger, side)
        flat = [reason for row in rows for _, reason in row[index]]
        assert (count.total, count.kept) == (len(flat), flat.count(None))
        assert count.reasons == Counter(reason for reason in flat if reason is not None)
    kept = [{t for t, r in web if r is None} for web, _ in rows]
    gained = [{t for t, r in synthetic if r is None} for _, synthetic in rows]
    assert ledger.kept == sum(map(bool, kept))
    assert ledger.added == sum(bool(k) and bool(g - k) for k, g in zip(kept, gained, strict=True))
    assert ledger.replaced == sum(not k and bool(g) for k, g in zip(kept, gained, strict=True))
    assert ledger.dropped == ledger.silent == sum(not k and not g for k, g in zip(kept, gained, strict=True))
    assert ledger.pairs == sum(len(k | g) for k, g in zip(kept, gained, strict=True))
    check(ledger, len(rows), ledger.web.total, ledger.synthetic.total)


@pytest.fixture
def ledger() -> Ledger:
    """One row: a web text kept, one dropped, and a synthetic one dropped."""
    return tally([decided_row([("a cat", None), ("x", "junk:url")], [("a dog", "unmatched")])])


def test_reasons_are_told_most_frequent_first() -> None:
    reasons = ["junk:url", "unmatched", "unmatched", None]
    found = tally([decided_row([("a cat", reason) for reason in reasons], [])])
    assert list(found.web.reasons.items()) == [("unmatched", 2), ("junk:url", 1)]


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": 2},
        {"kept": 0},
        {"dropped": 1, "silent": 1, "kept": 0, "dropped_reasons": {}},
        {"silent": 1},
        {"replaced": 1, "kept": 0},
    ],
)
def test_a_wrong_row_count_fails_the_job(ledger: Ledger, changed: dict[str, Any]) -> None:
    check(ledger, rows=1, web_texts=2, synthetic_texts=1)
    with pytest.raises(DataError, match="does not balance"):
        check(ledger.model_copy(update=changed), rows=1, web_texts=2, synthetic_texts=1)


@pytest.mark.parametrize("counts", [(2, 2, 1), (1, 3, 1), (1, 2, 0)])
def test_what_did_not_come_out_fails_the_job(ledger: Ledger, counts: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match="≠"):
        check(ledger, *counts)


def test_a_text_dropped_without_a_reason_fails_the_job() -> None:
    row = decided_row([("a cat", "unmatched")], []) | {"reason_web": [None]}
    with pytest.raises(DataError, match="web texts dropped = their reasons: 1 ≠ 0"):
        check(tally([row]), 1, 1, 0)
