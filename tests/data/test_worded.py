import numpy as np
import pytest

from limner.data.rows import Sample
from limner.data.tokenizers import WordPiece
from limner.data.worded import FUNCTION_WORDS, NONE, AsTagged, AsWorded, concept_words, concepts_in
from limner.errors import DataError

TEXTS = ["a dog runs to the ball", "the dog and a cat", "a dog", "dogs"]
WORDS = WordPiece.from_texts(TEXTS, 300)


def sample(text: str) -> Sample:
    return Sample("k", np.zeros((4, 4, 3), np.uint8), text)


def test_texts_are_tokens_padded_to_the_longest():
    batch = AsWorded(WORDS, 5)([sample("a dog"), sample("a dog runs to the ball")])
    assert batch.ids.shape == (2, 5)
    assert batch.mask.sum(1).tolist() == [4, 5]
    assert batch.ids[1, -1] == WORDS.sep_id


def test_concepts_are_the_frequent_words_that_name_something():
    assert concept_words(WORDS, TEXTS, 2) == ("dog", "ball")
    assert set(concept_words(WORDS, TEXTS, 99)) >= {"dog", "cat", "ball", "runs"}
    assert not set(concept_words(WORDS, TEXTS, 99)) & FUNCTION_WORDS
    with pytest.raises(DataError, match="no text has a word"):
        concept_words(WORDS, ["to the and a"], 9)


def test_concepts_are_found_and_the_beginning_of_a_longer_word_is_none():
    batch = AsTagged(WORDS, ("cat", "dog"))([sample("a dog and a cat"), sample("to dog")])
    tokens = WORDS.tokens
    for ids, concepts in zip(batch.ids.tolist(), batch.concepts.tolist(), strict=True):
        want = [{"cat": 0, "dog": 1}.get(tokens[i], NONE) for i in ids]
        assert concepts == want
    pieces = ["[CLS]", "dog", "##s", "cat"]
    ids = AsWorded(WORDS)([sample("a")]).ids.new_tensor([[0, 1, 2, 3, 1]])
    assert concepts_in(ids, pieces, ("cat", "dog")).tolist() == [[NONE, NONE, NONE, 0, 1]]
