"""A published number is measured where its data is, and what is missing is told where not."""

from pathlib import Path

import pytest

from limner.checkpoint import Bundle
from limner.suite import paper
from limner.suite.claims import claims_of
from limner.suite.paper import measure_claim


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 as if it were the 12 pictures of three classes."""
    monkeypatch.setitem(paper.SETS, "CIFAR-10", paper._Set(12, 3, "limner import"))


def test_without_data_it_says_what_is_missing(table: Path) -> None:
    (claim,) = claims_of("akamaster:resnet20")
    found = measure_claim(claim, [str(table)], "nowhere")
    assert found["status"] == "not run"
    assert "10,000 such rows" in found["said"]


@pytest.mark.usefixtures("small")
def test_with_data_it_is_measured_and_compared(table: Path, resnet, tmp_path: Path) -> None:
    (claim,) = claims_of("akamaster:resnet20")
    ours = claim._replace(model=str(resnet().path))
    missed = measure_claim(ours, [str(table)], tmp_path)
    assert (missed["status"], missed["measured"]) == ("missed", 100.0)
    holds = measure_claim(
        ours._replace(expected=claim.expected._replace(value=99.95)), [str(table)], tmp_path
    )
    assert holds["status"] == "holds"


@pytest.mark.usefixtures("small")
def test_a_model_that_cannot_is_told(table: Path, blip: Bundle, tmp_path: Path) -> None:
    (claim,) = claims_of("akamaster:resnet20")
    found = measure_claim(claim._replace(model=str(blip.path)), [str(table)], tmp_path)
    assert found["status"] == "not run"
    assert "without a classifier" in found["said"]
