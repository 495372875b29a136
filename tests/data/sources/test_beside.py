"""Pictures that lie beside the list that names them."""

from pathlib import Path

import pytest

from limner.data.sources.beside import Pictures, split_in
from limner.data.sources.item import ImportOptions
from limner.errors import DataError


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("captions_val2017.json", "val"),
        ("coco_karpathy_train.json", "train"),
        ("t10k-images-idx3-ubyte.gz", "test"),
        ("v2_OpenEnded_mscoco_test-dev2015_questions.json", "test"),
        ("validation.json", "val"),
        ("trainval.json", None),
        ("train_and_test.json", None),
        ("constrained.json", None),
        ("captions.json", None),
    ],
)
def test_splits_in_names(name: str, split: str | None) -> None:
    assert split_in(name) == split


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_two_folders_are_asked_one_after_the_other(tmp_path: Path) -> None:
    write(tmp_path, "train2014/a.jpg", "train2014/b.jpg", "val2014/c.jpg")
    names = [(f"{name}.jpg",) for name in "abcd"]
    pictures = Pictures(tmp_path / "list.json", names, ImportOptions())
    found = [pictures.place(name).relative_to(tmp_path).as_posix() for name in names]
    assert found == ["train2014/a.jpg", "train2014/b.jpg", "val2014/c.jpg", "train2014/d.jpg"]
    assert pictures.line.endswith("1 of 4 looked for are not there")


def test_with_one_folder_no_other_file_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "images/a.jpg")
    pictures = Pictures(tmp_path / "list.json", [("a.jpg",)], ImportOptions())
    monkeypatch.setattr(Path, "is_file", lambda self: pytest.fail("asked"))
    assert pictures.place(("gone.jpg",)) == tmp_path / "images" / "gone.jpg"


def test_a_named_folder_goes_alone(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "other/images/a.jpg")
    pictures = Pictures(tmp_path / "list.json", [("a.jpg",)], ImportOptions(base=tmp_path / "other"))
    assert pictures.place(("a.jpg",)) == tmp_path / "other" / "images" / "a.jpg"


def test_no_picture_anywhere(tmp_path: Path) -> None:
    names = [("a.jpg",), ("\0.jpg",), ("x" * 5000,)]
    with pytest.raises(DataError, match=r"(?s)such as 'a\.jpg'.*wanted: in .*--base FOLDER"):
        Pictures(tmp_path / "list.json", names, ImportOptions())
