import json

import pytest
import torch
from safetensors.torch import load_file

from limner.checkpoint import save_bundle
from limner.models import build
from limner.models.blip import BLIPConfig
from limner.models.vit_config import ViTConfig
from limner.shapes import ImageSpec

SIZES = ViTConfig(image_size=32, patch_size=16, width=64, depth=1, num_heads=1, mlp_dim=256, num_classes=3)


@pytest.fixture
def vit(tmp_path):
    """A small ViT as a bundle."""
    return save_bundle(tmp_path / "vit", build(SIZES), "", SIZES, ImageSpec(size=32), labels=("a", "b", "c"))


def test_there_and_back_is_the_same(limner, vit, tmp_path):
    there = limner("convert", vit, tmp_path / "hf", "--to", "hf")
    assert there.exit_code == 0
    assert there.stdout.startswith(f"{tmp_path / 'hf'}: vit as hf, config.json, model.safetensors")
    assert limner("convert", tmp_path / "hf", tmp_path / "back").exit_code == 0
    first, last = (load_file(folder / "model.safetensors") for folder in (vit, tmp_path / "back"))
    assert first.keys() == last.keys()
    assert all(torch.equal(first[key], last[key]) for key in first)


def test_json_names_the_files_and_what_was_lost(limner, vit, tmp_path):
    result = limner("convert", vit, tmp_path / "tv", "--to", "torchvision", "--json")
    told = json.loads(result.stdout)
    assert told["files"] == ["model.safetensors"]
    assert (told["path"], told["to"]) == (str(tmp_path / "tv"), "torchvision")
    assert any("labels" in note for note in told["notes"])
    assert "note: " in result.stderr


def test_what_is_there_stays_unless_forced(limner, vit, tmp_path):
    assert limner("convert", vit, tmp_path / "m", "--to", "timm").exit_code == 0
    again = limner("convert", vit, tmp_path / "m", "--to", "hf")
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert limner("convert", vit, tmp_path / "m", "--to", "hf", "--force").exit_code == 0


def test_a_format_that_cannot_hold_it_names_those_that_can(limner, tmp_path):
    result = limner("convert", "limner_tiny", tmp_path / "m", "--to", "salesforce")
    assert result.exit_code == 2
    assert "cannot be written as salesforce" in result.stderr
    assert "--to limner" in result.stderr
    assert not (tmp_path / "m").exists()


def test_half_precision_and_another_size(limner, vit, tmp_path):
    arguments = ("--to", "timm", "--dtype", "fp16", "--image-size", "64")
    assert limner("convert", vit, tmp_path / "m", *arguments).exit_code == 0
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    assert tensors["head.weight"].dtype == torch.float16
    assert tensors["pos_embed"].shape[1] == 17


def test_ctrl_c_leaves_nothing(limner, vit, monkeypatch, tmp_path):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.convert.saving.write_safetensors", interrupted)
    result = limner("convert", vit, tmp_path / "m", "--to", "timm")
    assert result.exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]


@pytest.mark.parametrize("heads", [("lm",), ("itc", "itm")])
def test_a_pickle_of_blips_authors_works_where_limners_own_models_do(limner, tmp_path, photos, heads):
    vision = {"image_size": 32, "patch_size": 16, "width": 64, "depth": 1, "num_heads": 1, "mlp_dim": 64}
    text = {"vocab_size": 30524, "width": 64, "depth": 1, "num_heads": 1, "mlp_dim": 64, "memory_width": 64}
    config = BLIPConfig.model_validate({"vision": vision, "text": text, "heads": heads})
    own = save_bundle(tmp_path / "own", build(config), "", config, ImageSpec(size=32))
    assert limner("convert", own, tmp_path / "there", "--to", "salesforce").exit_code == 0
    path = tmp_path / "model_base_mine.pth"
    torch.save({"model": load_file(tmp_path / "there" / "model.safetensors"), "epoch": 3}, path)
    (photos / "more" / "cut.png").unlink()
    if heads == ("lm",):
        told = json.loads(limner("caption", photos / "p0.png", "--model", path, "--json").stdout)
        assert told[0]["problem"] is None
    else:
        found = limner("search", "an owl", "--data", photos, "--model", path, "-k", "2", "--json")
        assert len(json.loads(found.stdout)) == 2


def test_a_model_that_is_not_there_or_of_another_kind_is_told(limner, vit, photos):
    refused = limner("caption", photos / "p0.png", "--model", "nowhere.pth")
    assert refused.exit_code == 2
    assert "'nowhere.pth' does not exist" in refused.stderr
    refused = limner("caption", photos / "p0.png", "--model", vit)
    assert refused.exit_code == 2
    assert "is a vit, which does not read pictures and texts together" in refused.stderr
    assert "--model limner_tiny" in refused.stderr
