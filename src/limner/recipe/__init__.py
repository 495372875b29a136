"""A whole training run as one typed value, and the place where data, models, training and evaluation meet.

    recipe = read("recipes/limner_tiny.toml", ["optim.lr=2e-3"])
    result = run(recipe, "runs/tiny", report=print)

A recipe is read alone: no inheritance, no interpolation. `run` writes it, resolved, to the run folder and
into the model; its digest names the run. `[machine]` (where and how long to compute) is no part of that.
"""

from limner.recipe.runner import RunResult, compose, resolve, run
from limner.recipe.schema import (
    DataSettings,
    EvaluateSettings,
    ModelSettings,
    Recipe,
    TokenizerSettings,
    read,
)
from limner.recipe.sources import EmojiSource, ScenesSource, TableSource

__all__ = [
    "DataSettings",
    "EmojiSource",
    "EvaluateSettings",
    "ModelSettings",
    "Recipe",
    "RunResult",
    "ScenesSource",
    "TableSource",
    "TokenizerSettings",
    "compose",
    "read",
    "resolve",
    "run",
]
