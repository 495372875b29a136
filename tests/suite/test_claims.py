"""Published scores are found by any name of their file, with a command that exists."""

from pathlib import Path

import pytest

from limner.convert.public import PUBLIC
from limner.errors import CheckpointError
from limner.suite.claims import _HUB, claims_of
from limner.suite.run import settings_of
from limner.suite.tasks import TASKS


def test_a_hub_name_has_the_scores_of_its_file() -> None:
    found = {claim.expected.measure: claim for claim in claims_of("hub:openai/clip-vit-base-patch32")}
    imagenet = found["ImageNet zero-shot top-1"]
    assert imagenet.values()["expected"] == 63.32
    assert imagenet.values()["tolerance"] == 0.1
    assert "zeroshot --model hub:openai/clip-vit-base-patch32" in imagenet.command
    assert found["CIFAR-10 test zero-shot top-1"].expected.value == 91.3
    assert found["COCO 5K test image retrieval R@1 (zero-shot)"].expected.value == 30.44


def test_fine_tuned_retrieval_is_reranked() -> None:
    for claim in claims_of("salesforce:model_base_retrieval_flickr"):
        assert "--set top_k=128" in claim.command
    assert {claim.protocol.measure for claim in claims_of("salesforce:model_base_retrieval_coco")} == {
        "i2t_r1",
        "t2i_r1",
    }


def test_every_public_score_has_a_command_that_is_understood() -> None:
    found = claims_of("all")
    assert {claim.file.name for claim in found} == {name for name, file in PUBLIC.items() if file.expected}
    for claim in found:
        if claim.protocol.task in TASKS:
            settings_of([claim.protocol.task], claim.protocol.settings)
    assert set(_HUB.values()) <= set(PUBLIC)


def test_a_file_is_known_by_its_hash_and_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.pth").write_bytes(b"own")
    for name in (str(tmp_path / "own.pth"), "hub:me/mine"):
        with pytest.raises(CheckpointError, match="no published score"):
            claims_of(name)
    with pytest.raises(CheckpointError, match="nobody printed"):
        claims_of("salesforce:model_base")
