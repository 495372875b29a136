"""`limner compare`: two runs, or two models of one run."""

import json
from pathlib import Path

import pytest

from limner.record import Recorder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Results of two models on a table that is gone."""
    recorder = Recorder(tmp_path / "run" / "records.jsonl")
    (tmp_path / "run" / "samples").mkdir()
    for model, right in (("a", 0), ("b", 1)):
        lines = [{"key": f"k{n}", "truth": "cat", "score": right if n < 8 else 1} for n in range(10)]
        (tmp_path / "run" / "samples" / f"{model}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        recorder.write(
            "measure",
            id=model,
            task="zeroshot",
            model=model,
            table=str(tmp_path / "gone.lance"),
            version=1,
            measures={"top1": {"value": right, "low": 0, "high": 1}},
            samples=f"samples/{model}.jsonl",
        )
    return tmp_path / "run"


def test_two_models_of_one_run(limner, runs: Path):
    result = limner("compare", runs)
    assert result.exit_code == 0
    assert "+0.8000" in result.stdout
    assert "the second is better; 8 better, 0 worse of 10" in result.stdout
    assert "cat" not in result.stdout
    assert (runs / "compare.html").read_text().startswith("<!doctype html>")


def test_two_runs_and_named_models_as_json(limner, runs: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    found = json.loads(
        limner("compare", runs, runs, "-m", "b", "-m", "a", "--task", "zeroshot", "-o", page, "--json").stdout
    )
    assert found["page"] == str(page)
    assert found["comparisons"][0]["models"] == ["b", "a"]
    assert found["comparisons"][0]["difference"]["value"] == pytest.approx(-0.8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "a"], "two to compare"),
        (["-m", "a", "-m", "c"], "holds no result: c"),
        (["--task", "vqa"], "holds no result: vqa"),
    ],
)
def test_what_cannot_be_compared_is_told(limner, runs: Path, options: list[str], message: str):
    result = limner("compare", runs, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (runs / "compare.html").exists()


def test_no_results_are_told(limner, tmp_path: Path):
    result = limner("compare", tmp_path)
    assert result.exit_code == 2
    assert "limner" in result.stderr
