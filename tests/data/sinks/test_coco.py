import json

import pytest

from limner.data.sinks import ExportOptions, export_table


@pytest.fixture(scope="module")
def coco(awkward, tmp_path_factory):
    return export_table(awkward, tmp_path_factory.mktemp("coco") / "out", "coco").path


def load(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["captions", "instances"])
def test_ids_are_unique_and_every_annotation_has_a_picture(coco, name):
    """What pycocotools builds its index from."""
    found = load(coco, name)
    images = [image["id"] for image in found["images"]]
    annotations = [annotation["id"] for annotation in found["annotations"]]
    assert len(set(images)) == len(images)
    assert len(set(annotations)) == len(annotations)
    assert 0 not in {*images, *annotations}
    assert {annotation["image_id"] for annotation in found["annotations"]} <= set(images)
    assert all((coco / "images" / image["file_name"]).is_file() for image in found["images"])


def test_captions_are_all_there_with_the_rows_own_columns(coco, awkward):
    found = load(coco, "captions")
    rows = awkward.rows(range(len(awkward)))
    assert [a["caption"] for a in found["annotations"]] == [text for row in rows for text in row["texts"]]
    for image, row in zip(found["images"], rows, strict=True):
        assert (coco / "images" / image["file_name"]).read_bytes() == row["image"]
        assert (image["width"], image["height"]) == (row["width"], row["height"])
        for name in ("key", "texts", "label", "split", "source", "licence", "questions", "boxes"):
            assert image[name] == row[name]
    licences = {licence["id"]: licence["name"] for licence in found["licenses"]}
    assert [licences.get(image.get("license")) for image in found["images"]] == [r["licence"] for r in rows]


def test_boxes_are_left_top_width_height_with_a_category(coco, awkward):
    found = load(coco, "instances")
    names = {category["id"]: category["name"] for category in found["categories"]}
    assert sorted(names) == list(range(1, len(names) + 1))
    boxes = [box for boxes in awkward.column("boxes") for box in boxes]
    for annotation, box in zip(found["annotations"], boxes, strict=True):
        left, top, width, height = annotation["bbox"]
        assert (left, top, left + width, top + height) == pytest.approx(
            tuple(box[side] for side in ("x0", "y0", "x1", "y1"))
        )
        assert annotation["area"] == pytest.approx(width * height)
        assert names[annotation["category_id"]] == box["label"]


def test_questions_and_answers_are_vqa_v2s(coco, awkward):
    questions, answers = load(coco, "questions")["questions"], load(coco, "answers")["annotations"]
    wanted = [question for row in awkward.column("questions") for question in row]
    assert [one["question"] for one in questions] == [one["question"] for one in wanted]
    assert [one["question_id"] for one in questions] == [one["question_id"] for one in answers]
    assert [one["image_id"] for one in questions] == [one["image_id"] for one in answers]
    for answer, one in zip(answers, wanted, strict=True):
        assert [given["answer"] for given in answer["answers"]] == one["answers"]
        assert (answer["multiple_choice_answer"], answer["answer_type"]) == ("no", "yes/no")


def test_files_with_nothing_to_say_are_not_written(awkward, tmp_path):
    where = ExportOptions(where="array_length(boxes) = 0 and array_length(questions) = 0")
    out = export_table(awkward, tmp_path / "out", "coco", where).path
    assert sorted(path.name for path in out.glob("[!.]*")) == ["captions.json", "images"]
    assert not list(out.glob("*.part"))


def test_a_box_without_a_name_has_a_category_all_the_same(make_table, awkward_rows, tmp_path):
    box = {"x0": 0.0, "y0": 0.0, "x1": 2.0, "y1": 2.0, "label": None}
    out = export_table(make_table([awkward_rows[0] | {"boxes": [box]}]), tmp_path / "out", "coco").path
    assert [category["name"] for category in load(out, "instances")["categories"]] == ["object"]
