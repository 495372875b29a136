import math

import numpy as np
import pytest
import torch

from limner.data.ngram_dictionary import AsNGrams, NGramDictionary
from limner.data.rows import Sample
from limner.evaluate.tables import Pictured
from limner.models.ngrams import NGrams, NGramsConfig
from limner.models.vit_config import ViTConfig
from limner.recipe.prior_measures import OWN_LOSS, held_out
from limner.recipe.tasks import Task
from limner.shapes import ImageSpec
from limner.train.steps import NGramsSettings, NGramsStep, start_draws

DICTIONARY = NGramDictionary(["a", "dog", "cat", "a dog"])


def test_held_out_loss_is_the_mean_over_rows_whatever_the_batches():
    vision = ViTConfig(image_size=16, patch_size=8, width=8, depth=1, num_heads=2, mlp_dim=8)
    config = NGramsConfig(vision=vision, num_ngrams=4)
    torch.manual_seed(0)
    model, spec = NGrams(config).eval(), ImageSpec(size=16)
    step = NGramsStep(NGramsSettings(kind="ngrams"), spec, DICTIONARY.prefixes)
    task = Task(
        "", config, spec, model, DICTIONARY, (), AsNGrams(DICTIONARY), step, start_draws, "texts", "", ""
    )
    chance = np.random.default_rng(0)
    images = list(chance.integers(0, 255, (70, 16, 16, 3), dtype=np.uint8))
    texts = [["a dog", "never read"] for _ in images]
    rows = Pictured([str(i) for i in range(70)], images, texts, [""] * 70)
    found = held_out(task, model, rows)
    samples = [Sample("", image, "a dog") for image in images]
    whole = step(model, start_draws(model, 0), task.collate(samples), 0)  # 64 and 6, against all at once
    assert found["loss"] == pytest.approx(whole.loss.item(), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]), rel=1e-5)
    assert isinstance(step, OWN_LOSS)
