"""Decisions over every kind of row, with scores drawn at random."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.capfilt.decision import (
    DECIDED,
    DROP,
    DROPPED,
    KEEP,
    KEPT,
    MEASURED,
    NO_WEB_TEXT,
    REPLACED,
    UNMATCHED,
    decide,
    undecide,
)
from limner.capfilt.ledger import check, tally

JUNK = st.sampled_from(["junk:empty", "junk:url"])
PROBABILITY = st.floats(0, 1, width=32)
TEXT = st.tuples(st.sampled_from(["a cat", "a dog", "two owls", ""]), st.one_of(PROBABILITY, JUNK))


def measured_row(
    web: list[tuple[str, Any]], synthetic: list[tuple[str, Any]], picture: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """A measured row from (text, score or junk reason) pairs, as a table gives it back, and its web texts."""
    if picture is not None:
        synthetic = []
    row: dict[str, Any] = {"key": "k", "picture": picture, "synthetic": [text for text, _ in synthetic]}
    row["log_prob_synthetic"] = [-1.0 for _ in synthetic]
    for side, pairs in (("web", web), ("synthetic", synthetic)):
        scored = [picture is None and isinstance(score, float) for _, score in pairs]
        row[f"junk_{side}"] = [s if picture is None and isinstance(s, str) else None for _, s in pairs]
        row[f"itm_{side}"] = [s if known else None for (_, s), known in zip(pairs, scored, strict=True)]
        row[f"itc_{side}"] = [0.25 if known else None for known in scored]
    return pa.Table.from_pylist([row], schema=MEASURED).to_pylist()[0], [text for text, _ in web]


ROW = st.builds(
    measured_row,
    st.lists(TEXT, max_size=4),
    st.lists(TEXT, max_size=3),
    st.one_of(st.none(), st.none(), st.just("picture:truncated")),
)


@given(st.lists(ROW, max_size=12), PROBABILITY)
def test_the_ledger_balances_for_any_table(
    rows: list[tuple[dict[str, Any], list[str]]], threshold: float
) -> None:
    decided = [decide(row, texts, threshold) | {"texts": texts} for row, texts in rows]
    ledger = tally(decided)
    web, synthetic = sum(len(texts) for _, texts in rows), sum(len(row["synthetic"]) for row, _ in rows)
    check(ledger, len(rows), web, synthetic)
    assert ledger.rows == len(rows) == ledger.kept + ledger.replaced + ledger.dropped
    assert ledger.web.total == web
    assert ledger.pairs == sum(len(row["texts_bootstrapped"]) for row in decided)


@given(ROW, PROBABILITY)
def test_a_row_is_decided_by_its_texts(row: tuple[dict[str, Any], list[str]], threshold: float) -> None:
    measured, texts = row
    out = decide(measured, texts, threshold)
    for side, words in (("web", texts), ("synthetic", measured["synthetic"])):
        for text, decision, reason, score in zip(
            words, out[f"decision_{side}"], out[f"reason_{side}"], measured[f"itm_{side}"], strict=True
        ):
            assert (decision == DROP) == (reason is not None)
            assert (decision == KEEP) == (score is not None and score >= threshold)
            assert decision == DROP or text in out["texts_bootstrapped"]
            assert reason != UNMATCHED or score is not None
    kept_web, kept_any = KEEP in out["decision_web"], bool(out["texts_bootstrapped"])
    assert out["decision"] == (KEPT if kept_web else REPLACED if kept_any else DROPPED)
    assert (out["reason"] is None) == kept_web
    assert len(set(out["texts_bootstrapped"])) == len(out["texts_bootstrapped"])


@given(ROW, PROBABILITY, PROBABILITY)
def test_a_decided_row_can_be_decided_anew(
    row: tuple[dict[str, Any], list[str]], first: float, second: float
) -> None:
    measured, texts = row
    again = undecide({"key": "k"} | decide(measured, texts, first))
    again = pa.Table.from_pylist([again], schema=MEASURED).to_pylist()[0]
    assert decide(again, texts, second) == decide(measured, texts, second)


def test_a_decided_row_has_every_column() -> None:
    row, texts = measured_row([("a cat", 0.9)], [("a cat", 0.8)])
    assert set(decide(row, texts, 0.5)) == set(DECIDED.names)


@pytest.mark.parametrize(
    ("web", "picture", "reason"),
    [
        ([], None, NO_WEB_TEXT),
        ([("x", "junk:url"), ("a cat", 0.1)], None, UNMATCHED),
        ([("x", "junk:url"), ("", "junk:empty")], None, "junk:url"),
        ([("a cat", 0.9)], "picture:truncated", "picture:truncated"),
    ],
)
def test_a_row_tells_why_it_lost_its_text(
    web: list[tuple[str, Any]], picture: str | None, reason: str
) -> None:
    row, texts = measured_row(web, [("a cat", 0.2)], picture)
    out = decide(row, texts, 0.5)
    assert (out["decision"], out["reason"], out["texts_bootstrapped"]) == (DROPPED, reason, [])


def test_a_text_at_the_threshold_stays_and_the_union_holds_it_once() -> None:
    row, texts = measured_row([("a cat", 0.5), ("a dog", 0.49)], [("a cat", 0.7), ("two owls", 1.0)])
    out = decide(row, texts, 0.5)
    assert out["texts_bootstrapped"] == ["a cat", "two owls"]
    assert out["decision_web"] == [KEEP, DROP]
    assert tally([out | {"texts": texts}]).added == 1
