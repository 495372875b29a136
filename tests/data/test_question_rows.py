"""Each question of a picture is a sample; a loader over them resumes to the sample."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limner.data.loader import Loader
from limner.data.question_rows import QuestionRows
from limner.data.table import SCHEMA, Table
from limner.errors import DataError
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=8)
ASKED = [
    [("what is it?", ["dog", "Dog", "cat"]), ("nobody knows?", []), ("how many?", ["2"])],
    [],
    [("is it red?", ["yes"] * 3)],
]


@pytest.fixture
def path(tmp_path):
    rows = []
    for number, asked in enumerate(ASKED):
        file = io.BytesIO()
        Image.new("RGB", (9, 9), (number * 80, 0, 0)).save(file, "PNG")
        questions = [{"question": q, "answers": a} for q, a in asked]
        rows.append(
            {
                "key": f"k{number}",
                "image": file.getvalue(),
                "questions": questions,
                "split": "ab"[number // 2],
            }
        )
    Table.write(tmp_path / "t.lance", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)
    return tmp_path / "t.lance"


def test_every_answered_question_is_a_sample(path):
    rows = QuestionRows(path, SPEC, 0)
    found = rows.samples(range(len(rows)), 0)
    assert [(s.key, s.question, s.answers) for s in found] == [
        ("k0", "what is it?", ("dog", "Dog", "cat")),
        ("k0", "how many?", ("2",)),
        ("k2", "is it red?", ("yes",) * 3),
    ]
    assert [s.image_id for s in found] == [0, 0, 2]
    assert found[0].image[0, 0].tolist() == [0, 0, 0]
    assert found[2].image[0, 0].tolist() == [160, 0, 0]
    assert [s.key for s in QuestionRows(path, SPEC, 0, where="split = 'b'").samples([0], 0)] == ["k2"]


def test_answers_are_counted(path):
    assert QuestionRows(path, SPEC, 0).answers() == [("yes", 3), ("dog", 2), ("2", 1), ("cat", 1)]
    assert QuestionRows(path, SPEC, 0, where="split = 'b'").answers() == [("yes", 3)]


def test_rows_without_questions_are_refused(path):
    with pytest.raises(DataError, match="has a question with an answer where key = 'k1'"):
        QuestionRows(path, SPEC, 0, where="key = 'k1'")


def test_a_loader_over_questions_resumes_to_the_sample(path):
    def loader():
        return Loader(
            QuestionRows(path, SPEC, 5, augment="jitter"),
            lambda samples: [(s.key, s.question, s.image.copy()) for s in samples],
            1,
            3,
        )

    def take(batches, count):
        return [next(batches) for _ in range(count)]

    whole = take(loader().batches(), 7)
    state = whole[3][1]
    for (one, _), (other, _) in zip(whole[4:], take(loader().batches(state), 3), strict=True):
        assert one[0][:2] == other[0][:2]
        assert np.array_equal(one[0][2], other[0][2])
