from limner.data.sources.item import fields_of


def test_a_record_in_the_tables_own_names_is_taken_whole():
    row = {
        "key": "a",
        "texts": ["one", "two"],
        "label": "cat",
        "split": "train",
        "source": "web",
        "licence": "CC0",
        "questions": [{"question": "what?", "answers": ["cat", "cats"]}],
        "boxes": [{"x0": 1, "y0": 2, "x1": 3.5, "y1": 4, "label": "cat"}],
        "other": 1,
    }
    assert fields_of(row) == {
        "key": "a",
        "texts": ("one", "two"),
        "label": "cat",
        "split": "train",
        "source": "web",
        "licence": "CC0",
        "questions": (("what?", ("cat", "cats")),),
        "boxes": ((1.0, 2.0, 3.5, 4.0, "cat"),),
    }


def test_what_is_missing_or_of_another_type_is_left_out():
    row = {"key": 7, "texts": "one", "label": None, "questions": "?", "boxes": [{"x0": 1}, 3]}
    assert fields_of(row) == {}
    assert fields_of({}) == {}


def test_numbers_that_are_none_and_answers_that_are_no_list():
    box = {"x0": 0, "y0": 0, "x1": 1, "y1": 1, "label": 5}
    boxes = [box | {"x1": side} for side in (10**400, float("nan"), float("inf"), "1", None, 1)]
    questions = [
        {"question": "what?", "answers": answers} for answers in (True, 3, None, ["a", 10**5000, None])
    ]
    assert fields_of({"boxes": boxes, "questions": questions}) == {
        "boxes": ((0.0, 0.0, 1.0, 1.0, ""),),
        "questions": (("what?", ()), ("what?", ()), ("what?", ()), ("what?", ("a",))),
    }


def test_questions_may_stand_beside_their_answers():
    asked = {"questions": ["what?", "how many?"], "answers": ["a dog", ["2", "two"]]}
    assert fields_of(asked)["questions"] == (("what?", ("a dog",)), ("how many?", ("2", "two")))
    assert "questions" not in fields_of({"questions": ["what?"], "answers": ["a", "b"]})
    assert "questions" not in fields_of({"questions": [3], "answers": ["a"]})
    listed = {"vqa": [{"question": "what?", "answer": "x", "answers": ["a", "b"]}]}
    assert fields_of(listed)["questions"] == (("what?", ("a", "b")),)
