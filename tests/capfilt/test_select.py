"""Which pairs a person should see first."""

from collections.abc import Callable

import pytest

from limner.capfilt.pipeline import run
from limner.capfilt.select import SELECTED, Pair, _most_telling, add_selection, in_order, select
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.errors import DataError
from limner.models.generate import Decoding

SETTINGS = CapFiltSettings(decoding=Decoding(method="nucleus", max_tokens=6))


@pytest.fixture
def cleaned(noisy: Table, bundle: Bundle) -> Table:
    return run(noisy, bundle, bundle, SETTINGS).table


def pair(row: int, itm: float, itc: float) -> Pair:
    return Pair(row, f"row{row}", "a cat", itm, itc, "random")


def test_disputed_and_doubtful_pairs_come_first() -> None:
    sure = [pair(i, 0.9 + i / 100, 0.9 + i / 100) for i in range(4)]
    wrong = [pair(4 + i, 0.01 + i / 100, 0.01 + i / 100) for i in range(4)]
    disputed, doubtful = pair(8, 0.999, 0.0), pair(9, 0.5, 0.5)
    found = _most_telling([*sure, *wrong, disputed], 0.5)
    assert (found[0].row, found[0].why) == (8, "disagreement")
    found = _most_telling([*sure, *wrong, doubtful], 0.5)
    assert {one.row for one in found[:2]} == {7, 9}  # on both sides of the threshold in the order
    assert {one.why for one in found[:2]} == {"uncertainty"}
    assert found[-1].row == 3


def test_one_pair_a_row_by_seed(cleaned: Table) -> None:
    every = select(cleaned, 100, "random")
    texts = [row for batch in cleaned.batches(["itm_web", "itm_synthetic"]) for row in batch]
    scored = [any(s is not None for s in row["itm_web"] + row["itm_synthetic"]) for row in texts]
    assert len(every) == len({one.row for one in every}) == sum(scored)
    assert select(cleaned, 5, "active", seed=1) == select(cleaned, 5, "active", seed=1)
    assert select(cleaned, 21, "random", seed=1) != select(cleaned, 21, "random", seed=2)
    row = cleaned.rows([every[0].row])[0]
    assert every[0].text in (row["texts"] or []) + row["synthetic"]


def test_the_choice_is_written_beside_the_rows(cleaned: Table) -> None:
    pairs = select(cleaned, 5)
    written = add_selection(cleaned, pairs)
    assert written.version == cleaned.version + 1
    rows = [row for batch in written.batches(SELECTED.names) for row in batch]
    ranked = sorted(
        (row["selected_rank"], i) for i, row in enumerate(rows) if row["selected_rank"] is not None
    )
    assert ranked == [(rank, one.row) for rank, one in enumerate(pairs)]
    assert [rows[i]["selected_text"] for _, i in ranked] == [one.text for one in pairs]
    assert [name for name in add_selection(written, pairs[:2]).column("selected_for") if name] != []


def test_a_table_without_scores_is_refused(
    make_table: Callable[..., Table], bundle: Bundle, noisy: Table
) -> None:
    with pytest.raises(DataError, match="was not cleaned"):
        select(noisy, 5)


def test_a_selection_takes_the_first_of_each_row_in_order(cleaned: Table) -> None:
    every = in_order(cleaned, "active", seed=3)
    assert len(every) > len({one.row for one in every})  # rows with several texts
    first = {one.row: one for one in reversed(every)}
    assert select(cleaned, 100, "active", seed=3) == sorted(first.values(), key=every.index)
