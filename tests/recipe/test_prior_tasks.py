"""A run of each method before CLIP, from a recipe to a bundle that opens and is used."""

import pytest
from PIL import Image

import limner
from limner.checkpoint import load
from limner.data.ngram_dictionary import NGramDictionary
from limner.errors import ConfigError, DataError
from limner.models import architecture_of
from limner.recipe import read, run
from limner.recipe.prior_tasks import PRIORS

TOML = """
[data]
max_tokens = 12
[[data.sources]]
kind = "table"
path = "{path}"
[tokenizer]
vocab_size = 160
[objective]
kind = "{kind}"
[model]
name = "{name}"
image_size = 32
settings = {{ {settings} }}
[optim]
warmup_steps = 1
[train]
steps = 2
batch_size = 4
log_every = 1
[evaluate]
count = 0
[[evaluate.tables]]
path = "{path}"
name = "all"
"""
RESNET = "vision = { depths = [1, 1, 1, 1], widths = [4, 4, 4, 8] }"
VIT = "vision = { patch_size = 16, width = 8, depth = 1, num_heads = 2, mlp_dim = 16 }"
TEXT = "text = { width = 8, memory_width = 8, depth = 1, num_heads = 2, mlp_dim = 16 }"
METHODS = {
    "bag_of_words": ("bag_of_words_vit_b32", VIT),
    "ngrams": ("ngrams_resnet34", "vision = { depths = [1, 1, 1, 1], widths = [8, 8, 8, 16] }"),
    "virtex": ("virtex_resnet50", f"{RESNET}, {TEXT}"),
    "icmlm": ("icmlm_resnet50", f"{RESNET}, {TEXT}"),
    "convirt": ("convirt_vit_b32", f"{VIT}, {TEXT}, embed_dim = 4"),
}


@pytest.fixture
def recipe(table, tmp_path):
    def make(kind, *overrides):
        name, settings = METHODS[kind]
        path = tmp_path / "prior.toml"
        path.write_text(TOML.format(path=table.path, kind=kind, name=name, settings=settings))
        return read(path, overrides)

    return make


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_runs_from_its_recipe_to_a_model_that_sees(kind, recipe, tmp_path):
    result = run(recipe(kind), tmp_path / "run")
    bundle = load(result.model)
    assert architecture_of(bundle.model.config) == bundle.task == kind
    assert {"all/loss"} <= result.measures.keys() or {"all/i2t_r1", "all/t2i_r10"} <= result.measures.keys()
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    model = limner.load(result.model)
    vector = model.encode_image(tmp_path / "red.png").vectors
    assert vector.shape == (4,) if kind == "convirt" else vector.ndim == 1
    if kind in ("convirt", "ngrams"):
        found = model.classify(tmp_path / "red.png", labels=["red", "blue"])
        assert sorted(one.label for one in found) == ["blue", "red"]
    again = run(
        recipe(kind, f'model.start="{result.out}"', "model.settings={}", "model.image_size=0"), tmp_path / "2"
    )
    assert load(again.model).tokenizer.to_json() == bundle.tokenizer.to_json()
    assert load(again.model).labels == bundle.labels


def test_a_dictionary_travels_with_its_model_and_says_what_it_does_not_know(recipe, tmp_path):
    result = run(recipe("ngrams", "objective.min_count=1", "train.steps=1"), tmp_path / "run")
    model = limner.load(result.model)
    assert isinstance(model.tokenizer, NGramDictionary)
    assert "red beside blue" in model.tokenizer.ngrams
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    with pytest.raises(DataError, match="'zebra'"):
        model.classify(tmp_path / "red.png", labels=["red", "zebra"])


def test_a_model_of_another_method_is_refused(recipe, tmp_path):
    with pytest.raises(ConfigError, match=r"is a VirTex, and objective\.kind is 'convirt'") as caught:
        run(recipe("virtex", 'objective.kind="convirt"'), tmp_path / "run")
    assert 'model.name="convirt_resnet50"' in str(caught.value)
    assert len(PRIORS) == len(METHODS)
