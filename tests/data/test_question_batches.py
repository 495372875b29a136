"""Batches of questions and statements; answers weighted against a slow count."""

import numpy as np
import pytest
import torch

from limner.data.question_batches import AsQuestions, AsStatements, answer_shares
from limner.data.rows import Sample
from limner.data.tokenizers import WordPiece
from limner.train.distributed import in_micro_batches

TOKENIZER = WordPiece.from_texts(["what is it?", "a dog", "a cat", "two red dogs", "yes", "no"], 90)
PIXELS = np.zeros((8, 8, 3), np.uint8)


def sample(key, question, answers, other=None, answer=""):
    return Sample(key, PIXELS, "", question, answer, 0, None, answers, other)


def test_an_answer_weighs_its_share():
    answers = ["Dog", "dog ", "cat", "dog", " "]
    assert answer_shares(answers) == {"dog": 3 / 4, "cat": 1 / 4}
    said = [answer.strip().lower() for answer in answers if answer.strip()]
    assert answer_shares(answers) == {one: sum(o == one for o in said) / len(said) for one in set(said)}
    assert answer_shares(["", " "]) == {}


def test_ragged_answers_are_padded_and_cut_by_rows():
    batch = AsQuestions(TOKENIZER)(
        [
            sample("a", "what is it", ("a dog", "a cat", "a dog", "a dog")),
            sample("b", "what is it?", (), answer="two red dogs"),
            sample("c", "", ("",)),
        ]
    )
    assert batch.weights.tolist() == [[0.75, 0.25], [1, 0], [0, 0]]
    assert batch.answer_ids.shape[:2] == (3, 2)
    real = batch.answer_ids[0, 1][batch.answer_mask[0, 1]].tolist()
    assert real == TOKENIZER.encode("a cat")
    assert not batch.answer_mask[1, 1].any()
    assert batch.ids[0].tolist() == batch.ids[1].tolist()  # the "?" is always there
    (first, share), (rest, _) = in_micro_batches(batch, 2)
    assert share == pytest.approx(2 / 3)
    assert torch.equal(torch.cat([first.answer_ids, rest.answer_ids]), batch.answer_ids)


def test_a_batch_without_any_answer_is_whole():
    batch = AsQuestions(TOKENIZER)([sample("a", "what?", ("",)), sample("b", "what?", ("",))])
    assert batch.weights.tolist() == [[0.0], [0.0]]
    assert batch.answer_ids.shape[:2] == (2, 1)


def test_statements_have_two_pictures_and_a_truth():
    other = np.full((8, 8, 3), 200, np.uint8)
    batch = AsStatements(TOKENIZER)(
        [sample("a", "two dogs", (), other, "true"), sample("b", "a cat", (), other, "false")]
    )
    assert batch.truths.tolist() == [1, 0]
    assert batch.left.shape == batch.right.shape == (2, 3, 8, 8)
    assert int(batch.right.float().mean()) == 200
    assert batch.ids[0][batch.mask[0]].tolist() == TOKENIZER.encode("two dogs")
