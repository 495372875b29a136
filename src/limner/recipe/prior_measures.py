"""Held-out losses of methods that neither classify nor retrieve: their own step, on other rows."""

import math
from collections import defaultdict

import torch
from torch import nn

from limner import ranks
from limner.data.rows import Sample
from limner.evaluate.tables import Pictured
from limner.recipe.task import Task
from limner.train.run import on_device
from limner.train.steps import BagOfWordsStep, ICMLMStep, NGramsStep, VirTexStep

OWN_LOSS = (BagOfWordsStep, ICMLMStep, NGramsStep, VirTexStep)
"""Steps that are measured by what they tell."""

_BATCH = 64


@torch.no_grad()
def held_out(task: Task, model: nn.Module, rows: Pictured) -> dict[str, float]:
    """Loss, terms and stats of a step on the first text of each row.

    Args:
        task: what is trained.
        model: in eval mode.
        rows: to measure on.
    Returns: means over rows; of perplexities the exponential of the mean logarithm.
    """
    texts = zip(rows.keys, rows.images, rows.texts, strict=True)
    samples = [Sample(key, image, own[0]) for key, image, own in texts]
    device = next(model.parameters()).device
    state = task.start(model, 0)
    sums: defaultdict[str, float] = defaultdict(float)
    with ranks.alone():
        for start in range(0, len(samples), _BATCH):
            part = samples[start : start + _BATCH]
            told = task.step(model, state, on_device(task.collate(part), device), 0)
            values = {"loss": told.loss, **told.terms, **told.stats}
            for name, value in values.items():
                sums[name] += len(part) * (math.log(value) if _is_perplexity(name) else float(value))
    means = {name: total / len(samples) for name, total in sums.items()}
    return {name: math.exp(mean) if _is_perplexity(name) else mean for name, mean in means.items()}


def _is_perplexity(name: str) -> bool:
    return name.endswith("perplexity")
