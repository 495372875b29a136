"""The ledger: every row and every text that went in is accounted for, or the job fails.

Rows     in = kept + replaced + dropped
         kept      at least one text people wrote stays (a synthetic one may stand beside it: `added`)
         replaced  none of theirs stays, a synthetic one does
         dropped   nothing stays
Texts    in = kept + dropped, for web and synthetic texts apart; each dropped text has a reason
Pairs    what training reads: the union of kept web and kept synthetic texts, each different text once
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from limner.capfilt.decision import DROP, DROPPED, KEEP, KEPT, REPLACED
from limner.config import Config
from limner.errors import DataError


class TextCount(Config):
    """Texts of one side.

    Args:
        total: that went in.
        kept: that stay.
        dropped: that go.
        reasons: dropped texts by reason; adds up to `dropped`.
    """

    total: int
    kept: int
    dropped: int
    reasons: dict[str, int]


class Ledger(Config):
    """What became of a table.

    Args:
        rows: that went in.
        kept: rows where a web text stays.
        added: of these, rows that also gain a synthetic text that is not among theirs.
        replaced: rows where only synthetic text stays.
        dropped: rows left without text.
        silent: rows whose bootstrapped texts are empty; they are the dropped ones.
        replaced_reasons: why the replaced rows lost their web text.
        dropped_reasons: why the dropped rows lost theirs.
        web: texts people wrote.
        synthetic: texts the captioner wrote.
        pairs: different (picture, text) pairs that training will read.
    """

    rows: int
    kept: int
    added: int
    replaced: int
    dropped: int
    silent: int
    replaced_reasons: dict[str, int]
    dropped_reasons: dict[str, int]
    web: TextCount
    synthetic: TextCount
    pairs: int


def tally(rows: Iterable[Mapping[str, Any]]) -> Ledger:
    """Count a decided table.

    Args:
        rows: with the columns decision, reason, texts_bootstrapped, decision_web, reason_web,
            decision_synthetic, reason_synthetic.
    """
    outcome: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {REPLACED: Counter(), DROPPED: Counter()}
    sides: dict[str, Counter[tuple[str, str | None]]] = {"web": Counter(), "synthetic": Counter()}
    pairs = added = silent = 0
    for row in rows:
        outcome[row["decision"]] += 1
        if row["decision"] in reasons:
            reasons[row["decision"]][row["reason"]] += 1
        for side, texts in sides.items():
            texts.update(zip(row[f"decision_{side}"], row[f"reason_{side}"], strict=True))
        pairs += len(row["texts_bootstrapped"])
        silent += not row["texts_bootstrapped"]
        kept_web = {t for t, d in zip(row["texts"], row["decision_web"], strict=True) if d == KEEP}
        added += row["decision"] == KEPT and not kept_web.issuperset(row["texts_bootstrapped"])
    return Ledger(
        rows=outcome.total(),
        kept=outcome[KEPT],
        added=added,
        replaced=outcome[REPLACED],
        dropped=outcome[DROPPED],
        silent=silent,
        replaced_reasons=_sorted(reasons[REPLACED]),
        dropped_reasons=_sorted(reasons[DROPPED]),
        web=_count(sides["web"]),
        synthetic=_count(sides["synthetic"]),
        pairs=pairs,
    )


def check(ledger: Ledger, rows: int, web_texts: int, synthetic_texts: int) -> None:
    """Hold a ledger against what is known to have gone in.

    Args:
        ledger: counted from the decisions.
        rows: of the table.
        web_texts: in the table's text column.
        synthetic_texts: that the captioner wrote.
    Raises: DataError that names each sum that does not come out.
    """
    sums = {
        "rows in = rows decided": (rows, ledger.rows),
        "rows = kept + replaced + dropped": (ledger.rows, ledger.kept + ledger.replaced + ledger.dropped),
        "dropped = rows without text": (ledger.dropped, ledger.silent),
        "replaced = its reasons": (ledger.replaced, sum(ledger.replaced_reasons.values())),
        "dropped = its reasons": (ledger.dropped, sum(ledger.dropped_reasons.values())),
        "web texts in = web texts decided": (web_texts, ledger.web.total),
        "synthetic texts in = synthetic texts decided": (synthetic_texts, ledger.synthetic.total),
    }
    for side, count in (("web", ledger.web), ("synthetic", ledger.synthetic)):
        sums[f"{side} texts = kept + dropped"] = (count.total, count.kept + count.dropped)
        sums[f"{side} texts dropped = their reasons"] = (count.dropped, sum(count.reasons.values()))
    wrong = [f"{name}: {left} ≠ {right}" for name, (left, right) in sums.items() if left != right]
    if wrong:
        raise DataError(
            f"the CapFilt ledger does not balance; {'; '.join(wrong)}",
            wanted="every row and text accounted for once",
        )


def _count(texts: Counter[tuple[str, str | None]]) -> TextCount:
    decisions, reasons = Counter[str](), Counter[str]()
    for (decision, reason), count in texts.items():
        decisions[decision] += count
        if decision == DROP and reason is not None:
            reasons[reason] += count
    return TextCount(
        total=texts.total(), kept=decisions[KEEP], dropped=decisions[DROP], reasons=_sorted(reasons)
    )


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())
