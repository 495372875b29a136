import pickle

import numpy as np
import pytest

from limner.data.ngram_dictionary import ABSENT, TOO_SHORT, AsNGrams, NGramDictionary, words_of
from limner.data.rows import Sample
from limner.errors import DataError

TEXTS = ["A dog runs.", "a dog, running", "The dog's ball", "a cat"]


def test_words_are_lower_case_without_punctuation():
    assert words_of("The DOG's well-known  ball, (red)!") == ["the", "dog's", "well-known", "ball", "red"]


def test_the_most_frequent_are_taken_whatever_the_order_of_texts():
    grown = NGramDictionary.from_texts(TEXTS, order=2, min_count=2)
    assert grown.ngrams == ("a", "dog", "a dog")
    assert NGramDictionary.from_texts(TEXTS[::-1], order=2, min_count=2).ngrams == grown.ngrams
    assert NGramDictionary.from_texts(TEXTS, size=2, min_count=2).ngrams == ("a", "dog")


def test_every_part_of_an_n_gram_is_there_at_any_size():
    for size in range(1, 20):
        NGramDictionary.from_texts(TEXTS, size=size, min_count=1)  # would refuse a missing beginning


def test_each_word_has_the_n_grams_that_end_there():
    dictionary = NGramDictionary(["a", "dog", "a dog"])
    assert dictionary.encode("A dog barks") == [[0, TOO_SHORT], [1, 2], [ABSENT, ABSENT]]
    batch = dictionary.encode_batch(["dog", "a dog", "!"])
    assert batch.tolist() == [
        [[1, TOO_SHORT], [TOO_SHORT] * 2],
        [[0, TOO_SHORT], [1, 2]],
        [[TOO_SHORT] * 2, [TOO_SHORT] * 2],
    ]
    assert dictionary.encode_batch(["a dog barks"], max_words=2).shape == (1, 2, 2)
    assert dictionary.prefixes.tolist() == [0, 0, 1]
    assert dictionary.knows("two dog")
    assert not dictionary.knows("cats")


def test_it_survives_json_and_pickle():
    grown = NGramDictionary.from_texts(TEXTS, min_count=1)
    assert NGramDictionary.from_json(grown.to_json()).ngrams == grown.ngrams
    assert pickle.loads(pickle.dumps(AsNGrams(grown))).dictionary.ngrams == grown.ngrams


@pytest.mark.parametrize(
    "text", ["{}", "no json", '{"model": {"type": "BPE"}}', '{"model": {"type": "NGrams", "ngrams": []}}']
)
def test_other_files_are_refused(text):
    with pytest.raises(DataError, match="dictionary of"):
        NGramDictionary.from_json(text)


def test_what_no_dictionary_can_be_made_of_is_refused():
    with pytest.raises(DataError, match="without its beginning"):
        NGramDictionary(["dog", "a dog"])
    with pytest.raises(DataError, match="min_count=1"):
        NGramDictionary.from_texts(["one text"], min_count=2)


def test_samples_become_a_batch():
    sample = Sample("k", np.zeros((4, 4, 3), np.uint8), "a dog")
    batch = AsNGrams(NGramDictionary(["a", "dog", "a dog"]))([sample, sample])
    assert batch.keys == ["k", "k"]
    assert batch.images.shape == (2, 3, 4, 4)
    assert batch.ngrams.tolist() == [[[0, TOO_SHORT], [1, 2]]] * 2
