"""Every recipe of `recipes/`: what it says of its length, and the model it makes, without data or weights."""

import re
from pathlib import Path

import pytest
import torch

from limner.convert.bert import TextStart
from limner.data.augment import RECIPES as AUGMENTATIONS
from limner.data.tokenizers import WordPiece
from limner.models import entry
from limner.models.blip_nlvr2 import BLIPNLVR2
from limner.models.blip_vqa import BLIPVQA
from limner.recipe import read
from limner.recipe.tasks import task_of
from limner.train.optim import lr_at, param_groups
from limner.train.watch import silent

PATHS = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
LENGTH = re.compile(r"length: ([\d,]+) steps of ([\d,]+) are ([\d.]+) epochs of ([\d,]+) ")
CLASSES = {"imagenet.lance": 1000, "imagenet21k.lance": 21_843}
MINILM = {"width": 384, "depth": 3, "num_heads": 12, "mlp_dim": 1536}

every = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def head_of(path):
    return path.read_text(encoding="utf-8").split("\n\n")[0]


@every
def test_steps_make_the_epochs_that_are_told(path):
    recipe, found = read(path), LENGTH.search(head_of(path))
    if not found:
        assert "needs" not in head_of(path)  # the papers' own all say it
        return
    steps, batch, epochs, rows = (float(number.replace(",", "")) for number in found.groups())
    assert (recipe.train.steps, recipe.train.batch_size) == (steps, batch)
    assert steps * batch / rows == pytest.approx(epochs, rel=0.002)


@every
def test_a_recipe_that_was_never_run_says_what_it_needs(path):
    head = head_of(path)
    if "last run: never" in head and "sized for" not in head:
        assert re.search(r"needs \d+ GPU", head)
        assert "differs:" in head


@every
def test_every_recipe_makes_its_model(path, monkeypatch):
    sizes = {"vocab_size": 30_524} | (MINILM if "minilm" in path.stem else {})
    words = TextStart(sizes, {}, WordPiece.from_vocabulary(), [], "")
    monkeypatch.setattr("limner.recipe.tasks.text_start", lambda settings: words)
    for place in ("reading_tasks", "prior_tasks"):
        monkeypatch.setattr(f"limner.recipe.{place}.grown", lambda *_: words.tokenizer)
    monkeypatch.setattr(
        "limner.recipe.prior_tasks.source_texts", lambda recipe: ["a dog runs in green grass"] * 9
    )
    for name in ("fill_texts", "start_vision"):
        monkeypatch.setattr(f"limner.recipe.tasks.{name}", lambda *_: None)
    recipe = read(path)
    model = recipe.model.model_copy(update={"start": "", "text_start": "words"})
    table = getattr(recipe.data.sources[0], "path", "")
    labels = tuple(f"class {number}" for number in range(CLASSES.get(table, 10)))
    data = recipe.data.model_copy(update={"labels": labels})
    with torch.device("meta"):
        task = task_of(recipe.model_copy(update={"model": model, "data": data}), silent)
    converted = {"vqa": BLIPVQA, "nlvr2": BLIPNLVR2}
    assert isinstance(task.model, converted.get(task.purpose, entry(recipe.model.name).build))
    assert task.spec.size == (recipe.model.image_size or entry(recipe.model.name).image_spec.size)
    assert sum(len(group["params"]) for group in param_groups(task.model, recipe.optim)) > 0
    for source in recipe.data.sources:
        assert str(getattr(source, "augment", "none")) in {*AUGMENTATIONS, "True", "False"}


@every
def test_the_rate_rises_and_falls(path):
    recipe = read(path)
    steps, optim = recipe.train.steps, recipe.optim
    rates = [lr_at(step, optim, steps) for step in (optim.warmup_steps, steps // 2, steps - 1)]
    assert rates[0] == pytest.approx(optim.lr, rel=1e-3)
    assert rates[0] > rates[1] > rates[2] > -1e-12
