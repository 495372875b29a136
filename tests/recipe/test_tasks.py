"""A run of each kind of objective, from a recipe to a bundle that opens."""

import shlex

import pytest
import torch
from PIL import Image

from limner.checkpoint import load
from limner.errors import ConfigError
from limner.models.clip import CLIP
from limner.models.masked_patch import MaskedPatch
from limner.models.resnet import ResNet
from limner.models.vit import ViT
from limner.recipe import read, resolve, run
from limner.recipe.tasks import task_of
from limner.record import read_records
from limner.train.watch import silent

HEAD = """
[[data.sources]]
kind = "table"
path = "{path}"
[evaluate]
count = 0
[[evaluate.tables]]
path = "{path}"
name = "all"
[train]
steps = 3
batch_size = 4
log_every = 1
[optim]
warmup_steps = 1
"""
CLASSES = """
[objective]
kind = "classification"
label_smoothing = 0.1
[model]
name = "{name}"
image_size = 16
"""
VIT = "settings = { patch_size = 4, width = 16, depth = 1, num_heads = 2, mlp_dim = 32 }"
CLIP_TOML = """
[objective]
kind = "contrastive"
[tokenizer]
vocab_size = 600
[data]
max_tokens = 16
[model]
name = "clip_vit_b32"
image_size = 16
[model.settings]
embed_dim = 8
vision = { patch_size = 4, width = 16, depth = 1, num_heads = 2, mlp_dim = 32 }
text = { width = 16, depth = 1, num_heads = 2, mlp_dim = 32 }
"""
MASKED = """
[objective]
kind = "masked_patch"
[model]
name = "masked_patch_b16"
image_size = 16
settings = { vision = { patch_size = 4, width = 16, depth = 1, num_heads = 2, mlp_dim = 32 } }
"""


@pytest.fixture
def write(table, tmp_path):
    """Read a recipe made of a head and a tail; `[data]` of the tail joins that of the head."""

    def make(tail, *overrides):
        path = tmp_path / "kind.toml"
        head = HEAD.format(path=table.path)
        if "[data]" in tail:
            tail = tail.replace("[data]\nmax_tokens = 16\n", "")
            overrides = ("data.max_tokens=16", *overrides)
        path.write_text(head + tail, encoding="utf-8")
        return read(path, overrides)

    return make


def use(result, folder):
    """Run what the card of a model and the hint of its run tell to type."""
    Image.new("RGB", (20, 20), "red").save(folder / "picture.jpg")
    card = (result.model / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0].replace("THIS FOLDER", str(result.model))
    exec(code.replace("picture.jpg", str(folder / "picture.jpg")), {})
    if result.hint.startswith("python -c"):
        code = shlex.split(result.hint)[2].replace("PICTURE", str(folder / "picture.jpg"))
        exec(code, {})


@pytest.mark.parametrize(("name", "kind"), [("cifar_resnet20", ResNet), ("vit_ti16", ViT)])
def test_classes_of_the_table_are_learnt_and_named(write, tmp_path, name, kind):
    tail = CLASSES.format(name=name) + (VIT if kind is ViT else "")
    recipe = write(tail)
    result = run(recipe, tmp_path / "run")
    bundle = load(result.model)
    assert isinstance(bundle.model, kind)
    assert bundle.labels == ("black", "blue", "green", "red", "white")
    assert (bundle.task, bundle.image_spec.size) == ("classification", 16)
    assert bundle.model(torch.zeros(1, 3, 16, 16)).logits.shape == (1, 5)
    assert result.measures.keys() == {"all/top1", "all/loss"}
    resolved = read(tmp_path / "run" / "recipe.toml")
    assert resolved.data.labels == bundle.labels
    assert resolved.evaluate.tables[0].version == resolved.data.sources[0].version
    assert resolved.digest == result.digest
    assert "classify" in result.hint
    assert str(tmp_path / "run") in result.hint
    use(result, tmp_path)


def test_clip_reads_the_first_of_its_own_merges(write, tmp_path):
    result = run(write(CLIP_TOML), tmp_path / "run")
    bundle = load(result.model)
    assert isinstance(bundle.model, CLIP)
    assert bundle.tokenizer.vocab_size == bundle.model.config.text.vocab_size == 600
    assert bundle.model.config.text.context_length == 16
    assert {"all/i2t_r1", "all/t2i_r10", "all/r_mean"} <= result.measures.keys()
    embeds = bundle.model.encode_text(bundle.tokenizer.encode_batch(["red beside blue"])[0])
    assert embeds.shape == (1, 8)
    use(result, tmp_path)


def test_masked_patches_need_neither_texts_nor_labels(write, tmp_path):
    result = run(write(MASKED, "evaluate.tables=[]"), tmp_path / "run")
    assert isinstance(load(result.model).model, MaskedPatch)
    assert read_records(result.out / "records.jsonl", "train")[-1]["terms"].keys() == {"masked_patch"}
    use(result, tmp_path)


def test_a_start_with_other_classes_gets_a_new_head_and_another_size(write, tmp_path):
    first = run(write(CLASSES.format(name="vit_ti16") + VIT), tmp_path / "first")
    tail = '[objective]\nkind = "classification"\n'
    tuned = resolve(write(tail, f'model.start="{first.out}"', "model.image_size=24"))
    same = task_of(tuned, silent)
    assert same.spec.size == same.config.image_size == 24
    assert torch.equal(same.model.head.weight, load(first.model).model.head.weight)
    fewer = tuned.model_copy(update={"data": tuned.data.model_copy(update={"labels": ("blue", "red")})})
    lines = []
    task = task_of(fewer, lines.append)
    assert task.config.num_classes == 2
    assert not task.model.head.weight.any()
    assert lines == ["a new head for 2 classes"]


def test_a_resnet_gets_a_new_head_too(write, tmp_path):
    first = run(write(CLASSES.format(name="cifar_resnet20"), "train.steps=1"), tmp_path / "first")
    recipe = write('[objective]\nkind = "classification"\n', f'model.start="{first.out}"')
    recipe = resolve(
        recipe.model_copy(update={"data": recipe.data.model_copy(update={"labels": ("a", "b")})})
    )
    task = task_of(recipe, silent)
    assert task.model(torch.zeros(1, 3, 16, 16)).logits.shape == (1, 2)
    assert torch.equal(task.model.conv1.weight, load(first.model).model.conv1.weight)


@pytest.mark.parametrize(
    ("tail", "overrides", "message"),
    [
        (CLASSES.format(name="blip_base"), (), "is a BLIP, and objective.kind is 'classification'"),
        (CLIP_TOML, ('model.name="resnet50"', "model.settings={}"), "is a ResNet, and objective.kind"),
        (MASKED, ("train.micro_batch=2", 'objective={kind="contrastive"}'), "set objective.part instead"),
        (
            MASKED,
            ("train.micro_batch=2", 'objective={kind="convirt"}'),
            "every pair.*train.batch_size instead",
        ),
        *[
            (MASKED, ("train.micro_batch=2", f'objective={{kind="{kind}"}}'), f"a {kind} loss is a mean over")
            for kind in ("bag_of_words", "ngrams", "virtex", "icmlm")
        ],
        (MASKED, ('objective.kind="guessing"',), "guessing"),
        (CLASSES.format(name="cifar_resnet20"), ("train.patience=2",), "needs train.best"),
        (CLASSES.format(name="cifar_resnet20"), ("model.image_size=4",), "image_size|size"),
    ],
)
def test_what_does_not_go_together_is_said(write, tmp_path, tail, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run(write(tail, *overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_table_without_labels_is_refused(write, table):
    recipe = write(CLASSES.format(name="cifar_resnet20"), "data.sources=[{kind='emoji'}]")
    with pytest.raises(ConfigError, match="source of kind 'emoji' for classes"):
        resolve(recipe)
    recipe = write(CLASSES.format(name="cifar_resnet20"))
    one = recipe.data.sources[0].model_copy(update={"where": "label = 'red'"})
    data = recipe.data.model_copy(update={"sources": (one,)})
    with pytest.raises(ConfigError, match=r"1 class\(es\) in the label column"):
        resolve(recipe.model_copy(update={"data": data}))


def test_a_captioner_learns_captions_alone(make_recipe, tmp_path):
    heads = 'model.settings.heads=["lm"]'
    with pytest.raises(ConfigError, match="cannot learn itc, itm") as caught:
        run(make_recipe(heads), tmp_path / "run")
    assert "--set objective.itc=0 --set objective.itm=0" in str(caught.value)
    left = ("objective.itc=0", "objective.itm=0", 'objective.teacher="none"')
    result = run(make_recipe(heads, *left), tmp_path / "run")
    assert load(result.model).model.config.heads == ("lm",)
    assert read_records(result.out / "records.jsonl", "train")[-1]["terms"].keys() == {"lm", "qa"}


def test_what_masked_patches_taught_starts_a_classifier(write, tmp_path):
    taught = run(write(MASKED, "evaluate.tables=[]"), tmp_path / "masked")
    sizes = (VIT.replace("settings = ", "model.settings="), "model.image_size=24", "optim.lr=1e-9")
    recipe = write(CLASSES.format(name="vit_ti16"), *sizes, f'model.vision_start="{taught.out}"')
    model = load(run(recipe, tmp_path / "run").model).model
    before = load(taught.model).model.vision
    torch.testing.assert_close(
        model.blocks[0].attn.qkv.weight, before.blocks[0].attn.qkv.weight, atol=1e-6, rtol=0
    )
    assert model.pos_embed.shape[1] == 37  # from 4 by 4 patches to 6 by 6
    assert model.head.out_features == 5
