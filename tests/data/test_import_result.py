"""What an import comes to: totals, verdicts, shares."""

import pyarrow as pa
import pytest

from limner.data.import_result import ImportRules, judge, parsed_splits, settle
from limner.data.import_rows import Existing, Known
from limner.data.import_staging import STAGED
from limner.errors import ConfigError, DataError


def staged(*rows: dict[str, object]) -> pa.Table:
    plain = {"state": "added", "phash": "0" * 16, "texts": ["a cat"]}
    made = [{**plain, "sha256": f"{i}", "key": f"{i}", **row} for i, row in enumerate(rows)]
    for row in made:
        row["phash"] = row["phash"] if row["state"] == "refused" else f"{hash(row['sha256']) % 2**64:016x}"
    return pa.Table.from_pylist(made, schema=STAGED).drop_columns(["image"])


REFUSED = {"state": "refused", "reason": "empty", "message": "nothing", "origin": "x.jpg", "texts": None}
AWAY = {**REFUSED, "reason": "not_downloaded"}


def test_totals_balance() -> None:
    rows = staged({}, REFUSED, {"state": "unchanged"}, {"state": "updated", "texts": []}, AWAY)
    settled = settle(rows, Existing(), ["gone"], ImportRules())
    assert settled.counts == {"added": 1, "updated": 1, "unchanged": 1, "missing": 1}
    assert settled.refused == {"empty": 1, "not_downloaded": 1}
    assert settled.keep.tolist() == [True, False, False, True, False]
    assert settled.without_text == 1
    assert settled.values()["captions"] == {"kept": 2}


def test_what_was_never_downloaded_is_not_held_against_an_import() -> None:
    rows = staged({}, {}, AWAY, AWAY, AWAY)
    judge(settle(rows, Existing(), [], ImportRules()), "web", 0.0, rows)
    rows = staged({}, {}, REFUSED)
    with pytest.raises(DataError, match=r"1 of 3 pictures in web are refused \(1 empty\): x.jpg: nothing"):
        judge(settle(rows, Existing(), [], ImportRules()), "web", 0.3, rows)


def test_nothing_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="web holds no pictures"):
        judge(settle(staged(), Existing(), [], ImportRules()), "web", 1.0, staged())


def test_a_new_copy_of_a_row_of_the_table_is_dropped_and_takes_its_split() -> None:
    existing = Existing({"old": Known("x", "test", "s", b"")}, {}, ["f" * 16])
    rows = staged({"sha256": "s"})
    dropped = settle(rows, existing, [], ImportRules(drop_duplicates="exact"))
    assert (dropped.duplicates.dropped, dropped.keep.tolist()) == (("0",), [False])
    drawn = settle(rows, existing, [], ImportRules(splits={"train": 1.0}))
    assert drawn.splits == ["test"]


def test_shares_are_read() -> None:
    assert parsed_splits("train=0.8, test=0.2") == {"train": 0.8, "test": 0.2}
    with pytest.raises(ConfigError, match="--splits"):
        parsed_splits("train=0.8")
