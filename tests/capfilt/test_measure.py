"""Measured rows, straight from the models: order, start, and what broken pictures cost."""

from collections.abc import Callable
from typing import Any

import pytest

from limner.capfilt.decision import MEASURED
from limner.capfilt.measure import Job, cut, measure
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.models.generate import Decoding

SETTINGS = CapFiltSettings(decoding=Decoding(method="nucleus", max_tokens=6), batch_size=3)


def _job(table: Table, captioner: Bundle, judge: Bundle) -> Job:
    return Job(table, captioner, judge, SETTINGS)


def _rows(job: Job, start: int = 0) -> list[dict[str, Any]]:
    return [row for piece in measure(job, [range(start, job.table.num_rows)]) for row in piece.rows]


@pytest.mark.parametrize("start", [0, 1, 21, 23])
def test_rows_come_in_order_from_where_it_starts(noisy: Table, bundle: Bundle, start: int) -> None:
    rows = _rows(_job(noisy, bundle, bundle), start)
    assert [row["key"] for row in rows] == [f"row{i}" for i in range(start, 23)]
    assert all(set(row) == set(MEASURED.names) for row in rows)


def test_pieces_say_where_they_stand(noisy: Table, bundle: Bundle) -> None:
    pieces = list(measure(_job(noisy, bundle, bundle), [range(0, 4), range(9, 10), range(20, 23)]))
    assert [(piece.start, len(piece.rows)) for piece in pieces] == [(0, 3), (3, 1), (9, 1), (20, 3)]
    assert all(piece.rows[0]["key"] == f"row{piece.start}" for piece in pieces)


def test_spans_are_cut_from_where_each_begins() -> None:
    assert list(cut([range(0, 5), range(7, 9)], 2)) == [*map(range, (0, 2, 4, 7), (2, 4, 5, 9))]
    assert list(cut([range(3, 3)], 2)) == []
    assert [list(part) for part in cut([range(1, 12, 4)], 2)] == [[1, 5], [9]]


def test_a_batch_of_broken_pictures_is_measured_too(make_table: Callable[..., Table], bundle: Bundle) -> None:
    table = make_table([["a cat"], ["a dog", "nan"], [], ["a red bus"]], broken=(0, 1, 2))
    rows = _rows(_job(table, bundle, bundle))
    assert [row["picture"] for row in rows] == ["picture:truncated"] * 3 + [None]
    assert rows[1]["itm_web"] == rows[1]["itc_web"] == rows[1]["junk_web"] == [None, None]
    assert rows[0]["synthetic"] == rows[0]["itm_synthetic"] == []
    assert len(rows[3]["synthetic"]) == 1


def test_a_missing_picture_is_a_broken_one(make_table: Callable[..., Table], bundle: Bundle) -> None:
    job = _job(make_table([["a cat"]]), bundle, bundle)
    blank = job.table.rows

    class Blank(Table):
        def rows(self, *args: Any) -> list[dict[str, Any]]:
            return [row | {"image": None} for row in blank(*args)]

    table = Blank.open(job.table.path)
    assert [row["picture"] for row in _rows(job._replace(table=table))] == ["picture:empty"]


def test_one_model_for_both_is_shared_only_when_pictures_are_prepared_alike(
    noisy: Table, bundle: Bundle, other_bundle: Bundle
) -> None:
    assert _job(noisy, bundle, bundle).shared
    assert not _job(noisy, bundle, other_bundle).shared
    squarer = bundle.image_spec.model_copy(update={"crop": "pad"})
    assert not _job(noisy, bundle, bundle._replace(image_spec=squarer)).shared


def test_filter_scores_do_not_depend_on_the_captioner(
    noisy: Table, bundle: Bundle, other_bundle: Bundle
) -> None:
    apart, shared = _rows(_job(noisy, bundle, other_bundle)), _rows(_job(noisy, other_bundle, other_bundle))
    for one, two in zip(apart, shared, strict=True):
        assert one["junk_web"] == two["junk_web"]
        for name in ("itm_web", "itc_web"):
            assert one[name] == [
                None if score is None else pytest.approx(score, abs=1e-5) for score in two[name]
            ]
