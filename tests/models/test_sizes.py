import json
from pathlib import Path

import pytest

from limner.models import MODELS
from limner.models.sizes import TABLE, Size, measure, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
PAPERS_GMACS = {  # counted with torchvision, timm and open_clip
    "resnet18": 1.814,
    "resnet34": 3.664,
    "resnet50": 4.089,
    "resnet101": 7.801,
    "resnet152": 11.514,
    "vit_ti16": 1.254,
    "vit_s16": 4.599,
    "vit_b32": 4.409,
    "vit_b16": 17.56,
    "vit_l16": 61.55,
}


def test_every_model_stands_in_the_committed_table():
    assert list(json.loads(TABLE.read_text())) == list(MODELS)
    assert table().keys() == MODELS.keys()


@pytest.mark.parametrize(
    "name", ["resnet50", "plain18", "vit_ti16", "vit_r_ti16", "clip_rn50", "limner_tiny"]
)
def test_the_committed_size_is_the_size(name: str):
    assert measure(name) == table()[name]


@pytest.mark.slow
def test_every_committed_size_is_the_size():
    assert {name: measure(name) for name in MODELS} == table()


@pytest.mark.parametrize("name", PAPERS_GMACS)
def test_macs_are_the_published_ones(name: str):
    assert table()[name].gmacs == pytest.approx(PAPERS_GMACS[name], abs=0.006)


def test_the_page_shows_the_table():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    shown = {row.split("`")[1]: row.split(" | ")[1:3] for row in rows}
    assert shown == {name: [f"{s.parameters:,}", f"{s.gmacs:.2f}"] for name, s in table().items()}
    assert Size(*next(iter(table().values()))) == table()["resnet18"]
