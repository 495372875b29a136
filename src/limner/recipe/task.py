"""What a recipe trains, as one value, and how its model is opened or built."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch import nn

from limner.checkpoint import Bundle
from limner.checkpoint.bundle import AnyTokenizer
from limner.config import Config, build
from limner.convert.opening import resized
from limner.convert.preprocessing import at_size
from limner.data.tokenizers import WordPiece
from limner.errors import ConfigError
from limner.models import MODELS, entry
from limner.models.blip import BLIP
from limner.models.clip import CLIP
from limner.models.resnet import ResNet
from limner.models.vit import ViT
from limner.recipe.schema import Recipe
from limner.recipe.sources import Unit
from limner.shapes import ImageSpec
from limner.train.steps import Step, TaskState
from limner.train.watch import Report


class Task(NamedTuple):
    """What a recipe's objective trains.

    Args:
        name: key of `MODELS`.
        config: sizes of the model.
        spec: its preprocessing.
        model: freshly built, or opened.
        tokenizer: of its texts, where it reads any.
        labels: class names in the order of the logits, where it has any.
        collate: samples to a batch.
        step: the task, as the loop calls it.
        start: makes the state before the first step, once the model is on its device.
        unit: what a sample is.
        purpose: what the trained model is for, as bundles say it.
        hint: what to type when it is trained, with RUN for its folder.
        prompt: words that its captions go on from.
    """

    name: str
    config: Config
    spec: ImageSpec
    model: nn.Module
    tokenizer: AnyTokenizer | None
    labels: tuple[str, ...]
    collate: Callable[..., Any]
    step: Step
    start: Callable[[nn.Module, int], TaskState]
    unit: Unit
    purpose: str
    hint: str
    prompt: str = ""


class Made(NamedTuple):
    """A model to train, the first fields of a `Task`."""

    name: str
    config: Config
    spec: ImageSpec
    model: nn.Module


def made(recipe: Recipe, start: Bundle | None, known: Mapping[str, Any], *kinds: type[nn.Module]) -> Made:
    """Open the model to go on from, or build one.

    Args:
        recipe: its `[model]`.
        start: the model to go on from.
        known: sizes that data and vocabulary give.
        kinds: what the objective can train.
    """
    settings = recipe.model
    if start is not None:
        if settings.image_size and settings.image_size != start.image_spec.size:
            start = resized(start, settings.image_size)
        _require(settings.start, start.model, recipe, *kinds)
        config: Config = start.model.config  # type: ignore[assignment]
        return Made(start.name, config, start.image_spec, start.model)
    found = entry(settings.name)
    with torch.device("meta"):
        _require(settings.name, found.build(found.config), recipe, *kinds)
    values = merged(found.config.model_dump(), settings.settings)
    size = settings.image_size or _image_size(values) or found.image_spec.size
    if settings.image_size and _image_size(values):
        place = values.get("vision", values)
        place["image_size"] = size
    config = build(merged(values, known), type(found.config), "model.settings")
    spec = found.image_spec if size == found.image_spec.size else at_size(found.image_spec, size)
    return Made(settings.name, config, spec, found.build(config))


def _image_size(values: Mapping[str, Any]) -> int:
    """Side of the input that a config speaks of, or 0."""
    return int(values.get("image_size") or values.get("vision", {}).get("image_size") or 0)


def _require(name: str, model: nn.Module, recipe: Recipe, *kinds: type[nn.Module]) -> None:
    if isinstance(model, kinds):
        return
    names: dict[Any, str] = {line.build: name for name, line in reversed(MODELS.items())}
    names |= {BLIP: "limner_tiny", CLIP: "clip_vit_b32", ResNet: "resnet50", ViT: "vit_s16"}
    raise ConfigError(
        f"model {name!r} is a {type(model).__name__}, and objective.kind is {recipe.objective.kind!r}",
        wanted=" or ".join(f"a {kind.__name__}" for kind in kinds),
        hint=f'--set model.name="{names[kinds[0]]}"',
    )


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` laid over them, section by section."""
    result = dict(values)
    for key, change in changes.items():
        section = isinstance(change, Mapping) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], change) if section else change
    return result


def grown(recipe: Recipe, report: Report) -> WordPiece:
    """A vocabulary grown from the texts of the recipe's sources."""
    report("growing the vocabulary from the sources' texts")
    return WordPiece.from_texts(source_texts(recipe), recipe.tokenizer.vocab_size)


def source_texts(recipe: Recipe) -> Iterator[str]:
    """The texts of the recipe's sources that a vocabulary is grown from."""
    return chain.from_iterable(
        islice(source.texts(), recipe.tokenizer.texts) for source in recipe.data.sources
    )


def text_sizes(tokenizer: WordPiece) -> dict[str, Any]:
    """What a vocabulary settles of a model's sizes: how many words, and the ids of its special tokens."""
    ids = {f"{token}_id": getattr(tokenizer, f"{token}_id") for token in ("pad", "cls", "sep", "dec", "enc")}
    return {"text": {"vocab_size": tokenizer.vocab_size}, **ids}
