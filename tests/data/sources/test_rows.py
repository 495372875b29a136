"""Rows of files as items."""

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import upath
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.sources.guess import ImportOptions, guess_source
from limner.errors import DataError


def test_rows_of_one_path_become_one_picture_with_several_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\na.jpg,one\nb.jpg,two\na.jpg,three\n", encoding="utf-8")
    guess = guess_source(path)
    assert [(item.key, item.texts) for item in guess.items()] == [
        ("a.jpg", ("one", "three")),
        ("b.jpg", ("two",)),
    ]
    assert guess.count is None


def test_keys_that_stand_twice_are_listed(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").touch()
    path = tmp_path / "pairs.jsonl"
    rows = [{"id": n, "image": f"{i}.jpg"} for i, n in enumerate([1, 2, 1, 3, 3, 3])]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=r"2 keys in column 'id' .* 1 \(2 times\), 3 \(3 times\)"):
        list(guess_source(path, ImportOptions(key_column="id")).items())


def test_a_column_called_id_whose_values_repeat_is_no_key(tmp_path: Path) -> None:
    """As in CIFAR-10's common Parquet, where ids count within a class."""
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"id": [0, 0, 1], "jpeg": [b"x", b"y", b"z"], "label": ["a", "b", "a"]}), path)
    assert [item.key for item in guess_source(path).items()] == [f"train-{i:08d}" for i in range(3)]
    pq.write_table(pa.table({"id": [0, 2, 1], "jpeg": [b"x", b"y", b"z"]}), path)
    assert [item.key for item in guess_source(path).items()] == ["0", "2", "1"]


def test_parquet_with_bytes_plain_or_as_datasets_writes_them(tmp_path: Path) -> None:
    plain, nested = tmp_path / "plain.parquet", tmp_path / "nested.parquet"
    pq.write_table(pa.table({"jpg": [b"x", b"y"], "text": ["a", "b"]}), plain)
    struct = [{"bytes": b"x", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}]
    pq.write_table(pa.table({"image": struct, "caption": [["a", "b"], None]}), nested)
    assert [item[:4] for item in guess_source(plain).items()] == [
        ("plain-00000000", "plain.parquet row 1", b"x", ("a",)),
        ("plain-00000001", "plain.parquet row 2", b"y", ("b",)),
    ]
    assert [(item.picture, item.texts) for item in guess_source(nested).items()] == [
        (b"x", ("a", "b")),
        (tmp_path / "b.jpg", (None,)),
    ]
    assert guess_source(plain).count == 2


def test_broken_rows_keep_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\na.jpg,one\nb.jpg\n,three\nc\\d.jpg,four\n", encoding="utf-8")
    items = list(guess_source(path).items())
    assert [item.picture and item.picture.name for item in items] == ["a.jpg", None, None, "d.jpg"]  # type: ignore[union-attr]
    assert items[1].origin == "pairs.csv line 3"
    assert items[3].key == "c/d.jpg"


def test_pictures_are_looked_for_around_the_file(tmp_path: Path) -> None:
    for place in ("images/b.jpg", "images/a.jpg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\nC:\\pics\\a.jpg,one\n/mnt/old/b.jpg,two\nc.jpg,three\n", encoding="utf-8")
    guess = guess_source(path)
    assert f"pictures: in {tmp_path / 'images'}; 1 of 3 looked for are not there" in guess.lines
    assert [item.picture for item in guess.items()][:2] == [
        tmp_path / "images" / n for n in ("a.jpg", "b.jpg")
    ]


def test_pictures_that_are_nowhere_stop_the_import_before_it_works(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\nx/a.jpg,one\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"none of the pictures .* such as 'x/a\.jpg'") as caught:
        guess_source(path)
    assert "--base FOLDER" in str(caught.value)
    (tmp_path / "far" / "x").mkdir(parents=True)
    (tmp_path / "far" / "x" / "a.jpg").touch()
    (item,) = guess_source(path, ImportOptions(base=tmp_path / "far")).items()
    assert item.picture == tmp_path / "far" / "x" / "a.jpg"


def test_shards_are_one_source_and_their_names_tell_the_splits(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        table = pa.table({"image": [name.encode()], "text": [name]})
        pq.write_table(table, tmp_path / "data" / f"{name}.parquet")
    guess = guess_source(tmp_path)
    assert guess.count == 3
    assert [(item.key, item.split) for item in guess.items()] == [
        ("train-00000-of-00002-00000000", "train"),
        ("train-00001-of-00002-00000000", "train"),
        ("validation-00000-of-00001-00000000", "val"),
    ]
    assert [item.key for item in guess_source(str(tmp_path / "data" / "train-{00000..00001}*")).items()] == [
        item.key for item in guess.items()
    ][:2]


def test_shards_with_other_columns_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"x"], "text": ["a"]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "1.parquet")
    with pytest.raises(DataError, match=r"1\.parquet has no column 'text'"):
        guess_source(tmp_path)


def test_numbers_become_the_classes_that_datasets_names(tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())], {"huggingface": json.dumps(features)})
    rows = [{"image": b"x", "label": label} for label in (1, 0, -1, None, 7)]
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "t.parquet")
    labels = [item.label for item in guess_source(tmp_path / "t.parquet").items()]
    assert labels == ["dog", "cat", None, None, "7"]


def test_questions_of_one_picture_are_joined(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "vqa.csv"
    path.write_text("image,question,answer\na.jpg,how many?,2\na.jpg,is it red?,no\n", encoding="utf-8")
    (item,) = guess_source(path).items()
    assert item.questions == (("how many?", ("2",)), ("is it red?", ("no",)))
    assert item.texts == ()


def test_rows_elsewhere() -> None:
    folder = upath.UPath("memory://limner-rows")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.jpg").write_bytes(b"x")
    (folder / "pairs.csv").write_text("image,caption\na.jpg,a dog\n")
    (item,) = guess_source("memory://limner-rows/pairs.csv").items()
    assert item.picture == folder / "a.jpg"
    assert item.texts == ("a dog",)


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@settings(max_examples=25, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=5))
def test_any_caption_comes_through_every_kind_of_file(texts: list[str]) -> None:
    """By a real writer of each format; none of them is turned into another text."""
    rows = [{"image": f"{i}.png", "caption": text} for i, text in enumerate(texts)]
    with TemporaryDirectory() as place:
        home = Path(place)
        (home / "0.png").touch()
        for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
            with (home / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, delimiter=separator)
                writer.writerows([["image", "caption"], *([row["image"], row["caption"]] for row in rows)])
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (home / "a.jsonl").write_text(lines, encoding="utf-8")
        pq.write_table(pa.Table.from_pylist(rows), home / "a.parquet")
        for name in ("a.csv", "a.tsv", "a.jsonl", "a.parquet"):
            found = [(item.key, item.texts) for item in guess_source(home / name).items()]
            assert found == [(row["image"], (row["caption"],)) for row in rows], name
