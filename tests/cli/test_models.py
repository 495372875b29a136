import json
import subprocess
import sys

import pytest

from limner.models import MODELS
from limner.models.sizes import table


def test_all_are_listed_with_their_size(limner):
    lines = limner("models").stdout.splitlines()
    assert len(lines) == len(MODELS) + 1
    assert lines[0].split() == ["name", "parameters", "GMACs", "px", "also", "called"]
    (line,) = [line for line in lines if line.startswith("resnet50 ")]
    assert line.split()[1:4] == ["25,557,032", f"{table()['resnet50'].gmacs:.2f}", "224"]


@pytest.mark.parametrize("pattern", ["*b16*", "B16", "vit_base_patch16_224", "ViT-B/16"])
def test_a_part_of_a_name_or_an_alias_is_enough(limner, pattern):
    names = [line.split()[0] for line in limner("models", pattern).stdout.splitlines()[1:]]
    assert names
    assert any("b16" in name for name in names)


def test_json(limner):
    (found,) = json.loads(limner("models", "clip_vit_b32", "--json").stdout)
    assert found["parameters"] == 151_277_313
    assert found["image_size"] == 224
    assert "ViT-B/32" in found["aliases"]
    assert found["gmacs"] > 4


def test_nothing_that_fits_is_an_error(limner):
    result = limner("models", "mamba")
    assert result.exit_code == 2
    assert "no model fits 'mamba'" in result.stderr


def test_no_model_is_built(monkeypatch):
    code = (
        "import torch.nn as nn\n"
        "def refuse(*_, **__): raise AssertionError('a model was built')\n"
        "from limner.cli import app\nimport limner.models\nnn.Linear.__init__ = refuse\n"
        "app(['models', '*r50*', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
