"""The task `vqa`: measures, samples and notes against the answers themselves."""

import io

import pyarrow as pa
import pytest
from PIL import Image

from limner.checkpoint import load
from limner.data.table import SCHEMA, Table
from limner.errors import DataError
from limner.evaluate.vqa import vqa_accuracy
from limner.suite.selection import Selection
from limner.suite.vqa import VQASettings, measure

TEN = [["yes"] * 7 + ["no"] * 3, ["2"] * 10, ["red"] * 2 + ["blue"] * 8]
QUESTIONS = ["is this red?", "how many objects are there?", "what colour is the background?"]


def make(path, answers):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    asked = [{"question": q, "answers": a} for q, a in zip(QUESTIONS, answers, strict=True)]
    row = {"key": "a", "image": file.getvalue(), "questions": asked}
    Table.write(path, [pa.RecordBatch.from_pylist([row], SCHEMA)], SCHEMA)
    return Selection(path=str(path))


@pytest.fixture(scope="module")
def bundle():
    return load("limner_tiny")


def test_ten_answers_are_scored_officially(bundle, tmp_path):
    seen = []
    outcome = measure(bundle, make(tmp_path / "t.lance", TEN), VQASettings(), lambda *n: seen.append(n))
    assert seen == [(3, 3)]
    assert next(iter(outcome.measures)) == "vqa_accuracy"
    assert outcome.details["types"] == {"number": 1, "other": 1, "yes/no": 1}
    for sample, answers in zip(outcome.samples, TEN, strict=True):
        assert sample["accepted"] == answers
        assert sample["score"] == pytest.approx(vqa_accuracy(sample["said"], answers))
    mean = sum(sample["score"] for sample in outcome.samples) / 3
    assert outcome.measures["vqa_accuracy"].value == pytest.approx(mean)
    assert outcome.measures["vqa_accuracy_number"].value == outcome.samples[1]["score"]
    assert [sample["key"] for sample in outcome.samples] == ["a#0", "a#1", "a#2"]
    assert outcome.details["most_frequent_answer"] == "2"
    assert outcome.measures["most_frequent_answer"].value == pytest.approx(1 / 3)
    assert any("test-dev" in note for note in outcome.notes)


def test_one_answer_is_scored_exactly_or_as_a_set(bundle, tmp_path):
    selection = make(tmp_path / "t.lance", [["yes"], ["2"], ["blue, red"]])
    outcome = measure(bundle, selection, VQASettings(), None)
    assert next(iter(outcome.measures)) == "accuracy"
    assert any("not the official" in note for note in outcome.notes)
    sets = measure(bundle, selection, VQASettings(score="sets"), None)
    assert next(iter(sets.measures)) == "set_accuracy"
    with pytest.raises(DataError, match="for the official VQA accuracy"):
        measure(bundle, selection, VQASettings(score="official"), None)


def test_a_wordnet_needs_sets(bundle, tmp_path):
    selection = make(tmp_path / "t.lance", [["yes"], ["2"], ["red"]])
    with pytest.raises(DataError, match=r"no index\.noun"):
        measure(bundle, selection, VQASettings(score="sets", wordnet=str(tmp_path)), None)
    (tmp_path / "index.noun").write_text("red n 1 1 @ 1 0 00000001\n")
    (tmp_path / "data.noun").write_text("00000001 00 n 01 red 0 000 | gloss\n")
    with pytest.raises(DataError, match="a WordNet for the score 'exact'"):
        measure(bundle, selection, VQASettings(wordnet=str(tmp_path)), None)
    outcome = measure(bundle, selection, VQASettings(score="sets", wordnet=str(tmp_path)), None)
    wups = outcome.measures["wups_0.9"].value
    assert outcome.measures["set_accuracy"].value <= wups <= outcome.measures["wups_0.0"].value
