"""Folders of pictures: what lies beside them, what their folders' names tell."""

import os
from pathlib import Path

import pytest
import upath

from limner.data.sources.guess import ImportOptions, guess_source


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
    assert guess.lines[-1] == "not read: 1 other file"


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


def test_a_record_beside_a_picture_says_more_than_a_text(tmp_path: Path) -> None:
    record = '{"key": "mine", "texts": ["a bee", "a\\nb"], "split": "val", "boxes": [], "licence": "CC0"}'
    fill(tmp_path, a_jpg="", a_txt="a bee\na b\n", a_json=record, b_jpg="", b_txt="a cow", b_json='{"x": 1}')
    first, second = guess_source(tmp_path).items()
    assert (first.key, first.texts, first.split, first.licence) == ("mine", ("a bee", "a\nb"), "val", "CC0")
    assert (second.key, second.texts) == ("b.jpg", ("a cow",))


def test_class_folders_name_the_labels(tmp_path: Path) -> None:
    guess = guess_source(fill(tmp_path, cat__1_jpg="", cat__2_jpg="", dog__1_jpg="", dog__1_txt="a dog"))
    assert guess.kind == "classes"
    assert "labels: the folder's name, 2 classes: 2 cat, 1 dog" in guess.lines
    assert [(item.key, item.label, item.texts) for item in guess.items()] == [
        ("cat/1.jpg", "cat", ()),
        ("cat/2.jpg", "cat", ()),
        ("dog/1.jpg", "dog", ("a dog",)),
    ]


def test_splits_above_class_folders(tmp_path: Path) -> None:
    fill(tmp_path, train__cat__1_jpg="", train__dog__2_jpg="", validation__cat__3_jpg="")
    guess = guess_source(tmp_path)
    assert "splits: the topmost folder's name, 2 train, 1 val" in guess.lines
    assert [(item.split, item.label) for item in guess.items()] == [
        ("train", "cat"),
        ("train", "dog"),
        ("val", "cat"),
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["2019/a.jpg", "2020/b.jpg"],
        ["00000/a.jpg", "00001/b.jpg"],
        ["cat/a.jpg", "b.jpg"],
        ["cat/a.jpg", "cat/b.jpg"],
        ["x/images/a.jpg", "y/images/b.jpg"],
        ["cat/a.jpg", "dog/old/b.jpg"],
    ],
)
def test_folders_that_are_no_classes(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    guess = guess_source(tmp_path)
    assert guess.kind == "folder"
    assert {item.label for item in guess.items()} == {None}


def test_the_kind_decides_where_names_could_mean_either(tmp_path: Path) -> None:
    fill(tmp_path, train__1_jpg="", test__1_jpg="")
    assert [item.split for item in guess_source(tmp_path).items()] == ["test", "train"]
    plain = guess_source(tmp_path, ImportOptions(kind="folder"))
    assert [(item.label, item.split) for item in plain.items()] == [(None, None)] * 2
    (tmp_path / "train" / "1.jpg").rename(tmp_path / "2.jpg")
    classes = guess_source(tmp_path, ImportOptions(kind="classes"))
    assert [item.label for item in classes.items()] == [None, "test"]


def test_a_list_that_lies_beside_is_named(tmp_path: Path) -> None:
    guess = guess_source(fill(tmp_path, images__a_jpg="", captions_csv="image,caption\na.jpg,a bee\n"))
    assert guess.lines[-1].startswith("not read: 1 other file, such as captions.csv: import that file")
    (item,) = guess_source(tmp_path / "captions.csv").items()
    assert item.picture == tmp_path / "images" / "a.jpg"


def test_a_folder_elsewhere() -> None:
    folder = upath.UPath("memory://limner-folder/set")
    for name in ("cat/1.jpg", "dog/2.jpg", "dog/2.txt", ".hidden/3.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a dog")
    found = guess_source(str(folder)).items()
    assert [(item.key, item.label, item.texts) for item in found] == [
        ("cat/1.jpg", "cat", ()),
        ("dog/2.jpg", "dog", ("a dog",)),
    ]
