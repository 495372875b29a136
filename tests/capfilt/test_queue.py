"""In which order people see texts, and what the filter said of each."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from limner.capfilt.cut import Cut
from limner.capfilt.queue import put_in_order, texts_to_judge
from limner.capfilt.select import Pair, add_selection
from limner.data.table import Table
from limner.errors import DataError


def with_scores(table: Table, itm: list[list[float | None]], itc: list[list[float | None]]) -> Table:
    """A table as a cleaning leaves it, without synthetic texts but in row 0."""
    web = [["keep" if one and one >= 0.5 else "drop" for one in row] for row in itm]
    n, cut = len(itm), Cut(threshold=0.5, rule="score").model_dump_json()
    columns = {
        "itm_web": itm,
        "itc_web": itc,
        "synthetic": [["a cat", "an ox"]] + [[]] * (n - 1),
        "itm_synthetic": pa.array([[0.9, 0.8]] + [[]] * (n - 1)),
        "itc_synthetic": pa.array([[0.9, 0.8]] + [[]] * (n - 1)),
        "decision_web": web,
        "decision_synthetic": [["keep", "keep"]] + [[]] * (n - 1),
        "capfilt": [{"cut": cut}] * n,
    }
    return table.add_columns(pa.table(columns), "cleaned")


@pytest.fixture
def table(make_table: Callable[..., Table]) -> Table:
    return make_table([["a cat", "a cat"], ["a dog", ""], None, ["a fish"]])


@pytest.fixture
def cleaned(table: Table) -> Table:
    return with_scores(table, [[0.2, 0.2], [0.99, None], [], [None]], [[0.1, 0.1], [0.05, None], [], [None]])


def test_each_different_text_is_asked_once_in_table_order(table: Table, cleaned: Table) -> None:
    assert [(i.row, i.text, i.kept) for i in texts_to_judge(table)] == [
        (0, "a cat", None),
        (1, "a dog", None),
        (3, "a fish", None),
    ]
    assert [(i.row, i.text, i.kept) for i in texts_to_judge(cleaned)] == [
        (0, "a cat", True),  # dropped as a web text, kept as a synthetic one: it stays in the table
        (0, "an ox", True),
        (1, "a dog", True),
        (3, "a fish", False),
    ]
    assert put_in_order(table, texts_to_judge(table)) == texts_to_judge(table)


def test_disputed_pairs_come_first_and_those_without_scores_last(cleaned: Table) -> None:
    found = put_in_order(cleaned, texts_to_judge(cleaned))
    assert found[0].text == "a dog"  # highest by ITM, lowest by ITC
    assert found[-1].text == "a fish"
    assert sorted(found) == sorted(texts_to_judge(cleaned))


def test_a_selection_is_the_queue(cleaned: Table) -> None:
    pairs = [Pair(3, "row3", "a fish", 0.1, 0.1, "random"), Pair(0, "row0", "an ox", 0.1, 0.1, "random")]
    chosen = add_selection(cleaned, pairs)
    items = texts_to_judge(chosen)
    assert [item.text for item in put_in_order(chosen, items)] == ["a fish", "an ox"]
    assert len(put_in_order(chosen, items, "active")) == 4


def test_chance_follows_the_seed(make_table: Callable[..., Table]) -> None:
    many = make_table([[f"text {i}"] for i in range(20)])
    items = texts_to_judge(many)
    one, two, other = (put_in_order(many, items, "random", seed) for seed in (1, 1, 2))
    assert one == two != other
    assert sorted(one) == sorted(items)


def test_what_a_table_lacks_is_said(make_table: Callable[..., Table]) -> None:
    bare = make_table([["a cat"], None])
    with pytest.raises(DataError, match="nothing is selected"):
        put_in_order(bare, texts_to_judge(bare), "selected")
    with pytest.raises(DataError, match="was not cleaned"):
        put_in_order(bare, texts_to_judge(bare), "active")
    with pytest.raises(DataError, match="words"):
        texts_to_judge(bare, "words")


def test_a_table_without_a_text_is_refused(make_table: Callable[..., Table]) -> None:
    with pytest.raises(DataError, match="has no text to judge"):
        texts_to_judge(make_table([None, [" "]]))
