"""COCO's JSON files and VQA v2's: joined by id, and everything that does not fit is counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from limner.data.sources.coco import recognise
from limner.data.sources.item import Guess, ImportOptions
from limner.errors import DataError

OPTIONS = ImportOptions()
IMAGES = [
    {"id": 9, "file_name": "000000000009.jpg", "license": 3},
    {"id": 25, "file_name": "000000000025.jpg"},
]
CAPTIONS = {
    "info": {},
    "licenses": [{"id": 3, "name": "CC BY"}],
    "images": IMAGES,
    "annotations": [
        {"id": 1, "image_id": 25, "caption": "a giraffe"},
        {"id": 2, "image_id": 9, "caption": "food"},
        {"id": 3, "image_id": 25, "caption": "two giraffes"},
    ],
}
INSTANCES = {
    "images": IMAGES,
    "categories": [{"id": 18, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 18, "bbox": [1.5, 2, 10, 20], "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 77, "bbox": [0, 0, 5, 5]},
        {"id": 3, "image_id": 9, "category_id": 18, "bbox": [0, 0, 5, 5], "iscrowd": 1},
        {"id": 4, "image_id": 25, "category_id": 18, "bbox": [0, 0, float("nan"), 5]},
        {"id": 5, "image_id": 25, "category_id": 18, "bbox": [0, 0, 5]},
        {"id": 6, "image_id": 25, "category_id": 18, "bbox": [0, 0, 0, 5]},
    ],
}
QUESTIONS = {
    "data_subtype": "val2014",
    "questions": [
        {"image_id": 9, "question": "What is it?", "question_id": 9000},
        {"image_id": 9, "question": "How many?", "question_id": 9001},
        {"image_id": 25, "question": "Where?", "question_id": 25000},
    ],
}
ANSWERS = {
    "annotations": [
        {"question_id": 9000, "image_id": 9, "answers": [{"answer": "food"}, {"answer": "soup"}]},
        {"question_id": 9001, "image_id": 9, "answers": [{"answer": 2}], "multiple_choice_answer": "2"},
    ]
}


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def pictures(folder: Path) -> None:
    touch(folder, "000000000009.jpg", "000000000025.jpg")


def guessed(path: Path, options: ImportOptions = OPTIONS) -> Guess:
    guess = recognise(path, options)
    assert guess is not None
    return guess


@pytest.mark.parametrize("place", ["val2017", "images", "images/val2017", "annotations", "."])
def test_captions_and_boxes_of_a_folder(tmp_path: Path, place: str) -> None:
    write(tmp_path / "annotations" / "captions_val2017.json", CAPTIONS)
    write(tmp_path / "annotations" / "instances_val2017.json", INSTANCES)
    write(tmp_path / "annotations" / "person_keypoints_val2017.json", "not even JSON")
    pictures(tmp_path / place)
    guess = guessed(tmp_path)
    first, second = guess.items()
    assert first.key == "000000000009.jpg"
    assert first.picture == tmp_path / place / "000000000009.jpg"
    assert (first.texts, second.texts) == (("food",), ("a giraffe", "two giraffes"))
    assert first.boxes == ((1.5, 2.0, 11.5, 22.0, "dog"), (0.0, 0.0, 5.0, 5.0, "77"))
    assert second.boxes == ()
    assert (first.split, first.licence, second.licence) == ("val", "CC BY", None)
    assert guess.count == 2
    for line in (
        "2 pictures, 3 captions, 2 boxes",
        "left out: 1 boxes of crowds",
        "left out: 3 boxes without four numbers or an area",
        "not read: person_keypoints_val2017.json",
    ):
        assert line in guess.lines


def test_one_file_is_read_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "annotations" / "captions_train2017.json", CAPTIONS)
    write(tmp_path / "annotations" / "instances_train2017.json", INSTANCES)
    pictures(tmp_path / "train2017")
    items = list(guessed(path).items())
    assert [(item.split, item.boxes) for item in items] == [("train", ())] * 2


def test_splits_may_use_the_same_ids(tmp_path: Path) -> None:
    for split, name in (("train", "a.jpg"), ("valid", "b.jpg")):
        one = {"images": [{"id": 0, "file_name": name}], "categories": [{"id": 1, "name": split}]}
        one["annotations"] = [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [0, 0, 2, 2]}]  # type: ignore[list-item]
        write(tmp_path / split / "_annotations.coco.json", one)
        touch(tmp_path / split, name)
    items = list(guessed(tmp_path).items())
    assert [(item.key, item.split, item.boxes[0][4]) for item in items] == [
        ("a.jpg", "train", "train"),
        ("b.jpg", "val", "valid"),
    ]
    assert [item.picture for item in items] == [tmp_path / "train" / "a.jpg", tmp_path / "valid" / "b.jpg"]


@pytest.mark.parametrize("which", ["questions", "annotations", "folder"])
def test_questions_with_their_answers(tmp_path: Path, which: str) -> None:
    names = {
        "questions": tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json",
        "annotations": tmp_path / "v2_mscoco_val2014_annotations.json",
    }
    write(names["questions"], QUESTIONS)
    write(names["annotations"], ANSWERS)
    write(
        tmp_path / "v2_mscoco_train2014_annotations.json",
        {"annotations": [{"question_id": 9000, "answers": []}]},
    )
    if which == "folder":
        (tmp_path / "v2_mscoco_train2014_annotations.json").unlink()
    touch(tmp_path / "val2014", "COCO_val2014_000000000009.jpg", "COCO_val2014_000000000025.jpg")
    guess = guessed(names.get(which, tmp_path))
    first, second = guess.items()
    assert first.questions == (("What is it?", ("food", "soup")), ("How many?", ("2",)))
    assert second.questions == (("Where?", ()),)
    assert first.picture == tmp_path / "val2014" / "COCO_val2014_000000000009.jpg"
    assert (first.key, first.split) == ("COCO_val2014_000000000009.jpg", "val")
    assert "2 pictures, 3 questions, 2 answered questions" in guess.lines


def test_questions_without_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "v2_OpenEnded_mscoco_test2015_questions.json", QUESTIONS)
    touch(tmp_path / "test2015", "COCO_test2015_000000000009.jpg")
    guess = guessed(path)
    assert "answers: none beside the questions" in guess.lines
    assert [item.split for item in guess.items()] == ["test", "test"]
    write(tmp_path / "alone" / "v2_mscoco_val2014_annotations.json", ANSWERS)
    with pytest.raises(DataError, match="answers without their questions"):
        recognise(tmp_path / "alone" / "v2_mscoco_val2014_annotations.json", OPTIONS)


def test_captions_questions_and_own_columns_join(tmp_path: Path) -> None:
    own = {"key": "mine", "texts": ["own"], "label": "dog", "split": "test", "source": "s", "licence": "CC0"}
    images = [{**IMAGES[0], **own}, IMAGES[1]]
    write(tmp_path / "captions.json", {**CAPTIONS, "images": images})
    write(tmp_path / "questions.json", QUESTIONS)
    write(tmp_path / "answers.json", ANSWERS)
    pictures(tmp_path / "images")
    first, second = guessed(tmp_path).items()
    assert (first.key, first.texts, first.label, first.split) == ("mine", ("own",), "dog", "test")
    assert (first.source, first.licence) == ("s", "CC0")
    assert first.questions[0] == ("What is it?", ("food", "soup"))
    assert second.texts == ("a giraffe", "two giraffes")


def test_names_from_the_address_or_the_id(tmp_path: Path) -> None:
    images = [{"id": 9, "coco_url": "http://images.example.org/val/9.jpg"}, {"id": 25}, {"id": 26}]
    path = write(tmp_path / "captions_val2014.json", {**CAPTIONS, "images": images})
    touch(tmp_path / "val2014", "9.jpg", "COCO_val2014_000000000025.jpg")
    guess = guessed(path)
    assert [item.key for item in guess.items()] == [
        "9.jpg",
        "COCO_val2014_000000000025.jpg",
        "COCO_val2014_000000000026.jpg",
    ]
    assert any("1 of 3 looked for are not there" in line for line in guess.lines)


def test_a_folder_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "captions.json", CAPTIONS)
    pictures(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"(?s)none of the pictures.*000000000009\.jpg.*--base"):
        recognise(path, OPTIONS)
    items = list(guessed(path, ImportOptions(base=tmp_path / "elsewhere")).items())
    assert [item.picture for item in items] == sorted((tmp_path / "elsewhere").iterdir())


def test_annotations_that_fit_no_picture(tmp_path: Path) -> None:
    pictures(tmp_path)
    more = [*CAPTIONS["annotations"], {"image_id": 7, "caption": "x"}, "text", {"caption": "no id"}, None]  # type: ignore[misc]
    path = write(tmp_path / "captions.json", {**CAPTIONS, "annotations": more})
    guess = guessed(path)
    assert "left out: 1 annotations name a picture that is not listed" in guess.lines
    assert "left out: 3 entries that are no objects or have no id" in guess.lines
    path = write(tmp_path / "captions.json", {**CAPTIONS, "annotations": [{"image_id": 7, "caption": "x"}]})
    with pytest.raises(DataError, match="none of 1 annotations names a listed picture"):
        recognise(path, OPTIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(CAPTIONS)[:-40], "is no whole JSON"),
        ("", "is empty"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"images": {"id": 1}, "annotations": []}', "is no list"),
        ('{"images": [], "annotations": {"id": 1}}', "is no list"),
        ('{"images": [{"id": 1, "file_name": "../../none.jpg"}], "annotations": []}', "none of the pictures"),
        ('{"images": [{"id": 1, "file_name": "\\u0000.jpg"}], "annotations": []}', "none of the pictures"),
        ('{"images": [], "annotations": []}', "names no pictures"),
    ],
)
def test_files_that_are_broken(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        recognise(write(tmp_path / "captions.json", text), OPTIONS)


def test_marks_and_other_encodings(tmp_path: Path) -> None:
    pictures(tmp_path)
    text = json.dumps({**CAPTIONS, "annotations": [{"image_id": 9, "caption": "café"}]}, ensure_ascii=False)
    for number, encoding in enumerate(("utf-8-sig", "utf-16", "latin-1")):
        path = tmp_path / f"captions_{number}.json"
        path.write_bytes(text.encode(encoding))
        assert [item.texts for item in guessed(path).items()] == [("café",), ()]


def test_other_files_are_another_kind(tmp_path: Path) -> None:
    for text in (
        "[]",
        "3",
        "null",
        '{"a": 1}',
        '{"images": [1]}',
        '{"annotations": []}',
        '{"a": 1}\n{"a": 2}',
    ):
        assert recognise(write(tmp_path / "captions.json", text), OPTIONS) is None
    karpathy = {"images": [{"filename": "a.jpg", "sentences": []}], "dataset": "coco"}
    assert recognise(write(tmp_path / "dataset_coco.json", karpathy), OPTIONS) is None
    assert recognise(tmp_path / "none", OPTIONS) is None
