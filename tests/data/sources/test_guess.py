"""What a source is taken for: folders, columns, overrides."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limner.data.sources.guess import ImportOptions, guess_source
from limner.errors import DataError


def fill(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_a_folder_is_read_in_order_with_its_captions(tmp_path: Path) -> None:
    fill(tmp_path, b_jpg="", b_txt="a bee\n\nan insect\n", a_png="", a_json='{"caption": "an ape"}')
    fill(tmp_path, sub__c_webp="", sub__c_webp_txt="a cow", d_JPG="", notes_md="")
    fill(tmp_path, e_gif="", e_json='["one", "two"]', f_jpg="", f_json="broken {")
    (tmp_path / ".hidden.jpg").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.jpg").touch()
    guess = guess_source(tmp_path)
    assert [(item.key, item.texts) for item in guess.items()] == [
        ("a.png", ("an ape",)),
        ("b.jpg", ("a bee", "an insect")),
        ("d.JPG", ()),
        ("e.gif", ("one", "two")),
        ("f.jpg", ("",)),
        ("sub/c.webp", ("a cow",)),
    ]
    assert guess.count == 6
    assert len(guess.examples) == 3
    assert "folder of 6 pictures" in guess.lines[0]
    assert "captions: 5 in .txt or .json" in guess.lines[1]
    assert guess.lines[-1] == "not read: 1 other files"


def test_a_folder_of_pictures_alone(tmp_path: Path) -> None:
    guess = guess_source(fill(tmp_path, a_jpg="", b_jpg=""))
    assert guess.lines[1] == "captions: none"


@pytest.mark.skipif(os.name != "posix", reason="bytes in file names are a POSIX matter")
def test_file_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    (item,) = guess_source(tmp_path).items()
    assert item.key.encode() == b"caf\\udce9.jpg"
    assert isinstance(item.picture, Path)
    assert item.picture.exists()


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
    path = tmp_path / "pairs.csv"
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    guess = guess_source(path)
    assert f"pictures: column {picture!r}, paths from {tmp_path}" in guess.lines
    assert f"captions: column {caption!r}" in guess.lines
    (item,) = guess.items()
    assert item.picture == tmp_path / "a.jpg"
    assert item.key == "a.jpg"
    assert item.texts == ("a small dog",)


def test_without_header_the_values_decide(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("7\ta dog on grass\timg/a.jpg\n8\ta cat in a box\timg/b.jpg\n", encoding="utf-8")
    items = list(guess_source(path).items())
    assert [(item.key, item.texts) for item in items] == [
        ("img/a.jpg", ("a dog on grass",)),
        ("img/b.jpg", ("a cat in a box",)),
    ]


def test_options_override_the_guess(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption,where,what,key\nx,y,a.jpg,a dog,7\n", encoding="utf-8")
    options = ImportOptions(
        picture_column="where", caption_column="what", key_column="key", base=tmp_path / "pics"
    )
    (item,) = guess_source(path, options).items()
    assert item[:4] == ("7", "pairs.csv line 2", tmp_path / "pics" / "a.jpg", ("a dog",))


def test_rows_of_one_path_become_one_picture_with_several_texts(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\na.jpg,one\nb.jpg,two\na.jpg,three\n", encoding="utf-8")
    guess = guess_source(path)
    assert [(item.key, item.texts) for item in guess.items()] == [
        ("a.jpg", ("one", "three")),
        ("b.jpg", ("two",)),
    ]
    assert guess.count is None


def test_keys_that_stand_twice_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"id": n, "image": f"{i}.jpg"} for i, n in enumerate([1, 2, 1, 3, 3, 3])]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=r"2 keys in column 'id' .* 1 \(2 times\), 3 \(3 times\)"):
        list(guess_source(path).items())


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
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\na.jpg,one\nb.jpg\n,three\nc\\d.jpg,four\n", encoding="utf-8")
    items = list(guess_source(path).items())
    assert [item.picture and item.picture.name for item in items] == ["a.jpg", None, None, "d.jpg"]  # type: ignore[union-attr]
    assert items[1].origin == "pairs.csv line 3"
    assert items[3].key == "c/d.jpg"


def test_web_addresses_are_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\nhttps://example.org/a.jpg,one\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds web addresses"):
        guess_source(path)


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "table" / "_versions").mkdir(parents=True)
    (tmp_path / "pairs.docx").write_text("x", encoding="utf-8")
    (tmp_path / "pairs.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for name, message in {
        "empty": "no pictures among the 0 files",
        "table": "cannot be opened",
        "none": "does not exist",
        "pairs.docx": "of no kind that can be imported",
        "pairs.csv": "no column of .* seems to hold pictures",
    }.items():
        with pytest.raises(DataError, match=message):
            guess_source(tmp_path / name)
    with pytest.raises(DataError, match="has no column 'c'"):
        guess_source(tmp_path / "pairs.csv", ImportOptions(picture_column="c"))


def test_a_kind_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("image,caption\na.jpg,a dog\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not WebDataset tars"):
        guess_source(tmp_path / "pairs.csv", ImportOptions(kind="webdataset"))
    with pytest.raises(DataError, match="no source is of kind 'tar'"):
        guess_source(tmp_path / "pairs.csv", ImportOptions(kind="tar"))
    assert guess_source(tmp_path / "pairs.csv", ImportOptions(kind="rows")).kind == "rows"


def test_other_kinds_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "list.json").write_text('[{"image": "a.jpg", "caption": "a dog"}]', encoding="utf-8")
    (tmp_path / "x.token").write_text("a.jpg#0\ta dog\n", encoding="utf-8")
    images = [{"id": 1, "file_name": "a.jpg", "filename": "a.jpg"}]
    karpathy = [{"filename": "a.jpg", "sentences": [{"raw": "a dog"}]}]
    for name, listed in (("captions.json", images), ("dataset.json", karpathy)):
        (tmp_path / name).write_text(json.dumps({"images": listed, "annotations": []}), encoding="utf-8")
    kinds = {"list.json": "blip", "x.token": "flickr8k", "captions.json": "coco", "dataset.json": "karpathy"}
    assert {name: guess_source(tmp_path / name).kind for name in kinds} == kinds
