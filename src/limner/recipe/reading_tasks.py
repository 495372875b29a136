"""Objectives that fine-tune a BLIP to read: questions about a picture, statements about two.

Either starts from a pre-trained BLIP, which gets the heads of its new task; from a model of that task; or
afresh, from the sizes of either.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), sections 5.3 and 5.4.
"""

from collections.abc import Callable

from torch import nn

from limner.checkpoint import Bundle, config_name
from limner.config import Config
from limner.data.question_batches import AsQuestions, AsStatements
from limner.data.tokenizers import WordPiece
from limner.errors import ConfigError
from limner.models.blip import BLIP
from limner.models.blip_nlvr2 import BLIPNLVR2, nlvr2_from
from limner.models.blip_vqa import BLIPVQA, vqa_from
from limner.recipe.schema import Recipe
from limner.recipe.task import Made, Task, grown, made, text_sizes
from limner.train.steps import NLVR2Settings, NLVR2Step, VQASettings, VQAStep, start_draws
from limner.train.watch import Report


def vqa(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    """A BLIP that answers questions."""
    settings = recipe.objective
    assert isinstance(settings, VQASettings)
    found, tokenizer = _reader(recipe, start, report, BLIPVQA, vqa_from)
    return Task(
        *found,
        tokenizer=tokenizer,
        labels=(),
        collate=AsQuestions(tokenizer, recipe.data.max_tokens),
        step=VQAStep(settings, found.spec),
        start=start_draws,
        unit="questions",
        purpose="vqa",
        hint="limner evaluate vqa --model RUN --data TABLE",
    )


def nlvr2(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    """A BLIP that judges statements about two pictures."""
    settings = recipe.objective
    assert isinstance(settings, NLVR2Settings)
    found, tokenizer = _reader(recipe, start, report, BLIPNLVR2, nlvr2_from)
    return Task(
        *found,
        tokenizer=tokenizer,
        labels=(),
        collate=AsStatements(tokenizer, recipe.data.max_tokens),
        step=NLVR2Step(settings, found.spec),
        start=start_draws,
        unit="statements",
        purpose="nlvr2",
        hint="limner evaluate reasoning --model RUN --data TABLE",
    )


def _reader(
    recipe: Recipe,
    start: Bundle | None,
    report: Report,
    kind: type[nn.Module],
    converted: Callable[[BLIP], nn.Module],
) -> tuple[Made, WordPiece]:
    """The model with its vocabulary; a plain BLIP is converted.

    Raises: ConfigError when the start has no tokenizer, or reads no texts.
    """
    if start is None:
        tokenizer = grown(recipe, report)
    elif isinstance(start.tokenizer, WordPiece):
        tokenizer = start.tokenizer
    else:
        raise ConfigError(
            f"model.start {recipe.model.start!r} is a {start.kind} without BERT's WordPiece",
            wanted=f"a BLIP or a {kind.__name__} with its tokenizer",
            hint='--set model.start="limner_tiny"',
        )
    found = made(recipe, start, text_sizes(tokenizer), BLIP, kind)
    if isinstance(found.model, BLIP):
        model = converted(found.model)
        config: Config = model.config  # type: ignore[assignment]
        found = found._replace(name=config_name(config), config=config, model=model)
    return found, tokenizer
