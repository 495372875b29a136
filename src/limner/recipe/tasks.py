"""What each kind of objective trains: its model, what it reads, its step, its vocabulary or classes.

A function a kind; `TASKS` has them by the name that `objective.kind` gives.
"""

from collections.abc import Callable, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch import nn

from limner.checkpoint import Bundle
from limner.checkpoint.bundle import AnyTokenizer
from limner.config import Config, build
from limner.convert.opening import open_bundle, resized
from limner.convert.preprocessing import at_size
from limner.data.batches import AsCaptioned, AsLabelled, AsPictures
from limner.data.bpe import CLIPTokenizer
from limner.data.loader import Pairs, given_tokens
from limner.data.tokenizers import WordPiece
from limner.errors import ConfigError
from limner.models import entry, resnet, vit
from limner.models.blip import BLIP
from limner.models.clip import CLIP
from limner.models.masked_patch import MaskedPatch
from limner.models.resnet import ResNet
from limner.models.vit import ViT
from limner.recipe.schema import Recipe
from limner.recipe.starts import fill_texts, start_vision, text_start
from limner.shapes import ImageSpec
from limner.train.steps import (
    BLIPStep,
    ClassificationSettings,
    ClassificationStep,
    CLIPStep,
    ContrastiveSettings,
    MaskedPatchSettings,
    MaskedPatchStep,
    ObjectiveSettings,
    Step,
    TaskState,
    start_blip,
    start_draws,
)
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
        texted: whether rows without a text are of no use.
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
    texted: bool
    purpose: str
    hint: str
    prompt: str = ""


def task_of(recipe: Recipe, report: Report) -> Task:
    """Make what a resolved recipe trains. Draws from torch.

    Raises: ConfigError when model and objective do not go together.
    """
    start = open_bundle(recipe.model.start) if recipe.model.start else None
    task = TASKS[type(recipe.objective)](recipe, start, report)
    if recipe.model.vision_start:
        start_vision(task.model, recipe.model.vision_start, report)
    return task


# ---- the kinds


def _blip(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    settings = recipe.objective
    assert isinstance(settings, ObjectiveSettings)
    text = text_start(recipe.model) if recipe.model.text_start else None
    if start is not None:
        _, tokenizer = start.blip()
    elif text is not None:
        tokenizer = text.tokenizer
    else:
        report("growing the vocabulary from the sources' texts")
        each = (islice(source.texts(), recipe.tokenizer.texts) for source in recipe.data.sources)
        tokenizer = WordPiece.from_texts(chain.from_iterable(each), recipe.tokenizer.vocab_size)
    ids = {f"{token}_id": getattr(tokenizer, f"{token}_id") for token in ("pad", "cls", "sep", "dec", "enc")}
    sizes = {"vocab_size": tokenizer.vocab_size} if text is None else text.sizes
    made = _made(recipe, start, {"text": sizes, **ids}, BLIP)
    _require_heads(made.model, settings)
    if text is not None:
        fill_texts(made.model, text, recipe.model.text_start, report)
    return Task(
        *made,
        tokenizer=tokenizer,
        labels=(),
        collate=Pairs(tokenizer, recipe.data.max_tokens, settings.prompt),
        step=BLIPStep(settings, made.spec, given_tokens(tokenizer, settings.prompt)),
        start=lambda model, seed: start_blip(model, settings, seed),  # type: ignore[arg-type]
        texted=True,
        purpose="",
        hint="limner caption PATH --model RUN",
        prompt=settings.prompt,
    )


def _require_heads(model: nn.Module, settings: ObjectiveSettings) -> None:
    """Check that each term of the loss has its head.

    Raises: ConfigError that says which terms to leave out.
    """
    assert isinstance(model, BLIP)
    needed = {"itc": ("itc",), "itm": ("itc", "itm"), "lm": ("lm",), "qa": ("lm",)}
    lacking = [
        term
        for term, heads in needed.items()
        if getattr(settings, term) and not set(heads) <= set(model.config.heads)
    ]
    if lacking:
        raise ConfigError(
            f"a BLIP with the heads {', '.join(model.config.heads)} cannot learn {', '.join(lacking)}",
            wanted="terms that it has heads for",
            hint=" ".join(f"--set objective.{term}=0" for term in lacking),
        )


def _classification(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    settings, labels = recipe.objective, recipe.data.labels
    assert isinstance(settings, ClassificationSettings)
    made = _made(recipe, start, {"num_classes": len(labels)}, ResNet, ViT)
    if start is not None and start.labels != labels:
        report(f"a new head for {len(labels)} classes")
        assert isinstance(made.model, (ResNet, ViT))
        swap: Callable[..., nn.Module] = vit.new_head if isinstance(made.model, ViT) else resnet.new_head
        model = swap(made.model, len(labels))
        made = made._replace(model=model, config=model.config)  # type: ignore[arg-type]
    return Task(
        *made,
        tokenizer=None,
        labels=labels,
        collate=AsLabelled(labels),
        step=ClassificationStep(settings, made.spec, len(labels)),
        start=start_draws,
        texted=False,
        purpose="classification",
        hint="python -c \"import limner; print(limner.load('RUN').classify('PICTURE'))\"",
    )


def _contrastive(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    settings, context = recipe.objective, recipe.data.max_tokens
    assert isinstance(settings, ContrastiveSettings)
    if start is not None:
        model, tokenizer = start.clip()
        context = min(context, model.config.text.context_length)
    else:  # CLIP's own merges, the most frequent first
        tokenizer = CLIPTokenizer.from_merges(
            context_length=context, vocab_size=min(recipe.tokenizer.vocab_size, 49_408)
        )
    sizes = {"vocab_size": tokenizer.vocab_size, "context_length": context}
    made = _made(recipe, start, {"text": sizes}, CLIP)
    return Task(
        *made,
        tokenizer=tokenizer,
        labels=(),
        collate=AsCaptioned(tokenizer, context),
        step=CLIPStep(settings, made.spec),
        start=start_draws,
        texted=True,
        purpose="contrastive",
        hint="python -c \"import limner; print(limner.load('RUN').classify('PICTURE', labels=['a dog']))\"",
    )


def _masked_patch(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    settings = recipe.objective
    assert isinstance(settings, MaskedPatchSettings)
    made = _made(recipe, start, {}, MaskedPatch)
    return Task(
        *made,
        tokenizer=None,
        labels=(),
        collate=AsPictures(),
        step=MaskedPatchStep(settings, made.spec),
        start=start_draws,
        texted=False,
        purpose="masked_patch",
        hint="limner inspect RUN",
    )


TASKS: dict[type[Config], Callable[[Recipe, Bundle | None, Report], Task]] = {
    ObjectiveSettings: _blip,
    ClassificationSettings: _classification,
    ContrastiveSettings: _contrastive,
    MaskedPatchSettings: _masked_patch,
}


# ---- models


class Made(NamedTuple):
    """A model to train, the first fields of a `Task`."""

    name: str
    config: Config
    spec: ImageSpec
    model: nn.Module


def _made(recipe: Recipe, start: Bundle | None, known: Mapping[str, Any], *kinds: type[nn.Module]) -> Made:
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
    values = _merged(found.config.model_dump(), settings.settings)
    size = settings.image_size or _image_size(values) or found.image_spec.size
    if settings.image_size and _image_size(values):
        place = values.get("vision", values)
        place["image_size"] = size
    config = build(_merged(values, known), type(found.config), "model.settings")
    spec = found.image_spec if size == found.image_spec.size else at_size(found.image_spec, size)
    return Made(settings.name, config, spec, found.build(config))


def _image_size(values: Mapping[str, Any]) -> int:
    """Side of the input that a config speaks of, or 0."""
    return int(values.get("image_size") or values.get("vision", {}).get("image_size") or 0)


def _require(name: str, model: nn.Module, recipe: Recipe, *kinds: type[nn.Module]) -> None:
    if isinstance(model, kinds):
        return
    names = {BLIP: "limner_tiny", CLIP: "clip_vit_b32", ResNet: "resnet50", ViT: "vit_s16"}
    raise ConfigError(
        f"model {name!r} is a {type(model).__name__}, and objective.kind is {recipe.objective.kind!r}",
        wanted=" or ".join(f"a {kind.__name__}" for kind in kinds),
        hint=f'--set model.name="{names.get(kinds[0], "masked_patch_b16")}"',
    )


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` laid over them, section by section."""
    result = dict(values)
    for key, change in changes.items():
        section = isinstance(change, Mapping) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], change) if section else change
    return result
