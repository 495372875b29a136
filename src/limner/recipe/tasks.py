"""What each kind of objective trains: its model, what it reads, its step, its vocabulary or classes.

A function a kind; `TASKS` has them by the name that `objective.kind` gives.
"""

from collections.abc import Callable

from torch import nn

from limner.checkpoint import Bundle
from limner.config import Config
from limner.convert.opening import open_bundle
from limner.data.batches import AsCaptioned, AsLabelled, AsPictures
from limner.data.bpe import CLIPTokenizer
from limner.data.loader import Pairs, given_tokens
from limner.errors import ConfigError
from limner.models import resnet, vit
from limner.models.blip import BLIP
from limner.models.clip import CLIP
from limner.models.masked_patch import MaskedPatch
from limner.models.resnet import ResNet
from limner.models.vit import ViT
from limner.recipe.detection_task import detection
from limner.recipe.prior_tasks import PRIORS, prior_of
from limner.recipe.reading_tasks import nlvr2, vqa
from limner.recipe.schema import Recipe
from limner.recipe.starts import fill_texts, start_vision, text_start
from limner.recipe.task import Task, grown, made, text_sizes
from limner.train.steps import (
    BLIPStep,
    ClassificationSettings,
    ClassificationStep,
    CLIPStep,
    ContrastiveSettings,
    DetectionSettings,
    MaskedPatchSettings,
    MaskedPatchStep,
    NLVR2Settings,
    ObjectiveSettings,
    VQASettings,
    start_blip,
    start_draws,
)
from limner.train.watch import Report


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
    else:
        tokenizer = text.tokenizer if text else grown(recipe, report)
    sizes = text_sizes(tokenizer) | ({"text": text.sizes} if text else {})
    found = made(recipe, start, sizes, BLIP)
    _require_heads(found.model, settings)
    if text is not None:
        fill_texts(found.model, text, recipe.model.text_start, report)
    return Task(
        *found,
        tokenizer=tokenizer,
        labels=(),
        collate=Pairs(tokenizer, recipe.data.max_tokens, settings.prompt),
        step=BLIPStep(settings, found.spec, given_tokens(tokenizer, settings.prompt)),
        start=lambda model, seed: start_blip(model, settings, seed),  # type: ignore[arg-type]
        unit="texts",
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
    found = made(recipe, start, {"num_classes": len(labels)}, ResNet, ViT)
    if start is not None and start.labels != labels:
        report(f"a new head for {len(labels)} classes")
        assert isinstance(found.model, (ResNet, ViT))
        swap: Callable[..., nn.Module] = vit.new_head if isinstance(found.model, ViT) else resnet.new_head
        model = swap(found.model, len(labels))
        found = found._replace(model=model, config=model.config)  # type: ignore[arg-type]
    return Task(
        *found,
        tokenizer=None,
        labels=labels,
        collate=AsLabelled(labels),
        step=ClassificationStep(settings, found.spec, len(labels)),
        start=start_draws,
        unit="pictures",
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
    found = made(recipe, start, {"text": sizes}, CLIP)
    return Task(
        *found,
        tokenizer=tokenizer,
        labels=(),
        collate=AsCaptioned(tokenizer, context),
        step=CLIPStep(settings, found.spec),
        start=start_draws,
        unit="texts",
        purpose="contrastive",
        hint="python -c \"import limner; print(limner.load('RUN').classify('PICTURE', labels=['a dog']))\"",
    )


def _masked_patch(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    settings = recipe.objective
    assert isinstance(settings, MaskedPatchSettings)
    found = made(recipe, start, {}, MaskedPatch)
    return Task(
        *found,
        tokenizer=None,
        labels=(),
        collate=AsPictures(),
        step=MaskedPatchStep(settings, found.spec),
        start=start_draws,
        unit="pictures",
        purpose="masked_patch",
        hint="limner inspect RUN",
    )


def _prior(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    prior = prior_of(recipe, start, report)
    parts = made(recipe, start, prior.known, prior.kind)
    return Task(
        *parts,
        tokenizer=prior.tokenizer,
        labels=prior.labels,
        collate=prior.collate,
        step=prior.step(parts.spec),
        start=start_draws,
        unit="texts",
        purpose=recipe.objective.kind,
        hint=prior.hint,
    )


TASKS: dict[type[Config], Callable[[Recipe, Bundle | None, Report], Task]] = {
    ObjectiveSettings: _blip,
    ClassificationSettings: _classification,
    ContrastiveSettings: _contrastive,
    MaskedPatchSettings: _masked_patch,
    DetectionSettings: detection,
    VQASettings: vqa,
    NLVR2Settings: nlvr2,
    **dict.fromkeys(PRIORS, _prior),
}
