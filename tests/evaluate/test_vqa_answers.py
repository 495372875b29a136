"""Answers to the questions of a table, against the models' own methods, one question at a time."""

import io

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from limner.checkpoint import load
from limner.data.question_rows import QuestionRows
from limner.data.table import SCHEMA, Table
from limner.data.tokenizers import clean_question
from limner.data.transforms import normalise
from limner.errors import CheckpointError
from limner.evaluate.answering import answers as answers_of_images
from limner.evaluate.vqa_answers import ANSWER, Candidates, answer_tokens, most_frequent, replies
from limner.models.blip_vqa import vqa_from
from limner.models.generate import generate

ASKED = [["what colour is the heart?", "how many owls are there"], [], ["is there a bus?"]]
ANSWERS = ["red", "three fish", "a bus", "owls"]


@pytest.fixture(scope="module")
def vqa(bundle):
    return bundle._replace(model=vqa_from(bundle.model).eval())


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng, rows = np.random.default_rng(1), []
    for number, questions in enumerate(ASKED):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "PNG")
        asked = [{"question": q, "answers": ANSWERS[: 1 + number]} for q in questions]
        rows.append({"key": f"k{number}", "image": file.getvalue(), "questions": asked})
    path = tmp_path_factory.mktemp("asked") / "t.lance"
    Table.write(path, [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)
    return path


def rows_of(bundle, path):
    return QuestionRows(path, bundle.image_spec, 0)


@torch.no_grad()
def alone(bundle, sample):
    """The memory of one question of one picture."""
    pixels = normalise(torch.tensor(sample.image).permute(2, 0, 1)[None], bundle.image_spec)
    ids = torch.tensor([bundle.tokenizer.encode(clean_question(sample.question))])
    return bundle.model.question_memory(bundle.model.encode_image(pixels), ids)


@torch.no_grad()
def test_answers_are_written_as_generate_does(vqa, path):
    rows = rows_of(vqa, path)
    found = replies(vqa, rows, batch_size=2)
    assert [reply.key for reply in found] == ["k0#0", "k0#1", "k2#0"]
    assert [reply.accepted for reply in found] == [("red",), ("red",), ("red", "three fish", "a bus")]
    prompt = torch.tensor([[vqa.tokenizer.cls_id]])
    for reply, sample in zip(found, rows.samples(range(3), 0), strict=True):
        alone_ids = generate(vqa.model, alone(vqa, sample), prompt, ANSWER)[0].ids
        assert reply.said == vqa.tokenizer.decode(alone_ids)
    assert replies(vqa, rows, pictures=1, batch_size=2) == found[:2]


@torch.no_grad()
def test_candidates_are_ranked_as_the_model_does(vqa, path):
    rows = rows_of(vqa, path)
    found = replies(vqa, rows, candidates=Candidates(tuple(ANSWERS), 2))
    ids, mask = vqa.tokenizer.encode_batch(ANSWERS, 35)
    for reply, sample in zip(found, rows.samples(range(3), 0), strict=True):
        best = vqa.model.rank(alone(vqa, sample), ids, mask, 2).answers[0, 0]
        assert reply.said == ANSWERS[int(best)]


def test_candidates_are_the_most_frequent_answers(vqa, path):
    assert most_frequent(rows_of(vqa, path), 2) == ("red", "a bus")


def test_a_blip_that_goes_on_answers_as_before(path):
    bundle = load("limner_tiny")
    found = replies(bundle, rows_of(bundle, path))
    samples = rows_of(bundle, path).samples(range(3), 0)
    expected = answers_of_images(bundle, [s.image for s in samples], [[s.question] for s in samples])
    assert [reply.said for reply in found] == [one for row in expected for one in row]
    with pytest.raises(CheckpointError, match="writes answers and ranks none"):
        replies(bundle, rows_of(bundle, path), candidates=Candidates(("red",)))


def test_a_model_that_was_never_asked_is_refused(bundle, path):
    with pytest.raises(CheckpointError, match="not trained to answer questions"):
        replies(bundle, rows_of(bundle, path))


@torch.no_grad()
def test_several_questions_may_share_a_picture(vqa):
    tokens = vqa.model.encode_image(torch.randn(2, 3, 16, 16))
    texts = ["an owl", "a bus", "an owl"]
    both = answer_tokens(vqa, tokens, texts, [0, 1, 1])
    assert both[0] == answer_tokens(vqa, tokens[:1], texts[:1], [0])[0]
    assert both[2] == answer_tokens(vqa, tokens[1:], texts[:1], [0])[0]
