"""Which column is taken for what."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limner.data.sources.columns import choose_columns
from limner.data.sources.guess import ImportOptions, guess_source
from limner.data.sources.rowfiles import head, open_rowfile
from limner.errors import DataError


@pytest.mark.parametrize(
    ("header", "picture", "caption"),
    [
        ("filepath,title", "filepath", "title"),
        ("Image,Caption", "Image", "Caption"),
        ("caption,extra,file_name", "file_name", "caption"),
        ("n,photo,text", "photo", "text"),
        ("foo,bar", "foo", "bar"),
    ],
)
def test_columns_are_found_by_name_or_by_what_they_hold(
    tmp_path: Path, header: str, picture: str, caption: str
) -> None:
    values = {picture: "a.jpg", caption: "a small dog"}
    row = ",".join(values.get(name, "7") for name in header.split(","))
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "pairs.csv"
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    guess = guess_source(path)
    assert f"pictures: column {picture!r}, paths" in guess.lines
    assert f"pictures: in {tmp_path}" in guess.lines
    assert f"captions: column {caption!r}" in guess.lines
    (item,) = guess.items()
    assert item.picture == tmp_path / "a.jpg"
    assert item.key == "a.jpg"
    assert item.texts == ("a small dog",)


def test_without_header_the_values_decide(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.jpg").touch()
    path = tmp_path / "pairs.tsv"
    path.write_text("7\ta dog on grass\timg/a.jpg\n8\ta cat in a box\timg/b.jpg\n", encoding="utf-8")
    items = list(guess_source(path).items())
    assert [(item.key, item.texts) for item in items] == [
        ("img/a.jpg", ("a dog on grass",)),
        ("img/b.jpg", ("a cat in a box",)),
    ]


def test_options_override_the_guess(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.jpg").touch()
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption,where,what,key,kind,part\nx,y,a.jpg,a dog,7,pet,dev\n", encoding="utf-8")
    options = ImportOptions(
        picture_column="where",
        caption_column="what",
        key_column="key",
        label_column="kind",
        split_column="part",
        base=tmp_path / "pics",
    )
    (item,) = guess_source(path, options).items()
    assert (item.label, item.split) == ("pet", "dev")
    assert item[:4] == ("7", "pairs.csv line 2", tmp_path / "pics" / "a.jpg", ("a dog",))


def chosen(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    pq.write_table(pa.Table.from_pylist(rows), path)
    file = open_rowfile(path)
    return vars(choose_columns(file, head(file, 20), ImportOptions()))


def test_encoded_pictures_come_before_paths(tmp_path: Path) -> None:
    rows = [
        {"file_name": f"{i}.jpg", "image": b"x", "captions": ["a", "b"], "split": "val"} for i in range(3)
    ]
    found = chosen(tmp_path / "t.parquet", rows)
    assert (found["picture"], found["embedded"], found["key"]) == ("image", True, "file_name")
    assert (found["caption"], found["split"]) == ("captions", "split")
    repeated = chosen(tmp_path / "r.parquet", [row | {"file_name": "same.jpg"} for row in rows])
    assert repeated["key"] is None


def test_a_usual_name_is_believed_only_where_its_values_fit(tmp_path: Path) -> None:
    rows = [{"image": 7, "file": "x", "where": "a.jpg", "text": "a dog"}]
    assert chosen(tmp_path / "t.parquet", rows)["picture"] == "where"
    assert chosen(tmp_path / "u.parquet", [{"image": "000007", "n": 1}])["picture"] == "image"


def test_label_split_licence_and_questions_are_found(tmp_path: Path) -> None:
    row = {
        "image": b"x",
        "Label": "cat",
        "subset": "dev",
        "license": "CC0",
        "question": "how many?",
        "answer": "2",
    }
    found = chosen(tmp_path / "t.parquet", [row])
    assert [found[name] for name in ("label", "split", "licence", "question", "answer", "caption")] == [
        *("Label", "subset", "license", "question", "answer"),
        None,
    ]


def test_the_tables_own_lists_of_texts_are_its_captions(tmp_path: Path) -> None:
    rows = [{"image": b"x", "caption": "a dog", "texts": ["a dog", "my dog"], "boxes": []}]
    found = chosen(tmp_path / "t.parquet", rows)
    assert (found["caption"], found["own"]) == ("texts", ("texts", "boxes"))


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"image": "a.jpg"}), encoding="utf-8")
    for what in ("picture", "caption", "key", "label", "split"):
        with pytest.raises(DataError, match="has no column 'c'") as caught:
            guess_source(path, ImportOptions.model_validate({f"{what}_column": "c"}))
        assert f"--{what}-column" in str(caught.value)


def test_web_addresses_are_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\nhttps://example.org/a.jpg,one\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds web addresses"):
        guess_source(path)


def test_file_names_that_repeat_further_down_are_no_keys(tmp_path: Path):
    picture = b"\x89PNG\r\n\x1a\n" + bytes(60)
    names = [f"{number}.jpg" for number in range(200)]
    table = {"image": [picture] * 400, "file_name": names * 2}
    pq.write_table(pa.table(table), tmp_path / "twice.parquet")
    pq.write_table(pa.table({"image": [picture] * 200, "file_name": names}), tmp_path / "once.parquet")
    for name, key in (("twice", None), ("once", "file_name")):
        file = open_rowfile(tmp_path / f"{name}.parquet")
        assert choose_columns(file, head(file, 20), ImportOptions()).key == key
