import json

import pytest
import torch

from limner.checkpoint import load
from limner.convert.inspection import inspect
from limner.convert.saving import convert
from limner.convert.weights import write_safetensors
from limner.errors import CheckpointError


def test_the_shipped_model_is_told():
    found, bundle = inspect("limner_tiny"), load("limner_tiny")
    assert (found["family"], found["variant"], found["dialect"]) == ("blip", "limner_tiny", "limner")
    assert found["tokenizer"] == {"kind": "WordPiece", "words": bundle.tokenizer.vocab_size}
    assert found["dtypes"].keys() == {"float16", "int64"}
    assert found["parameters"] == sum(p.numel() for p in bundle.model.parameters())
    json.dumps(found)


def test_a_file_of_another_library_is_told(small_bundle, tmp_path):
    made = small_bundle("deit")._replace(labels=("a", "b", "c"))
    path = convert(made, tmp_path / "m", "hf").path
    found = inspect(path)
    assert (found["family"], found["dialect"], found["task"]) == ("vit", "hf", "classification")
    assert found["labels"] == ["a", "b", "c"]
    assert found["sizes"]["distilled"] is True
    assert found["pictures"]["size"] == 32
    assert (found["missing"], found["unused"], found["published"]) == ([], [], "")
    assert found["bytes"] == (path / "model.safetensors").stat().st_size
    assert found["parameters"] == sum(p.numel() for p in made.model.parameters())
    json.dumps(found)


def test_keys_that_do_not_fit_are_told_without_a_model(small_bundle, tmp_path):
    state = {key: t for key, t in small_bundle("vit").model.state_dict().items() if key != "norm.bias"}
    write_safetensors(tmp_path / "x.safetensors", {**state, "stray": torch.zeros(2)})
    found = inspect(tmp_path / "x.safetensors")
    assert (found["missing"], found["unused"]) == (["norm.bias"], ["stray"])


def test_a_model_that_nearly_has_a_name_is_told(tmp_path):
    from limner.models import MODELS, build

    config = MODELS["vit_ti16"].config.model_copy(update={"num_classes": 3})
    write_safetensors(tmp_path / "x.safetensors", build(config).state_dict())
    found = inspect(tmp_path / "x.safetensors")
    assert found["variant"] == ""
    assert found["like"] == {"name": "vit_ti16", "but": {"num_classes": 3}}


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"\x00" * 64)
    with pytest.raises(CheckpointError):
        inspect(tmp_path / "x.pth")
