"""Who is shown what, and how well the filter agrees with them."""

from collections.abc import Callable

import pyarrow as pa
import pytest
from scipy import stats

from limner.capfilt.review import Review, named
from limner.data.table import Table
from limner.errors import DataError

TEXTS = ["a cat", "a dog", "an owl", "a fish", "an ox", "a bee"]
DECISIONS = ["keep", "keep", "keep", "drop", "drop", "drop"]


@pytest.fixture
def table(make_table: Callable[..., Table]) -> Table:
    made = make_table([[text] for text in TEXTS])
    return made.add_columns(pa.table({"decision_web": [[one] for one in DECISIONS]}), "decided")


def say(review: Review, person: str, *decisions: str) -> None:
    for decision in decisions:
        asked = review.next(person)
        review.judge(person, asked.key, asked.text, decision)


def test_everybody_goes_through_the_queue(table: Table) -> None:
    review = Review(table, count=3)
    assert review.next("ann") == ("row0", "a cat", 0, 3, 0)
    say(review, "ann", "accept", "reject")
    assert review.next(" ann ") == ("row2", "an owl", 2, 3, 2)
    assert review.next("bob").done == 0
    say(review, "ann", "accept")
    assert review.next("ann") == (None, None, 3, 3, 3)
    assert review.people == ["ann"]


def test_undo_shows_the_pair_again(table: Table) -> None:
    review = Review(table)
    say(review, "ann", "accept", "reject")
    say(review, "bob", "accept")
    review.undo("ann")
    assert review.next("ann") == ("row1", "a dog", 1, 6, 1)
    assert review.next("bob").undoable == 1
    review.undo("ann")
    with pytest.raises(DataError, match="nothing to undo"):
        review.undo("ann")
    assert review.people == ["bob"]
    assert review.judgements == 1


def test_a_review_goes_on_from_its_journal_and_from_the_table(table: Table) -> None:
    say(Review(table), "ann", "accept")
    again = Review(table)
    assert again.next("ann")[:3] == ("row1", "a dog", 1)
    again.undo("ann")
    say(again, "ann", "accept", "accept")
    written = Review(again.journal.write_back())
    assert written.next("ann") == ("row2", "an owl", 2, 6, 0)
    assert written.judgements == 2


def test_precision_and_recall_by_majority(table: Table) -> None:
    review = Review(table)
    assert review.agreement().values() == {"judged": 0, "precision": None, "recall": None}
    say(review, "ann", "accept", "accept", "reject", "accept", "reject", "accept")
    say(review, "bob", "accept", "accept", "reject", "accept", "reject", "reject")  # of the bee, one and one
    found = review.agreement()
    assert found.judged == 5
    interval = stats.binomtest(2, 3).proportion_ci(0.95, method="exact")
    expected = pytest.approx((2 / 3, interval.low, interval.high, 3))
    assert tuple(found.precision) == expected  # kept cat, dog, owl; good cat, dog, fish
    assert tuple(found.recall) == expected
    say(review, "eve", *["reject"] * 6)
    assert tuple(review.agreement().recall)[::3] == (pytest.approx(2 / 3), 3)
    assert review.agreement().judged == 6


def test_an_edit_rejects_what_was_shown(table: Table) -> None:
    review = Review(table)
    review.judge("ann", "row0", "a cat", "edit", "  two\n cats ")
    assert review.journal.read()[0].written == "two cats"
    assert review.agreement().precision.value == 0.0
    assert review.judgements == 2


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        (("ann", "row0", "a dog", "accept"), "not asked"),
        (("ann", "row5", "a bee", "accept"), "not asked"),
        (("ann", "row0", "a cat", "maybe"), "accept, reject or edit"),
        (("ann", "row0", "a cat", "edit", " a cat "), "changes nothing"),
        (("ann", "row0", "a cat", "edit"), "changes nothing"),
        ((" ", "row0", "a cat", "accept"), "the name"),
    ],
)
def test_what_cannot_be_kept_is_refused(table: Table, judged: tuple[str, ...], message: str) -> None:
    review = Review(table, count=5)
    with pytest.raises(DataError, match=message):
        review.judge(*judged)
    assert not review.journal.path.exists()


def test_pictures_of_the_queue_alone(table: Table) -> None:
    review = Review(table, count=1)
    assert review.picture("row0") == table.rows([0], ["image"])[0]["image"]
    with pytest.raises(DataError, match="no picture 'row1'"):
        review.picture("row1")
    assert named("  Ann  Lee ") == "Ann Lee"
