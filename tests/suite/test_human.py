"""A study of people: what is asked, what is kept, how it goes on."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limner.data.table import SCHEMA, Table
from limner.errors import ConfigError, DataError
from limner.evaluate.human import DONT_KNOW, NOT_ASKED
from limner.suite.human import HumanSettings, Study, answered, answers_of, named, open_study


def make_table(path: Path, per_class: int = 6, classes: tuple[str, ...] = ("cat", "dog", "owl")) -> Path:
    rows = []
    for number, label in enumerate(classes):
        for copy in range(per_class):
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), (40 * number, 10 * copy, 90)).save(buffer, "PNG")
            rows.append({"key": f"{label}{copy}", "image": buffer.getvalue(), "label": label, "texts": []})
    Table.write(path, iter([pa.RecordBatch.from_pylist(rows, schema=SCHEMA)]))
    return path


@pytest.fixture
def study(tmp_path: Path) -> Study:
    table = make_table(tmp_path / "pets.lance")
    return open_study(tmp_path / "people", HumanSettings(path=str(table), per_class=3))


def test_examples_are_never_asked(study: Study):
    shown = {key for keys in study.shown.values() for key in keys}
    assert len(shown) == 6
    assert not shown & study.asked.keys()
    assert sorted(study.asked.values()) == ["cat"] * 3 + ["dog"] * 3 + ["owl"] * 3
    assert all(key.startswith(label) for key, label in study.asked.items())
    assert {len(keys) for keys in study.examples(1).values()} == {1}
    assert {len(keys) for keys in study.examples(0).values()} == {0}


def test_a_person_sees_every_picture_once_a_part_and_parts_in_order(study: Study):
    seen = []
    while (asked := study.next("ann")) is not None:
        assert asked.done == len(seen)
        seen.append((asked.shots, asked.key))
        study.answer("ann", asked.shots, asked.key, "cat")
    assert [shots for shots, _ in seen] == [0] * 9 + [1] * 9 + [2] * 9
    for shots in (0, 1, 2):
        assert {key for part, key in seen if part == shots} == set(study.asked)
    orders = [study.order("ann", 0), study.order("ann", 1), study.order("bob", 0)]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def test_a_study_goes_on_where_it_was(study: Study):
    first = study.next("ann")
    study.answer("ann", first.shots, first.key, None)
    again = open_study(study.folder)
    assert again == study
    assert again.next(" ann ").key != first.key
    assert open_study(study.folder, HumanSettings(path=study.settings.path, per_class=3)) == study


def test_another_test_in_the_same_folder_is_refused(study: Study):
    with pytest.raises(ConfigError, match="another study"):
        open_study(study.folder, HumanSettings(path=study.settings.path, per_class=2))


def test_no_study_is_told(tmp_path: Path):
    with pytest.raises(DataError, match="limner human TABLE"):
        open_study(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"where": "label = 'cat'"}, "1 classes"), ({"shots": (0, 6)}, "has 6 pictures")],
)
def test_too_little_to_ask_is_told(tmp_path: Path, change: dict, message: str):
    table = make_table(tmp_path / "pets.lance")
    with pytest.raises(DataError, match=message):
        open_study(tmp_path / "people", HumanSettings(path=str(table), **change))


@pytest.mark.parametrize("shots", [(0, 0), (-1,), (10,)])
def test_parts_that_make_no_sense_are_refused(shots: tuple[int, ...]):
    with pytest.raises(ValueError, match="shots"):
        HumanSettings(path="t.lance", shots=shots)


@pytest.mark.parametrize(
    "given",
    [("ann", 0, "cat99", "cat"), ("ann", 7, None, "cat"), ("ann", 0, None, "cow"), ("  ", 0, None, "cat")],
)
def test_answers_to_what_is_not_asked_are_refused(study: Study, given: tuple):
    person, shots, key, said = given
    with pytest.raises(DataError):
        study.answer(person, shots, key or sorted(study.asked)[0], said)
    assert answers_of(study) == []


def test_names_are_trimmed_and_bounded():
    assert named("  Ann   Lee ") == "Ann Lee"
    with pytest.raises(DataError, match="60 characters"):
        named("x" * 61)


def test_pictures_of_other_rows_are_not_given(study: Study):
    assert study.picture(sorted(study.asked)[0])[:4] == b"\x89PNG"
    with pytest.raises(DataError, match="no picture"):
        study.picture("nobody's")
    keys = sorted(study.asked, reverse=True)
    assert study.pictures(keys) == [study.picture(key) for key in keys]
    assert study.pictures([]) == []


def test_answers_become_numbers(study: Study):
    key, label = sorted(study.asked.items())[0]
    study.answer("ann", 0, key, "owl")
    study.answer("ann", 0, key, label)  # thought again
    study.answer("bob", 0, key, None)
    found = answered(study, 0)
    assert found.people == ("ann", "bob")
    assert found.answers[:, 0].tolist() == [study.classes.index(label), DONT_KNOW]
    assert (found.answers[:, 1:] == NOT_ASKED).all()
    assert np.array(study.classes)[found.truth].tolist() == [study.asked[key] for key in found.keys]
