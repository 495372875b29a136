import json
import sys

import pytest
import torch

from limner.cli.inspect import show
from limner.convert.weights import write_safetensors
from limner.models import build, entry


@pytest.fixture
def weights(tmp_path):
    """The weights of a small residual network, in torchvision's keys."""
    config = entry("cifar_resnet20").config.model_copy(update={"num_classes": 10})
    state = build(config).state_dict()
    return write_safetensors(tmp_path / "small.safetensors", state)


def test_it_says_what_the_default_model_is(limner):
    result = limner("inspect", "limner_tiny")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert result.exit_code == 0
    assert "(blip)" in lines["model"]
    assert lines["layout"] == "limner, safetensors"
    assert lines["tokenizer"].startswith("WordPiece, ")
    assert lines["tensors"].endswith(" parameters")
    assert lines["pictures"].startswith("64 px, squashed, bicubic")


def test_it_says_what_a_file_is(limner, weights):
    result = limner("inspect", weights)
    assert result.exit_code == 0
    assert "cifar_resnet20 (resnet)" in result.stdout
    assert "269,722 parameters" in result.stdout
    assert "depths 3×3×3" in result.stdout
    assert "note " in result.stdout


def test_json_holds_everything(limner, weights):
    found = json.loads(limner("inspect", weights, "--json").stdout)
    assert (found["opens"], found["problem"]) == (True, None)
    assert {"family", "variant", "dialect", "container", "task", "dtypes", "bytes", "sizes"} <= found.keys()
    assert {"parameters", "pictures", "tokenizer", "labels", "missing", "unused", "notes"} <= found.keys()
    assert (found["family"], found["variant"]) == ("resnet", "cifar_resnet20")
    assert len(found["sha256"]) == 64


def test_keys_that_do_not_fit_are_named_and_end_with_1(limner, weights, tmp_path):
    from safetensors.torch import load_file

    state = load_file(weights)
    del state["fc.bias"]
    path = write_safetensors(tmp_path / "x.safetensors", {**state, "stray.weight": torch.zeros(2)})
    result = limner("inspect", path)
    assert result.exit_code == 1
    assert "missing keys" in result.stdout
    assert "fc.bias" in result.stdout
    assert "stray.weight" in result.stdout
    assert "it does not open: 1 keys are missing, 1 have no place" in result.stderr
    found = json.loads(limner("inspect", path, "--json").stdout)
    assert (found["missing"], found["unused"], found["opens"]) == (["fc.bias"], ["stray.weight"], False)


def test_what_cannot_be_opened_ends_with_1_and_the_reason(limner, tmp_path):
    (tmp_path / "x.pth").write_text("<html>not found</html>")
    result = limner("inspect", tmp_path / "x.pth")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "a web page" in result.stderr
    result = limner("inspect", tmp_path / "x.pth", "--json")
    found = json.loads(result.stdout)
    assert found["opens"] is False
    assert "a web page" in found["problem"]["given"]
    assert found["problem"]["hint"]


def test_a_name_of_sizes_asks_for_weights(limner):
    result = limner("inspect", "ViT-B/32")
    assert result.exit_code == 1
    assert "openai:ViT-B/32" in result.stderr


def test_ctrl_c_ends_with_130(limner, monkeypatch, weights):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.convert.inspection.inspect", interrupted)
    result = limner("inspect", weights)
    assert result.exit_code == 130
    assert "nothing is left half-written" in result.stderr


def test_on_a_terminal_it_is_a_table(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show([("model", "owl [bold]"), ("a longer name", "x")])
    told = capsys.readouterr().out
    assert "owl [bold]" in told
    assert "a longer name" in told
