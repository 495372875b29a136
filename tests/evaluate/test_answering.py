import numpy as np
import pytest
import torch

from limner.checkpoint import Bundle
from limner.evaluate.answering import answer_quality, answering, answers, question_kind
from limner.evaluate.pictures import look

QUESTIONS = [["how many owls are there?", "is there a bus?"], [], ["what colour is the heart?"]]


@torch.inference_mode()
def _slow_answer(bundle: Bundle, image: np.ndarray, question: str) -> str:
    prompt = bundle.tokenizer.encode(question)[:-1]
    ids, memory = list(prompt), look(bundle, [image]).decoder
    while len(ids) < len(prompt) + 8 and ids[-1] != bundle.tokenizer.sep_id:
        ids.append(int(bundle.model.decode(memory, torch.tensor([ids]))[0, -1].argmax()))
    return bundle.tokenizer.decode(ids[len(prompt) :])


@pytest.mark.parametrize("batch_size", [1, 64])
def test_answers_equal_a_slow_greedy_loop(bundle: Bundle, images, batch_size: int) -> None:
    wanted = [
        [_slow_answer(bundle, image, question) for question in asked]
        for image, asked in zip(images, QUESTIONS, strict=False)
    ]
    assert any(text for row in wanted for text in row)
    assert answers(bundle, images[:3], QUESTIONS, batch_size) == wanted


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many owls are there?", "how_many"),
        ("what colour is the bus?", "colour"),
        ("what color is it?", "colour"),
        ("what is above the tree?", "what"),
        ("is there a cat?", "yes_no"),
        ("are there exactly two cats?", "yes_no"),
    ],
)
def test_question_kind(question: str, kind: str) -> None:
    assert question_kind(question) == kind


def test_quality_is_told_overall_and_for_each_kind() -> None:
    found = ["two", "red", "no", "yes"]
    questions = ["how many cats are there?", "what colour is it?", "is it red?", "is there a cat?"]
    accepted = [["two", "2"], ["blue"], ["yes"], ["yes"]]
    assert answer_quality(found, questions, accepted) == {
        "answers": 0.5,
        "answers_colour": 0.0,
        "answers_how_many": 1.0,
        "answers_yes_no": 0.5,
    }


def test_answering_scores_what_it_answers(bundle: Bundle, images) -> None:
    accepted = [[[answer] for answer in row] for row in answers(bundle, images[:3], QUESTIONS)]
    assert answering(bundle, images[:3], QUESTIONS, accepted)["answers"] == 1.0
