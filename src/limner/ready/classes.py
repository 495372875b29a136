"""Classes of pictures: by the model's own classifier, or zero-shot by comparing pictures with labels.

Source: Radford et al. 2021, section 3.1.4 (labels written into templates, whose vectors are averaged).
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from limner.checkpoint import Bundle
from limner.data.ngram_dictionary import NGramDictionary
from limner.errors import ConfigError, DataError
from limner.ready.abilities import class_count, has_joint_space, scores_phrases
from limner.ready.inputs import texts_of
from limner.ready.results import Classification
from limner.ready.towers import cosine_scale, image_vectors, phrase_logits, text_vectors

TEMPLATES: Final = ("a photo of a {}.",)
"""What labels are written into when no templates are given."""


def own_labels(bundle: Bundle) -> tuple[str, ...]:
    """Names of the classes of the model's own classifier; their numbers when nobody knows the names.

    Raises: ConfigError when it has no classifier.
    """
    count = class_count(bundle.model)
    if not count:
        raise ConfigError(
            f"classify with {bundle.kind}, which has no classifier of its own",
            wanted="labels to compare the pictures with",
            hint='classify(images, labels=["a cat", "a dog"])',
        )
    return bundle.labels or tuple(map(str, range(count)))


def written_labels(
    bundle: Bundle, labels: Sequence[str], templates: str | Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and templates as they will be used.

    Args:
        bundle: a model that compares pictures with texts.
        labels: of the classes.
        templates: with "{}" where a label goes; `TEMPLATES` when None, the label alone for n-grams.
    Raises: ConfigError when the model compares nothing; DataError when there are no labels, or a template has
        no place for one.
    """
    if not (has_joint_space(bundle) or scores_phrases(bundle)):
        raise ConfigError(
            f"labels for {bundle.kind}, whose classes are fixed",
            wanted="no labels, or a model that compares pictures with texts",
            hint='limner.load("limner_tiny"), or limner.load("hub:openai/clip-vit-base-patch32")',
        )
    names, one = texts_of(labels, "label")
    if one or not names:
        raise DataError(
            f"one label: {names[0]!r}" if one else "no labels",
            wanted="a list of them",
            hint='labels=["a cat", "a dog"]',
        )
    plain = ("{}",) if scores_phrases(bundle) else TEMPLATES
    forms = plain if templates is None else texts_of(templates, "template")[0]
    wrong = [form for form in forms if "{}" not in form]
    if wrong or not forms:
        given = f"the template {wrong[0]!r}" if wrong else "no templates"
        raise DataError(given, wanted='"{}" where the label goes', hint='"a photo of a {}."')
    return tuple(names), tuple(forms)


def label_scores(
    bundle: Bundle, labels: Sequence[str], templates: Sequence[str], batch_size: int
) -> Callable[[Float[Tensor, "b 3 y x"]], Float[Tensor, "b k"]]:
    """What scores pictures, `normed`, for k labels: by cosine, or by n-grams, the mean over templates.

    Args:
        bundle: a model that compares pictures with texts.
        labels: k of them.
        templates: with "{}" where a label goes.
        batch_size: texts at a time.
    Raises: DataError when a dictionary of n-grams has no word of a label.
    """
    if not scores_phrases(bundle):
        vectors = label_vectors(bundle, labels, templates, batch_size)
        scale = cosine_scale(bundle.model)
        return lambda pixels: scale * (image_vectors(bundle.model, pixels).cpu() @ vectors.T)
    assert isinstance(bundle.tokenizer, NGramDictionary)
    unknown = [label for label in labels if not bundle.tokenizer.knows(label)]
    if unknown:
        raise DataError(
            f"the label {unknown[0]!r}, no word of which is in the model's dictionary",
            wanted="labels with words that its captions have",
            hint=", ".join(bundle.tokenizer.ngrams[:8]),
        )
    phrases = [template.replace("{}", label) for label in labels for template in templates]
    return lambda pixels: phrase_logits(bundle, pixels, phrases).view(-1, len(labels), len(templates)).mean(2)


def label_vectors(
    bundle: Bundle, labels: Sequence[str], templates: Sequence[str], batch_size: int
) -> Float[Tensor, "k e"]:
    """One unit vector a label, from the texts its name makes.

    Args:
        bundle: a model that compares pictures with texts.
        labels: k of them.
        templates: with "{}" where a label goes.
        batch_size: texts at a time.
    """
    texts = [template.replace("{}", label) for label in labels for template in templates]
    vectors = text_vectors(bundle, texts, batch_size)
    return ensemble(vectors.view(len(labels), len(templates), -1))


def ensemble(vectors: Float[Tensor, "k t e"]) -> Float[Tensor, "k e"]:
    """One unit vector a label out of those of its t texts: normalised, averaged, normalised again."""
    return F.normalize(F.normalize(vectors, dim=-1).mean(1), dim=-1)


def likeliest(scores: Float[Tensor, "b k"], labels: Sequence[str], top: int) -> list[list[Classification]]:
    """The best classes of each picture, best first, out of the softmax over all of them.

    Args:
        scores: logits.
        labels: k names.
        top: most classes a picture.
    """
    best = scores.softmax(1).topk(min(top, len(labels)), dim=1)
    return [
        [Classification(labels[index], index, value) for index, value in zip(places, values, strict=True)]
        for places, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
