"""The default model in the package is whole, small, and as good as its card says."""

from pathlib import Path

import pytest
import torch

from limner.checkpoint import ASSETS, DEFAULT, Bundle, load
from limner.data.scenes import SceneSettings
from limner.data.tokenizers import WordPiece
from limner.evaluate.scenes import SuiteSettings, scenes_suite
from limner.recipe import read
from limner.record import read_records

FOLDER = ASSETS / DEFAULT
RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "limner_tiny.toml"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load(DEFAULT)


def test_it_comes_with_card_recipe_records_and_vocabulary_in_12_mb():
    names = {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "recipe.toml",
        "records.jsonl",
        "README.md",
    }
    assert {path.name for path in FOLDER.iterdir()} == names
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12_000_000


def test_its_recipe_is_the_shipped_one():
    packaged, shipped = read(FOLDER / "recipe.toml"), read(RECIPE)
    assert (shipped.train.precision, packaged.train.precision) == ("auto", "bf16")
    resolved = shipped.train.model_copy(update={"precision": "bf16"})
    assert packaged == shipped.model_copy(update={"machine": packaged.machine, "train": resolved})


def test_its_card_tells_what_was_recorded():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    measured = read_records(FOLDER / "records.jsonl", "card")
    assert len(measured) >= 2
    for record in measured:
        assert record["style"] in card
        for name in ("auroc", "i2t_r1", "t2i_r1", "nouns", "exact", "answers"):
            assert f"{record['measures'][name]:.3f}" in card
    steps = read_records(FOLDER / "records.jsonl", "end")[-1]["step"]
    assert f"{steps:,} of" in card


def test_it_knows_scenes_it_has_never_seen(bundle: Bundle):
    suite = SuiteSettings(candidates=40, draws=2, max_questions=2)
    found = scenes_suite(bundle, SceneSettings(seed=12345, styles=("twemoji",)), 0, 60, suite)
    assert found["auroc"] > 0.98
    assert min(found["i2t_r1"], found["t2i_r1"]) > 0.9
    assert found["exact"] > 0.8
    assert found["answers"] > 0.9


def test_its_weights_are_finite(bundle: Bundle):
    assert all(torch.isfinite(p).all() for p in bundle.model.parameters())


@pytest.mark.slow
def test_its_recipe_grows_the_very_same_vocabulary(bundle: Bundle):
    from itertools import chain, islice

    recipe = read(RECIPE)
    texts = (islice(source.texts(), recipe.tokenizer.texts) for source in recipe.data.sources)
    grown = WordPiece.from_texts(chain.from_iterable(texts), recipe.tokenizer.vocab_size)
    assert bundle.tokenizer is not None
    assert grown.to_json() == bundle.tokenizer.to_json()
