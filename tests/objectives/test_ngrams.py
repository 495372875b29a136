import math

import pytest
import torch

from limner.data import ngram_dictionary
from limner.data.ngram_dictionary import NGramDictionary
from limner.objectives import ngrams as objective
from limner.objectives.ngrams import (
    jelinek_mercer_losses,
    naive_losses,
    phrase_scores,
    word_log_probabilities,
)

NGRAMS = ["a", "dog", "runs", "cat", "a dog", "dog runs", "a cat", "a dog runs"]
DICTIONARY = NGramDictionary(NGRAMS)
TEXTS = ["a dog runs", "the cat runs", "dog", "nothing known"]


def observed(logits, ngram):
    """p_obs(last word | the words before it): among the dictionary's n-grams that go on from them."""
    prefix = ngram.rpartition(" ")[0]
    rivals = [i for i, other in enumerate(NGRAMS) if other.rpartition(" ")[0] == prefix]
    return math.exp(logits[NGRAMS.index(ngram)]) / sum(math.exp(logits[i]) for i in rivals)


def smoothed(logits, context, word, weight):
    ngram = " ".join([*context, word])
    p = observed(logits, ngram) if ngram in NGRAMS else 0.0
    return p if not context else weight * p + (1 - weight) * smoothed(logits, context[1:], word, weight)


def scores(seed=0):
    torch.manual_seed(seed)
    return torch.randn(len(TEXTS), len(NGRAMS), dtype=torch.float64).float().requires_grad_()


@pytest.mark.parametrize("weight", [0.2, 0.7])
def test_the_smoothed_loss_is_that_of_a_recursion_over_words(weight):
    logits = scores()
    found = jelinek_mercer_losses(logits, DICTIONARY.encode_batch(TEXTS), DICTIONARY.prefixes, weight)
    for row, text in enumerate(TEXTS):
        words, total, counted = text.split(), 0.0, 0
        for i, word in enumerate(words):
            if word in NGRAMS:
                total -= math.log(smoothed(logits[row].tolist(), words[max(0, i - 2) : i], word, weight))
                counted += 1
        assert math.isclose(found.total[row].item(), total, rel_tol=1e-4, abs_tol=1e-6)
        assert int(found.counted[row]) == counted
    assert found.counted.tolist() == [3, 2, 1, 0]
    found.total.sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[:3].any(1).all()
    assert not logits.grad[3].any()


def test_the_naive_loss_is_that_of_a_loop_over_n_grams():
    logits = scores()
    found = naive_losses(logits, DICTIONARY.encode_batch(TEXTS))
    for row, text in enumerate(TEXTS):
        words, total, counted = text.split(), 0.0, 0
        partition = sum(math.exp(score) for score in logits[row].tolist())
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                if (ngram := " ".join(words[start:end])) in NGRAMS:
                    total -= math.log(math.exp(logits[row, NGRAMS.index(ngram)].item()) / partition)
                    counted += 1
        assert math.isclose(found.total[row].item(), total, rel_tol=1e-4, abs_tol=1e-6)
        assert int(found.counted[row]) == counted
    found.total.sum().backward()
    assert logits.grad.isfinite().all()


def test_words_after_a_known_context_add_up_to_one():
    """After "a" the dictionary goes on with "a dog" and "a cat", so the mixture is a distribution."""
    logits = scores()[:1].detach()
    total = 0.0
    for word in ("a", "dog", "runs", "cat"):
        batch = DICTIONARY.encode_batch([f"a {word}"])
        total += float(word_log_probabilities(logits, batch, DICTIONARY.prefixes)[0, 1].exp())
    assert math.isclose(total, 1.0, rel_tol=1e-5)


def test_one_word_and_a_batch_of_one():
    logits, batch = scores()[:1], DICTIONARY.encode_batch(["cat"])
    assert batch.shape == (1, 1, 3)
    found = jelinek_mercer_losses(logits, batch, DICTIONARY.prefixes)
    assert math.isclose(found.total[0].item(), -math.log(observed(logits[0].tolist(), "cat")), rel_tol=1e-5)


def test_large_scores_do_not_overflow():
    logits = (scores() * 1e4).detach().requires_grad_()
    found = jelinek_mercer_losses(logits, DICTIONARY.encode_batch(TEXTS), DICTIONARY.prefixes)
    found.total.sum().backward()
    assert found.total.isfinite().all()
    assert logits.grad.isfinite().all()


def test_names_are_scored_by_their_mean_word():
    logits, names = scores().detach(), ["a dog", "cat", "unknown"]
    found = phrase_scores(logits, DICTIONARY.encode_batch(names), DICTIONARY.prefixes)
    row = logits[0].tolist()
    words = [smoothed(row, [], "a", 0.2), smoothed(row, ["a"], "dog", 0.2)]
    assert math.isclose(float(found[0, 0]), sum(map(math.log, words)) / 2, rel_tol=1e-5)
    assert found[:, 2].tolist() == [-math.inf] * len(TEXTS)


def test_both_files_mean_the_same_by_their_marks():
    assert (objective.ABSENT, objective.TOO_SHORT) == (ngram_dictionary.ABSENT, ngram_dictionary.TOO_SHORT)
