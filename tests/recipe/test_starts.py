"""Towers that start from weights of their own."""

import json

import pytest
import torch

from limner.checkpoint import load
from limner.config import build
from limner.convert.bert import TextStart
from limner.convert.blip_text import tower
from limner.convert.keymap import KeyMap, write
from limner.convert.weights import write_safetensors
from limner.data.tokenizers import WordPiece
from limner.errors import ConfigError
from limner.models.bert import Bert, BertConfig
from limner.recipe import Recipe, resolve, run
from limner.recipe.schema import ModelSettings
from limner.recipe.starts import start_vision, text_start

SIZES = {"vocab_size": 40, "width": 16, "depth": 2, "num_heads": 4}


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog"]


@pytest.fixture
def bert(tmp_path):
    """The folder of a small BERT of three layers, as transformers writes it."""
    config = BertConfig(vocab_size=8, width=16, depth=3, num_heads=4, mlp_dim=24, memory_width=16)
    parts = ("embeddings", "self_attention", "mlp")
    ours = {k: v for k, v in Bert(config).state_dict().items() if k.startswith(parts)}
    folder = tmp_path / "bert"
    theirs = write(ours, KeyMap(tuple(tower(3, parts))))
    write_safetensors(folder / "model.safetensors", theirs | {"pooler.dense.bias": torch.zeros(16)})
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": 4}))
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    return folder


def test_a_blip_reads_with_the_bert_it_starts_from(make_recipe, bert, tmp_path):
    said = []
    recipe = make_recipe(
        "model.settings.text={memory_width=16, dropout=0.0, depth=2}",
        f'model.text_start="{bert}"',
        "optim.lr=1e-9",
        "train.steps=1",
    )
    result = run(recipe, tmp_path / "run", report=said.append)
    bundle = load(result.model)
    assert bundle.model.config.text.width == 16
    assert bundle.model.config.text.depth == 2
    assert bundle.tokenizer.encode("cat") == [2, 6, 3]  # BERT's ids, not grown ones
    text = "\n".join(said)
    assert "2 layers, 10 words" in text
    assert "not used: encoder.layer.2, pooler" in text
    assert "afresh: lm_head, text_encoder.cross_attention" in text
    pinned = resolve(recipe).model.text_start_digest
    assert len(pinned) == 12
    with pytest.raises(ConfigError, match=r"model\.text_start .* has the weights"):
        resolve(
            recipe.model_copy(update={"model": recipe.model.model_copy(update={"text_start_digest": "0"})})
        )


def test_sizes_of_the_text_are_the_starts(monkeypatch):
    start = TextStart(SIZES, {}, WordPiece.from_vocabulary(), [], "")
    monkeypatch.setattr("limner.recipe.starts.read_text_start", lambda name, depth: start)
    settings = {"text": {"depth": 2, "dropout": 0.1}}
    assert text_start(ModelSettings(text_start="bert", settings=settings)) is start
    with pytest.raises(ConfigError, match=r"model\.settings\.text\.width 32, and bert has 16"):
        text_start(ModelSettings(text_start="bert", settings={"text": {"width": 32}}))


def test_a_vision_tower_goes_on_from_another_model(make_recipe, tmp_path):
    first = run(make_recipe(), tmp_path / "first")
    lines = []
    recipe = make_recipe(
        f'model.vision_start="{first.out}"', "train.seed=3", "optim.lr=1e-9", "train.steps=1"
    )
    second = run(recipe, tmp_path / "second", report=lines.append)
    before, after = load(first.model).model, load(second.model).model
    for name, weight in before.vision.named_parameters():
        torch.testing.assert_close(after.vision.get_parameter(name), weight, rtol=0, atol=1e-6)
    assert not torch.allclose(after.text_proj.weight, before.text_proj.weight, atol=1e-3)
    assert any("the pictures go on from" in line for line in lines)
    larger = make_recipe(f'model.vision_start="{first.out}"', "model.image_size=96", "train.steps=1")
    assert load(run(larger, tmp_path / "larger").model).image_spec.size == 96  # positions interpolated


def test_towers_that_are_not_alike_are_refused(make_recipe, tmp_path):
    first = run(make_recipe("train.steps=1"), tmp_path / "first")
    other = make_recipe(f'model.vision_start="{first.out}"', "model.settings.vision.depth=2")
    with pytest.raises(ConfigError, match="has depth 1, this model 2"):
        run(other, tmp_path / "second")
    with pytest.raises(ConfigError, match="this model is a Linear without a ViT"):
        start_vision(torch.nn.Linear(2, 2), str(first.out), print)


@pytest.mark.parametrize(
    ("model", "objective", "message"),
    [
        ({"start": "x", "text_start": "y"}, {}, "has all towers"),
        ({"start": "x", "vision_start": "y"}, {}, "has all towers"),
        ({"text_start": "y", "name": "clip_vit_b32"}, {"kind": "contrastive"}, r'heads = \["itc"\]'),
    ],
)
def test_starts_that_do_not_go_together(model, objective, message):
    values = {"data": {"sources": [{"kind": "emoji"}]}, "train": {"steps": 5}, "model": model}
    values["objective"] = objective or {"teacher": "none"}
    with pytest.raises(ConfigError, match=message):
        build(values, Recipe, "x")
