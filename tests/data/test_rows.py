"""Rows by index: a table's, and mixtures."""

import io
import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limner.data import intake
from limner.data.rows import Mixture, Sample, TableRows
from limner.data.table import SCHEMA, Table
from limner.data.transforms import to_u8
from limner.errors import DataError, PictureError
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=16)


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def row(
    number: int, texts: list[str | None] | None, questions: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {"key": f"row{number}", "image": png(number), "texts": texts, "questions": questions}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = [
        row(0, ["zero", "nought", "nothing"]),
        row(1, None),
        row(2, []),
        row(3, [None, "", "  "]),
        row(4, ["four", None], [{"question": "how many?", "answers": ["four", "4"]}]),
        row(5, ["five"], [{"question": "none?", "answers": []}]),
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    return Table.write(tmp_path / "pairs.lance", [batch]).path


def same(one: list[Sample], two: list[Sample]) -> bool:
    pixels = all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))
    return pixels and [a._replace(image=0) for a in one] == [b._replace(image=0) for b in two]  # type: ignore[arg-type]


def test_rows_without_a_text_are_skipped_and_counted(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0)
    assert len(rows) == 3
    assert rows.skipped == 3
    assert [s.key for s in rows.samples([0, 1, 2], epoch=0)] == ["row0", "row4", "row5"]


def test_samples_are_whole_and_in_the_order_asked(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0)
    samples = rows.samples([2, 1, 2], epoch=0)
    assert [s.key for s in samples] == ["row5", "row4", "row5"]
    assert [s.image_id for s in samples] == [5, 4, 5]
    assert [s.caption for s in samples] == ["five", "four", "five"]
    assert samples[1].question == "how many?"
    assert samples[1].answer in ("four", "4")
    assert (samples[0].question, samples[0].answer) == ("", "")
    assert np.array_equal(samples[0].image, to_u8(intake.decode(png(5)), SPEC))


def test_texts_are_chosen_by_seed_epoch_and_index_alone(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0, augment="jitter")
    drawn = [rows.samples([0], epoch)[0] for epoch in range(30)]
    again = TableRows(path, SPEC, seed=0, augment="jitter", cache_pixels=False)
    assert {s.caption for s in drawn} == {"zero", "nought", "nothing"}
    assert same(drawn, [again.samples([2, 0], epoch)[1] for epoch in range(30)])
    other = [TableRows(path, SPEC, seed=1).samples([0], epoch)[0].caption for epoch in range(30)]
    assert other != [s.caption for s in drawn]


def test_each_picture_is_decoded_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    true_decode = intake.decode

    def counting(data: bytes, **options: Any) -> Image.Image:
        decoded.append(data)
        return true_decode(data, **options)

    monkeypatch.setattr(intake, "decode", counting)
    rows = TableRows(path, SPEC, seed=0)
    for epoch in range(3):
        rows.samples([0, 1, 1, 2], epoch)
    assert Counter(decoded) == {png(0): 1, png(4): 1, png(5): 1}


def test_the_cache_stops_at_its_cap(path: Path) -> None:
    one_picture = 3 * SPEC.size**2
    capped = TableRows(path, SPEC, seed=0, cache_bytes=2 * one_picture)
    free = TableRows(path, SPEC, seed=0)
    for epoch in range(3):
        assert same(capped.samples([0, 1, 2], epoch), free.samples([0, 1, 2], epoch))
    assert len(capped._cache) == 2


def test_augmentation_does_not_leak_into_the_cache(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0, augment="jitter")
    one, two = rows.samples([1], 0)[0].image, rows.samples([1], 1)[0].image
    assert not np.array_equal(one, two)
    assert np.array_equal(rows._cache[4].image, to_u8(intake.decode(png(4)), SPEC))


def test_rows_travel_to_other_processes_without_pictures(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0)
    before = rows.samples([0, 1, 2], 0)
    packed = pickle.dumps(rows)
    assert len(packed) < 2000
    assert same(pickle.loads(packed).samples([0, 1, 2], 0), before)


def test_another_column_may_hold_the_texts(path: Path) -> None:
    Table.open(path).add_columns(pa.table({"clean": [["c0"], ["c1"], None, [], [""], ["c5"]]}), "clean")
    rows = TableRows(path, SPEC, seed=0, texts_column="clean")
    assert [s.caption for s in rows.samples([0, 1, 2], 0)] == ["c0", "c1", "c5"]


def test_rows_keep_to_the_version_they_opened(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0)
    Table.open(path).add_columns(pa.table({"texts": [["new"]] * 6}), "replaced")
    assert rows.samples([2], 0)[0].caption == "five"
    assert TableRows(path, SPEC, seed=0, version=1).samples([2], 0)[0].caption == "five"
    assert TableRows(path, SPEC, seed=0).samples([5], 0)[0].caption == "new"


def test_a_table_that_says_nothing_is_refused(path: Path) -> None:
    Table.open(path).add_columns(pa.table({"clean": [[""]] * 6}), "clean")
    with pytest.raises(DataError, match="no row of"):
        TableRows(path, SPEC, seed=0, texts_column="clean")
    with pytest.raises(DataError, match="did you mean 'texts'"):
        TableRows(path, SPEC, seed=0, texts_column="text")


def test_a_filter_is_pushed_down_and_kept_small(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0, where="key <> 'row4'")
    assert [s.key for s in rows.samples([0, 1], 0)] == ["row0", "row5"]
    assert [s.image_id for s in rows.samples([0, 1], 0)] == [0, 5]
    assert rows.skipped == 4
    either = TableRows(path, SPEC, seed=0, where="key = 'row0' OR key = 'row1'")
    assert len(either) == 1
    assert either.samples([0], 0)[0].key == "row0"
    with pytest.raises(DataError, match=r"no row of .* has a text in 'texts' where key = 'x'"):
        TableRows(path, SPEC, seed=0, where="key = 'x'")
    with pytest.raises(DataError):
        TableRows(path, SPEC, seed=0, where="colour = 'red'")


def test_rows_without_texts_can_be_read_for_their_labels(path: Path) -> None:
    Table.open(path).add_columns(pa.table({"label": ["a", "b", None, "d", "e", "f"]}), "labels")
    rows = TableRows(path, SPEC, seed=0, texts_column=None, where="label IS NOT NULL")
    assert [(s.key, s.label, s.caption) for s in rows.samples(range(5), 0)] == [
        (f"row{i}", label, "") for i, label in ((0, "a"), (1, "b"), (3, "d"), (4, "e"), (5, "f"))
    ]
    assert TableRows(path, SPEC, seed=0).samples([0], 0)[0].label == "a"


def test_all_captions_are_samples_of_their_own(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0, captions="all")
    assert len(rows) == 5
    samples = rows.samples(range(5), 3)
    assert [(s.key, s.caption) for s in samples] == [
        *[("row0", "zero"), ("row0", "nought"), ("row0", "nothing")],
        *[("row4", "four"), ("row5", "five")],
    ]
    assert [s.image_id for s in samples] == [0, 0, 0, 4, 5]
    some = TableRows(path, SPEC, seed=0, captions="all", where="key <> 'row4'")
    assert [s.caption for s in some.samples([3, 0], 0)] == ["five", "zero"]


def test_the_first_caption_can_be_asked_for(path: Path) -> None:
    rows = TableRows(path, SPEC, seed=0, captions="first")
    assert {rows.samples([0], epoch)[0].caption for epoch in range(20)} == {"zero"}


@pytest.mark.parametrize("captions", ["random", "all", "first"])
def test_lengths_are_those_of_the_captions_to_come(path: Path, captions: Any) -> None:
    rows = TableRows(path, SPEC, seed=0, captions=captions)
    mixture = Mixture([(rows, 2.0), (rows, 1.0)], seed=0, length=40)
    for epoch in range(5):
        for source in (rows, mixture):
            indices = range(len(source))
            told = source.lengths(indices, epoch).tolist()
            assert told == [len(s.caption) for s in source.samples(indices, epoch)]


def test_drawn_rows_cannot_tell_lengths() -> None:
    with pytest.raises(DataError, match="buckets of text lengths over Numbers"):
        Mixture([(Numbers("a", 7), 2.0)], seed=0, length=40).lengths([3], 0)


def test_a_recipe_starts_from_the_whole_picture_which_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    true_decode = intake.decode
    monkeypatch.setattr(intake, "decode", lambda data, **o: decoded.append(data) or true_decode(data, **o))
    rows = TableRows(path, SPEC, seed=0, augment="inception")
    drawn = [rows.samples([1, 2], epoch) for epoch in range(3)]
    assert len(decoded) == 2
    assert rows._cache[4].image.shape == (20, 30, 3)
    assert rows._cached_bytes == 2 * 20 * 30 * 3
    assert all(sample.image.shape == (16, 16, 3) for samples in drawn for sample in samples)
    full = TableRows(path, SPEC, seed=0, augment="inception", cache_bytes=20 * 30 * 3)
    assert all(same(full.samples([1, 2], epoch), drawn[epoch]) for epoch in range(3))
    assert len(full._cache) == 1
    assert same(pickle.loads(pickle.dumps(rows)).samples([1, 2], 2), drawn[2])


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    rows = [row(0, ["zero"]), row(1, ["one"]) | {"key": "it's", "image": png(1)[:40]}]
    path = Table.write(tmp_path / "bad.lance", [pa.RecordBatch.from_pylist(rows, schema=SCHEMA)]).path
    with pytest.raises(DataError, match=r"row \"it's\" of .*bad.lance cannot be used") as caught:
        TableRows(path, SPEC, seed=0).samples([0, 1], 0)
    assert isinstance(caught.value.__cause__, PictureError)
    assert "where = \"key <> 'it''s'\"" in caught.value.hint
    left = TableRows(path, SPEC, seed=0, where="key <> 'it''s'")
    assert [sample.key for sample in left.samples(range(len(left)), 0)] == ["row0"]


class Numbers:
    """Rows that say where they were asked for."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count

    def __len__(self) -> int:
        return self.count

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        return [Sample(f"{self.name}{i}", np.zeros(1), f"{epoch}", image_id=i) for i in indices]


def test_a_mixture_meets_its_weights_at_every_point() -> None:
    mixture = Mixture(
        [(Numbers("a", 50), 3.0), (Numbers("b", 40), 1.0), (Numbers("c", 9), 0.5)], seed=0, length=5000
    )
    parts = [sample.key[0] for sample in mixture.samples(range(5000), 0)]
    for part, share in (("a", 3 / 4.5), ("b", 1 / 4.5), ("c", 0.5 / 4.5)):
        counts = np.cumsum([p == part for p in parts])
        assert np.abs(counts - share * np.arange(1, 5001)).max() < 5


def test_a_mixture_reads_each_part_round_and_round() -> None:
    mixture = Mixture([(Numbers("a", 7), 2.0), (Numbers("b", 1000), 1.0)], seed=3, length=90)
    seen = [s for epoch in range(7) for s in mixture.samples(range(90), epoch)]
    of_a = Counter((s.key, s.caption) for s in seen if s.key[0] == "a")
    assert max(of_a.values()) == 1
    assert max(Counter(k for k, _ in of_a).values()) - min(Counter(k for k, _ in of_a).values()) <= 1
    of_b = [s.key for s in seen if s.key[0] == "b"]
    assert len(set(of_b)) == len(of_b) == pytest.approx(7 * 30, abs=2)


def test_a_mixture_answers_by_index_alone() -> None:
    mixture = Mixture([(Numbers("a", 7), 2.0), (Numbers("b", 5), 1.0)], seed=3, length=500)
    whole = mixture.samples(range(500), 4)
    order = np.random.default_rng(0).permutation(500).tolist()
    assert mixture.samples(order, 4) == [whole[i] for i in order]
    assert len(mixture) == 500


def test_picture_ids_stay_apart_in_nested_mixtures() -> None:
    inner = Mixture([(Numbers("a", 7), 1.0), (Numbers("b", 7), 1.0)], seed=0, length=100)
    outer = Mixture([(inner, 1.0), (Numbers("c", 7), 1.0)], seed=0, length=400)
    ids: dict[int, str] = {}
    for sample in outer.samples(range(400), 0):
        assert ids.setdefault(sample.image_id, sample.key) == sample.key
    assert len(ids) == 21


def test_the_seed_moves_where_a_mixture_starts() -> None:
    first = {Mixture([(Numbers("a", 1000), 1.0)], seed, 10).samples([0], 0)[0].key for seed in range(5)}
    assert len(first) == 5


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [(Numbers("a", 5), 0.0)],
        [(Numbers("a", 0), 1.0)],
        [(Numbers("a", 5), 1.0), (Numbers("b", 5), 1e-5)],
    ],
)
def test_mixtures_that_cannot_be(parts: list[tuple[Numbers, float]]) -> None:
    with pytest.raises(DataError):
        Mixture(parts, seed=0, length=10)
