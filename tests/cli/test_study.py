import json

import pytest
from typer.testing import CliRunner

from limner.cli import app

SMALL = ["study", "blip", "capfilt", "--small", "--seeds", "1", "--arms", "filter"]


@pytest.fixture(scope="module")
def finished(_cache_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_CACHE", str(_cache_folder))
        return out, CliRunner().invoke(app, [*SMALL, "--out", str(out)])


def test_a_study_prints_means_beside_the_papers_and_verdicts(finished):
    out, result = finished
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[0] == "arm"
    assert any(line.split()[:1] == ["paper"] and "0.791" in line for line in lines)
    assert any("filter − none, CIDEr-D" in line and line.endswith("too small to tell") for line in lines)
    assert f"report: {out / 'report.html'}" in lines


def test_json_is_the_same_study_and_has_no_infinity(finished):
    out, _ = finished
    result = CliRunner().invoke(app, [*SMALL, "--out", str(out), "--json"])
    told = json.loads(result.stdout, parse_constant=pytest.fail)
    assert {row["arm"] for row in told["means"]} == {"none", "filter"}
    assert told["verdicts"][0]["low"] is None
    assert "reused" in result.stderr
    assert "step " not in result.stderr


def test_without_a_name_the_studies_are_listed():
    result = CliRunner().invoke(app, ["study"])
    assert result.exit_code == 0
    assert result.stdout.startswith("blip capfilt")
    (one,) = json.loads(CliRunner().invoke(app, ["study", "--json"]).stdout)
    assert one["study"] == "blip capfilt"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["blip"], "no study 'blip'"),
        (["vit", "capfilt"], "limner study lists them"),
        (["blip", "capfilt", "--arms", "nothing"], "no arm 'nothing'"),
        (["blip", "capfilt", "--set", "stepps=2"], "stepps"),
    ],
)
def test_what_is_not_there_is_named(words, said):
    result = CliRunner().invoke(app, ["study", *words])
    assert result.exit_code == 2
    assert said in result.stderr
