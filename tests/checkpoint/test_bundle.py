import json
import shutil
from pathlib import Path

import pytest
import torch

from limner.checkpoint import Bundle, bundle, config_name, is_bundle, load, save_bundle
from limner.data.bpe import CLIPTokenizer
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.models import MODELS
from limner.models.blip import BLIP
from limner.models.resnet import ResNet, ResNetConfig
from limner.shapes import ImageSpec

TEXTS = ["a red owl", "two fish"]


@pytest.fixture(scope="module")
def small():
    """A BLIP of the size of nothing much, with its config."""
    values = MODELS["limner_tiny"].config.model_dump()
    sizes = {"width": 16, "depth": 1, "num_heads": 2, "mlp_dim": 32}
    values["vision"] |= sizes | {"stem": (8,), "image_size": 16}
    values["text"] |= sizes | {"vocab_size": 160, "memory_width": 16, "max_positions": 16}
    config = type(MODELS["limner_tiny"].config).model_validate(values)
    torch.manual_seed(0)
    return BLIP(config), config


@pytest.fixture
def saved(small, tmp_path):
    model, config = small
    tokenizer = WordPiece.from_texts(TEXTS, 160)
    recipe = {"train": {"steps": 3}}
    parts = (tmp_path / "run" / "model", model, "limner_tiny", config, ImageSpec(size=16), tokenizer)
    return save_bundle(*parts, recipe=recipe, card="# owl")


def test_a_bundle_comes_back_bit_equal(small, saved):
    model, config = small
    found = load(saved)
    for name, weight in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], weight), name
    assert not found.model.training
    assert found.model.config == config
    assert found.name == "limner_tiny"
    assert found.image_spec == ImageSpec(size=16)
    assert found.tokenizer.encode("two fish") == WordPiece.from_texts(TEXTS, 160).encode("two fish")
    assert found.recipe == {"train": {"steps": 3}}
    assert found.path == saved
    assert len(found.digest) == 12
    names = {path.name for path in saved.iterdir()}
    assert names == {"model.safetensors", "config.json", "tokenizer.json", "README.md"}


def test_a_run_folder_is_as_good_as_its_model(saved):
    assert load(saved.parent).digest == load(str(saved)).digest


def test_the_digest_follows_the_weights(small, saved, tmp_path):
    model, config = small
    again = save_bundle(tmp_path / "again", model, "limner_tiny", config, ImageSpec(size=16))
    assert load(again).digest == load(saved).digest
    assert load(again).tokenizer is None
    half = save_bundle(tmp_path / "half", model, "limner_tiny", config, ImageSpec(size=16), dtype="fp16")
    assert load(half).digest != load(saved).digest


def test_half_precision_storage_widens_on_load(small, saved, tmp_path):
    model, config = small
    half = save_bundle(tmp_path / "half", model, "limner_tiny", config, ImageSpec(size=16), dtype="fp16")
    assert (half / "model.safetensors").stat().st_size < 0.62 * (saved / "model.safetensors").stat().st_size
    for name, weight in load(half).model.state_dict().items():
        expected = model.state_dict()[name]
        assert weight.dtype == expected.dtype
        torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-6)


def test_the_packaged_model_is_found_by_name(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "ASSETS", tmp_path / "assets")
    with pytest.raises(CheckpointError, match="'limner_tiny' does not exist"):
        load()
    shutil.copytree(saved, tmp_path / "assets" / "limner_tiny")
    assert load().path == tmp_path / "assets" / "limner_tiny"
    assert load("limner_tiny").digest == load(saved).digest


def test_a_changed_file_is_refused(saved):
    content = bytearray((saved / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not the file that was saved"):
        load(saved)


def test_a_missing_file_is_refused(saved):
    (saved / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "is format 9"),
        ({"name": "resnet1000"}, "holds a 'resnet1000'"),
        ({"sha256": None}, "is format 1"),
    ],
)
def test_a_config_of_something_else_is_refused(saved, change, message):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load(saved)


@pytest.mark.parametrize("text", ["{cut", "[1]"])
def test_a_config_that_is_no_json_object_is_refused(saved, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(saved)


def test_files_of_other_libraries_are_not_bundles_and_can_become_one(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"is no bundle[\s\S]*limner convert .*model\.pth"):
        load(tmp_path / "model.pth")


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is no bundle"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="has not ended"):
        load(tmp_path)


SIZES = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=3, stem="cifar")


def test_a_model_that_nobody_named_keeps_its_labels_and_where_it_is_from(tmp_path):
    source = {"dialect": "torchvision", "sha256": "0" * 64}
    facts = {"labels": ("owl", "fish", "猫"), "task": "classification", "source": source}
    found = load(save_bundle(tmp_path / "m", ResNet(SIZES), "", SIZES, ImageSpec(size=32), **facts))
    assert (found.name, found.kind, found.architecture) == ("", "resnet", "resnet")
    assert {"labels": found.labels, "task": found.task, "source": found.source} == facts


def test_a_bundle_from_before_the_architecture_was_written_opens(saved):
    path = saved / "config.json"
    config = json.loads(path.read_text())
    for key in ("architecture", "labels", "task", "source"):
        del config[key]
    path.write_text(json.dumps(config))
    found = load(saved)
    assert (found.architecture, found.labels, found.task, found.source) == ("blip", (), "", {})


def test_a_clip_tokenizer_comes_back(tmp_path):
    made = CLIPTokenizer.from_merges(vocab_size=600, dialect="open_clip")
    folder = save_bundle(tmp_path / "m", ResNet(SIZES), "", SIZES, ImageSpec(size=32), made)
    found = load(folder).tokenizer
    assert isinstance(found, CLIPTokenizer)
    assert found.dialect == "open_clip"
    assert found.encode("two fish") == made.encode("two fish")


def test_older_callers_need_not_know_the_new_fields():
    old = Bundle("tiny", ResNet(SIZES), ImageSpec(size=32), None, {}, "0" * 12, Path("nowhere"))
    assert (old.labels, old.architecture, old.task, old.source) == ((), "", "", {})
    with pytest.raises(CheckpointError, match="nowhere is a tiny, which does not read pictures and texts"):
        old.blip()


@pytest.mark.parametrize("name", sorted(MODELS)[::7])
def test_the_name_of_sizes_is_found_whatever_is_said_of_training(name):
    config = MODELS[name].config
    found = config_name(config)
    assert MODELS[found].config == config
    fields = type(config).model_fields
    changed = {key: 0.25 for key in ("drop_path", "dropout") if key in fields}
    assert config_name(config.model_copy(update=changed)) == found


def test_sizes_of_nobody_have_no_name():
    assert config_name(SIZES) == ""


def test_a_bundle_is_told_from_a_folder_of_another_library(saved, tmp_path):
    assert is_bundle(saved)
    assert is_bundle(saved.parent)
    assert is_bundle("limner_tiny")
    other = tmp_path / "other"
    other.mkdir()
    assert not is_bundle(other)
    for text in ('{"model_type": "vit"}', "{cut"):
        (other / "config.json").write_text(text)
        assert not is_bundle(other)
    assert not is_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("key", ["model", "image_spec", "recipe"])
def test_a_bundle_without_a_part_is_refused(saved, key):
    path = saved / "config.json"
    config = json.loads(path.read_text())
    del config[key]
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"lacks {key}"):
        load(saved)


def test_an_architecture_nobody_knows_is_refused(saved):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architecture": "mamba", "name": ""}))
    with pytest.raises(CheckpointError, match="holds a 'mamba'"):
        load(saved)
