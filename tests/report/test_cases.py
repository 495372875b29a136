import base64
import io

import pyarrow as pa
import pytest
from PIL import Image

from limner.data.table import Table
from limner.errors import DataError
from limner.report import cases


def keys(table: Table) -> dict[str, list[str]]:
    return {group.name: [case.key for case in group.cases] for group in cases.groups(table)}


def test_every_row_is_sorted_by_what_it_teaches(table):
    found = keys(table)
    assert set(found["repaired"]) == {f"row-{i}" for i in range(10, 20)} | {"row-23"}
    assert found["false-drop"] == ["row-20"]
    assert found["missed"] == ["row-21"]
    assert found["wrong-caption"] == ["row-21"]
    assert found["emptied"] == ["row-22"]
    assert found["kept"] == ["row-0", "row-1", "row-2", "row-3"]


def test_what_went_right_comes_first_and_mistakes_next(table):
    assert [group.name for group in cases.groups(table)][:3] == ["repaired", "false-drop", "missed"]


def test_totals_count_rows_that_are_not_shown(table):
    kept = next(group for group in cases.groups(table) if group.name == "kept")
    assert (len(kept.cases), kept.total) == (4, 10)


def test_a_case_tells_scores_reasons_and_truth(table):
    missed = next(group for group in cases.groups(table) if group.name == "missed").cases[0]
    (line,) = missed.web
    assert (line.kept, line.reason, line.truth) == (True, "", "swapped")
    assert line.score == pytest.approx(0.8)
    emptied = next(group for group in cases.groups(table) if group.name == "emptied").cases[0]
    assert [(text.kept, text.reason) for text in emptied.web + emptied.synthetic] == [
        (False, "unmatched")
    ] * 2


def test_without_truth_rows_are_sorted_by_decision(table, tmp_path):
    names = [name for name in table.column_names if not name.startswith("truth")]
    batch = pa.RecordBatch.from_pylist(
        table.rows(range(24), names), schema=pa.schema([table.schema.field(n) for n in names])
    )
    plain = Table.write(tmp_path / "plain.lance", [batch], batch.schema)
    found = keys(plain)
    assert list(found) == ["replaced", "dropped", "close"]
    assert found["dropped"] == ["row-22"]
    assert found["close"][0] == "row-21"
    kinds, scores, wrong = cases.web_scores(cases.read_rows(plain))
    assert {name: len(values) for name, values in kinds.items()} == {"kept": 11, "dropped": 12}
    assert (len(scores), wrong) == (23, [])


@pytest.mark.parametrize(
    "said",
    [["Paris"] * 24, [["clean", "clean"]] * 24, [[]] * 24, list(range(24))],
    ids=["words", "too many", "none", "numbers"],
)
def test_a_column_truth_that_says_something_else_is_none(table, said):
    other = table.add_columns(pa.table({"truth": said}), "something else")
    assert list(keys(other)) == ["replaced", "dropped", "close"]
    assert cases.web_scores(cases.read_rows(other))[2] == []


def test_one_word_a_row_is_a_truth(table):
    words = [row[0] for row in table.column("truth")]
    before = cases.groups(table)
    assert cases.groups(table.add_columns(pa.table({"truth": words}), "a word a row")) == before


def test_with_the_truth_of_web_texts_alone_replaced_rows_are_shown(table):
    unknown = pa.array([None] * 24, pa.list_(pa.string()))
    found = keys(table.add_columns(pa.table({"truth_synthetic": unknown}), "nobody looked"))
    assert list(found) == ["replaced", "false-drop", "missed", "emptied", "kept"]
    assert len(found["replaced"]) == 12


def test_a_text_that_is_null_is_empty(table):
    texts = [[None], *table.column("texts")[1:]]
    other = table.add_columns(pa.table({"texts": texts}), "nothing said")
    assert cases.read_rows(other)[0].web[0].text == ""


def test_charts_count_scored_texts_by_truth(table):
    kinds, scores, wrong = cases.web_scores(cases.read_rows(table))
    assert {name: len(values) for name, values in kinds.items()} == {"clean": 11, "swapped": 12}
    assert len(scores) == len(wrong) == 23
    assert sum(wrong) == 12


def test_a_table_that_was_never_cleaned_is_refused(tmp_path):
    batch = pa.RecordBatch.from_pylist([{"key": "a"}], schema=pa.schema({"key": pa.string()}))
    table = Table.write(tmp_path / "t.lance", [batch], batch.schema)
    with pytest.raises(DataError, match=r"(?s)has no column decision.*limner capfilt"):
        cases.groups(table)


def test_thumbnails_are_small_pictures():
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 1000), "red").save(buffer, "JPEG")
    kind, _, data = cases.thumbnail(buffer.getvalue()).partition(",")
    assert kind == "data:image/webp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (224, 112)


def test_a_broken_picture_has_no_thumbnail():
    assert cases.thumbnail(b"not a picture") == ""
