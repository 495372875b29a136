"""The audit against counts made by hand and an AUROC counted pair by pair."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pytest

from limner.capfilt.audit import audit
from limner.capfilt.decision import DECIDED, MEASURED, decide
from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.errors import DataError

ROWS = [  # text, truth, itm or junk, synthetic, its itm
    ("a cat", "clean", 0.9, "a cat", 0.8),
    ("a dog", "clean", 0.4, "a dog", 0.9),
    ("a cow", "clean", 0.8, "a hen", 0.2),
    ("a pig", "swapped", 0.6, "a fox", 0.7),
    ("an owl", "swapped", 0.1, "a bee", 0.9),
    ("nan", "junk", "junk:placeholder", "a bus", 0.3),
]
RIGHT = {"row0": "a cat", "row1": "a dog", "row2": "a cow", "row3": "a fox", "row4": "a bug", "row5": "a bus"}


@pytest.fixture
def audited(make_table: Callable[..., Table]) -> Table:
    table = make_table([[row[0]] for row in ROWS], truth=[[row[1]] for row in ROWS])
    decided = []
    for text, _, score, synthetic, itm in ROWS:
        junk = isinstance(score, str)
        measured: dict[str, Any] = dict.fromkeys(MEASURED.names) | {
            "junk_web": [score if junk else None],
            "itm_web": [None if junk else score],
            "itc_web": [None if junk else score],
            "synthetic": [synthetic],
            "log_prob_synthetic": [-1.0],
            "junk_synthetic": [None],
            "itm_synthetic": [itm],
            "itc_synthetic": [itm],
        }
        decided.append(decide(measured, [text], 0.5))
    return table.add_columns(pa.Table.from_pylist(decided, schema=DECIDED), "by hand")


def _is_right(text: str, row: Mapping[str, Any]) -> bool:
    return RIGHT[row["key"]] == text


def _slow_auroc(clean: list[float], noise: list[float]) -> float:
    wins = [(one > two) + 0.5 * (one == two) for one in clean for two in noise]
    return sum(wins) / len(wins)


def test_scores_and_drops(audited: Table) -> None:
    found = audit(audited)
    clean = [0.9, 0.4, 0.8]
    assert found["auroc"] == pytest.approx(_slow_auroc(clean, [0.6, 0.1, -1]))
    assert found["auroc_swapped"] == pytest.approx(_slow_auroc(clean, [0.6, 0.1]))
    assert found["auroc_swapped_itc"] == found["auroc_swapped"]
    assert (found["texts"], found["noise"]) == (6, 3)
    assert found["drop_precision"] == pytest.approx(2 / 3)
    assert found["drop_recall"] == pytest.approx(2 / 3)
    assert (found["drop_recall_swapped"], found["drop_recall_junk"]) == (0.5, 1.0)
    assert found["kept_clean"] == pytest.approx(2 / 3)
    assert "pictures_correct_before" not in found


def test_what_training_reads_before_and_after(audited: Table) -> None:
    found = audit(audited, _is_right)
    assert found["pictures_correct_before"] == pytest.approx(3 / 6)
    assert found["pictures_correct_after"] == pytest.approx(4 / 6)  # cat, dog (synthetic), cow, fox
    assert found["texts_correct_before"] == pytest.approx(3 / 6)
    assert found["texts_correct_after"] == pytest.approx(4 / 6)  # cat | dog | cow | pig, fox | bee
    assert found["synthetic_correct"] == pytest.approx(4 / 6)
    assert found["synthetic_correct_kept"] == pytest.approx(3 / 4)


def test_one_sided_truth_has_no_auroc(make_table: Callable[..., Table], audited: Table) -> None:
    truth = pa.table({"truth": pa.array([["clean"]] * 6, pa.list_(pa.string()))})
    found = audit(audited.add_columns(truth, "all clean"))
    assert found["auroc"] is found["auroc_swapped"] is found["drop_recall"] is None
    assert found["drop_precision"] == 0


def test_missing_columns_are_named(make_table: Callable[..., Table], audited: Table, bundle: Bundle) -> None:
    with pytest.raises(DataError, match="was not cleaned"):
        audit(Table.open(audited.path, 1))
    with pytest.raises(DataError, match="no column 'gold'"):
        audit(audited, truth_column="gold")


def test_one_word_a_row_serves_and_another_truth_is_refused(audited: Table) -> None:
    words = [row[0] for row in audited.column("truth")]
    by_row = audited.add_columns(pa.table({"truth": words}), "a word a row")
    assert audit(by_row) == audit(Table.open(audited.path, audited.version))
    for said in ([["clean", "clean"]] * 6, ["Paris"] * 6):
        other = Table.open(audited.path).add_columns(pa.table({"truth": said}), "not of the texts")
        with pytest.raises(DataError, match="wanted: a word a text, or one a row, of clean, swapped, junk"):
            audit(other)
