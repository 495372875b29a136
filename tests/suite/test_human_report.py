"""A study's scores, with models beside people."""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from limner.evaluate.human import human_scores
from limner.suite.human import HumanSettings, Study, answered, open_study
from limner.suite.human_report import human_report, model_answers

make_table = runpy.run_path(str(Path(__file__).with_name("test_human.py")))["make_table"]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    table = make_table(tmp_path / "pets.lance")
    return open_study(tmp_path / "people", HumanSettings(path=str(table), per_class=3, shots=(0, 1)))


def take(study: Study, person: str, knows: set[str]) -> None:
    """Answer everything: rightly for the classes a person knows, else "I don't know"."""
    while (asked := study.next(person)) is not None:
        label = study.asked[asked.key]
        study.answer(person, asked.shots, asked.key, label if label in knows else None)


class Fixed:
    """A model that calls everything a cat, of whatever classes it is given."""

    labels, batch_size = (), 4

    def classify(self, pictures, labels, templates, top):
        assert len(pictures) <= 4
        return [[type("One", (), {"label": labels[0]})] for _ in pictures]


def test_a_report_holds_every_part_and_person(study: Study):
    take(study, "ann", {"cat", "dog"})
    take(study, "bob", {"cat"})
    found = human_report(study, [("cats", model_answers(study, Fixed()))])
    part = found.parts[0]
    assert [p.shots for p in found.parts] == [0, 1]
    assert (part.people, part.answers) == (2, 18)
    scored = answered(study, 0)
    assert part.scores == human_scores(scored.answers, scored.truth)
    assert part.each == pytest.approx({"ann": 2 / 3, "bob": 1 / 3})
    assert found.class_scores[0] == [1.0, 0.5, 0.0]
    assert part.scores.guess_accuracy == 1.0


def test_a_model_is_compared_class_by_class(study: Study):
    take(study, "ann", {"cat", "dog"})
    model = human_report(study, [("cats", model_answers(study, Fixed()))]).models[0]
    assert model.accuracy == pytest.approx(1 / 3)
    assert model.classes == [1.0, 0.0, 0.0]
    assert model.difficulty.value == pytest.approx(0.5)
    assert model.consistency == pytest.approx(0.4)  # agree on 6 of 9; by chance 2/3·1/3 + 1/3·2/3


def test_the_hardest_pictures_say_what_was_said_instead(study: Study):
    take(study, "ann", {"cat", "dog"})
    hardest = human_report(study).hardest
    assert {one["class"] for one in hardest} == {"owl"}
    assert hardest[0]["said"] == ["I don't know"]
    assert len(hardest) == 3


def test_a_study_without_answers_has_no_parts(study: Study):
    found = human_report(study, [("cats", np.zeros(9, int))])
    assert (found.parts, found.models, found.hardest) == ([], [], [])
    assert found.values()["classes"] == ["cat", "dog", "owl"]


def test_one_person_alone_is_consistent_with_nobody(study: Study):
    take(study, "ann", {"cat"})
    assert math.isnan(human_report(study).parts[0].consistency)
