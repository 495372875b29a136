"""What the methods before CLIP train: the vocabulary of each, what it reads, its step.

`tasks.py` puts a model to it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from torch import nn

from limner.checkpoint import Bundle
from limner.checkpoint.bundle import AnyTokenizer
from limner.config import Config
from limner.data.ngram_dictionary import AsNGrams, NGramDictionary
from limner.data.tokenizers import WordPiece
from limner.data.worded import AsTagged, AsWorded, concept_words
from limner.models.bag_of_words import BagOfWords
from limner.models.convirt import ConVIRT
from limner.models.icmlm import ICMLM
from limner.models.ngrams import NGrams
from limner.models.virtex import VirTex
from limner.recipe.schema import Recipe
from limner.recipe.task import grown, source_texts
from limner.shapes import ImageSpec
from limner.train.steps import (
    BagOfWordsSettings,
    BagOfWordsStep,
    ConVIRTSettings,
    ConVIRTStep,
    ICMLMSettings,
    ICMLMStep,
    NGramsSettings,
    NGramsStep,
    Step,
    VirTexSettings,
    VirTexStep,
)
from limner.train.watch import Report

_ENCODES: Final = "python -c \"import limner; print(limner.load('RUN').encode_image('PICTURE'))\""
_COMPARES: Final = (
    "python -c \"import limner; print(limner.load('RUN').classify('PICTURE', labels=['a dog', 'a cat']))\""
)


class Prior(NamedTuple):
    """What a method needs beside a model.

    Args:
        kind: of model.
        known: sizes that the vocabulary gives.
        tokenizer: of its texts.
        labels: names of its outputs, where they are words.
        collate: samples to a batch.
        step: makes the task from the model's preprocessing.
        hint: what to type when it is trained, with RUN for its folder.
    """

    kind: type[nn.Module]
    known: Mapping[str, Any]
    tokenizer: AnyTokenizer
    labels: tuple[str, ...]
    collate: Callable[..., Any]
    step: Callable[[ImageSpec], Step]
    hint: str


def prior_of(recipe: Recipe, start: Bundle | None, report: Report) -> Prior:
    """What a resolved recipe's method needs.

    Args:
        recipe: its objective is one of `PRIORS`.
        start: the model to go on from, with its vocabulary.
        report: takes lines for the user.
    """
    return PRIORS[type(recipe.objective)](recipe, start, report)


def _words(recipe: Recipe, start: Bundle | None, report: Report) -> WordPiece:
    """The vocabulary of the start, or one grown from the texts."""
    if start is not None and isinstance(start.tokenizer, WordPiece):
        return start.tokenizer
    return grown(recipe, report)


def _bag_of_words(recipe: Recipe, start: Bundle | None, report: Report) -> Prior:
    settings, words = recipe.objective, _words(recipe, start, report)
    assert isinstance(settings, BagOfWordsSettings)
    special = (words.pad_id, words.cls_id, words.sep_id, words.unk_id)
    return Prior(
        BagOfWords,
        {"vocab_size": words.vocab_size},
        tokenizer=words,
        labels=(),
        collate=AsWorded(words, recipe.data.max_tokens),
        step=lambda spec: BagOfWordsStep(settings, spec, special),
        hint=_ENCODES,
    )


def _ngrams(recipe: Recipe, start: Bundle | None, report: Report) -> Prior:
    settings = recipe.objective
    assert isinstance(settings, NGramsSettings)
    if start is not None and isinstance(start.tokenizer, NGramDictionary):
        dictionary = start.tokenizer
    else:
        report("counting the n-grams of the sources' texts")
        sizes = (settings.size, settings.order, settings.min_count)
        dictionary = NGramDictionary.from_texts(source_texts(recipe), *sizes)
    prefixes = dictionary.prefixes
    return Prior(
        NGrams,
        {"num_ngrams": dictionary.vocab_size},
        tokenizer=dictionary,
        labels=(),
        collate=AsNGrams(dictionary, recipe.data.max_tokens),
        step=lambda spec: NGramsStep(settings, spec, prefixes),
        hint=_COMPARES,
    )


def _virtex(recipe: Recipe, start: Bundle | None, report: Report) -> Prior:
    settings, words = recipe.objective, _words(recipe, start, report)
    assert isinstance(settings, VirTexSettings)
    return Prior(
        VirTex,
        {"text": {"vocab_size": words.vocab_size}},
        tokenizer=words,
        labels=(),
        collate=AsWorded(words, _longest(recipe, start)),
        step=lambda spec: VirTexStep(settings, spec),
        hint=_ENCODES,
    )


def _icmlm(recipe: Recipe, start: Bundle | None, report: Report) -> Prior:
    settings, words = recipe.objective, _words(recipe, start, report)
    assert isinstance(settings, ICMLMSettings)
    concepts = start.labels if start else concept_words(words, source_texts(recipe), settings.concepts)
    return Prior(
        ICMLM,
        {"text": {"vocab_size": words.vocab_size}, "num_concepts": len(concepts)},
        tokenizer=words,
        labels=concepts,
        collate=AsTagged(words, concepts, _longest(recipe, start)),
        step=lambda spec: ICMLMStep(settings, spec, words.mask_id),
        hint=_ENCODES,
    )


def _convirt(recipe: Recipe, start: Bundle | None, report: Report) -> Prior:
    settings, words = recipe.objective, _words(recipe, start, report)
    assert isinstance(settings, ConVIRTSettings)
    return Prior(
        ConVIRT,
        {"text": {"vocab_size": words.vocab_size}},
        tokenizer=words,
        labels=(),
        collate=AsWorded(words, _longest(recipe, start)),
        step=lambda spec: ConVIRTStep(settings, spec),
        hint=_COMPARES,
    )


def _longest(recipe: Recipe, start: Bundle | None) -> int:
    """Longest text that model and recipe allow, tokens."""
    most = recipe.data.max_tokens
    if start is not None and isinstance(start.model, (VirTex, ICMLM, ConVIRT)):
        most = min(most, start.model.config.text.max_positions)
    return most


PRIORS: dict[type[Config], Callable[[Recipe, Bundle | None, Report], Prior]] = {
    BagOfWordsSettings: _bag_of_words,
    NGramsSettings: _ngrams,
    VirTexSettings: _virtex,
    ICMLMSettings: _icmlm,
    ConVIRTSettings: _convirt,
}
