"""Recipes of the CapFilt study: a micro BLIP from scratch, and its captioner and filter."""

from pathlib import Path
from typing import Final, NamedTuple

from pydantic import Field

from limner import recipe as recipes
from limner.config import Config
from limner.models.blip import Sharing
from limner.train.optim import OptimSettings
from limner.train.settings import MachineSettings, TrainSettings
from limner.train.steps import ObjectiveSettings

PATCH: Final = 8


class ModelSizes(Config):
    """Sizes of the micro BLIP: a convolutional stem to patches of 8 pixels, then transformers of one width.

    Args:
        image_size: pixels a side.
        width: of both towers.
        vision_depth: blocks of the image encoder.
        text_depth: layers of the text towers.
    """

    image_size: int = Field(default=32, ge=16)
    width: int = Field(default=64, ge=32, multiple_of=16)
    vision_depth: int = Field(default=1, ge=1)
    text_depth: int = Field(default=1, ge=1)


class Source(NamedTuple):
    """Pairs to learn from.

    Args:
        path: the table.
        version: of it.
        column: of the texts.
        pairs: how many there are: the source's weight.
    """

    path: Path
    version: int
    column: str
    pairs: int


class Training(NamedTuple):
    """What all trainings of a study have in common.

    Args:
        sizes: of the model.
        steps: of this training.
        batch_size: pairs a step.
        lr: peak learning rate.
        seed: of weights, order and negatives.
    """

    sizes: ModelSizes
    steps: int
    batch_size: int
    lr: float
    seed: int


TERMS: Final[dict[str, dict[str, float]]] = {
    "captioner": {"itc": 0, "itm": 0},
    "filter": {"lm": 0},
    "shared": {},
}
"""The terms of the loss that each tuned model leaves out; "shared" learns all three in one model."""


def scratch(training: Training, sources: tuple[Source, ...], sharing: Sharing) -> recipes.Recipe:
    """The recipe of an arm.

    Args:
        training: sizes and length.
        sources: met in proportion to their pairs.
        sharing: parameters that text encoder and decoder share.
    """
    sizes = training.sizes
    width, heads = sizes.width, sizes.width // 16
    tower = {"width": width, "num_heads": heads, "mlp_dim": 2 * width}
    vision = {
        "image_size": sizes.image_size,
        "patch_size": PATCH,
        "depth": sizes.vision_depth,
        "stem": [width // 4, width // 2, width],
    }
    text = {"depth": sizes.text_depth, "memory_width": width, "max_positions": 32}
    settings = {"vision": tower | vision, "text": tower | text, "embed_dim": width, "sharing": sharing}
    return _recipe(training, recipes.ModelSettings(settings=settings), sources, {})


def tuned(training: Training, start: str, clean: Source, part: str) -> recipes.Recipe:
    """The recipe of captioner, filter or both in one.

    Args:
        training: length and learning rate; the sizes are those of the start.
        start: name or folder of the model to go on from.
        clean: pairs to learn from.
        part: a name of `TERMS`.
    """
    return _recipe(training, recipes.ModelSettings(start=start), (clean,), TERMS[part])


def _recipe(
    training: Training,
    model: recipes.ModelSettings,
    sources: tuple[Source, ...],
    terms: dict[str, float],
) -> recipes.Recipe:
    steps = training.steps
    tables = tuple(
        recipes.TableSource(
            kind="table",
            path=str(source.path.resolve()),
            texts_column=source.column,
            version=source.version,
            captions="all",
            weight=source.pairs,
        )
        for source in sources
    )
    return recipes.Recipe(
        model=model,
        data=recipes.DataSettings(sources=tables, max_tokens=24),
        objective=ObjectiveSettings(
            teacher="none", alpha=0, queue_size=0, label_smoothing=0, **({"qa": 0} | terms)
        ),
        optim=OptimSettings(lr=training.lr, warmup_steps=min(100, steps // 4), average=0.98),
        train=TrainSettings(
            steps=steps,
            batch_size=training.batch_size,
            seed=training.seed,
            log_every=max(1, steps // 10),
            evaluate_every=steps,
            checkpoint_every=max(1, steps // 2),
            keep=1,
        ),
        evaluate=recipes.EvaluateSettings(count=0),
        machine=MachineSettings(count_work=False),
    )
