import json

import pytest

from limner.cli.quickstart import summary

LEDGER = {"rows": 2000, "kept": 1300, "replaced": 690, "dropped": 10}
AUDIT = {
    "auroc_swapped": 0.9912,
    "drop_precision": 0.981,
    "drop_recall": None,
    "pictures_correct_before": 0.65,
    "pictures_correct_after": 0.934,
    "synthetic_correct": 0.25,
    "synthetic_correct_kept": 0.4,
}


def measures(value):
    return {name: {"value": value, "low": 0, "high": 1} for name in ("i2t_r1", "t2i_r1", "cider_d", "loss")}


@pytest.fixture
def result(tmp_path):
    from limner.quickstart.flow import QuickstartResult

    gains = [
        {"measure": name, "gain": 0.1, "low": -0.05, "high": 0.25, "verdict": "within noise"}
        for name in ("i2t_r1", "t2i_r1", "cider_d", "loss")
    ]
    held_out = {"start": measures(0.5), "raw": measures(0.4), "cleaned": measures(0.5)}
    return QuickstartResult(
        tmp_path, tmp_path / "report.html", LEDGER, AUDIT, held_out, gains, {"tables": 1.5}
    )


def test_the_summary_says_what_to_remember(result):
    text = "\n".join(summary(result))
    assert "kept 1,300 · replaced 690 · dropped 10" in text
    assert "AUROC of the match score 0.991" in text
    assert "precision 98.1%, recall unknown" in text
    assert "65.0% → 93.4%" in text
    assert "within noise (95 % interval -0.050 to +0.250)" in text
    assert str(result.page) in text


def test_columns_of_the_summary_stand_under_each_other(result):
    lines = summary(result)
    start = next(i for i, line in enumerate(lines) if line.startswith("Held-out"))
    assert len({len(line) for line in lines[start : start + 5]}) == 1


@pytest.fixture
def stand_in(monkeypatch, result):
    calls = []

    def run(settings, out, teller, *, force):
        calls.append((settings, out, force))
        teller.say("a stage")
        with teller.bar("work") as progress:
            progress(1, 2)
        return result

    monkeypatch.setattr("limner.quickstart.flow.run", run)
    return calls


def test_options_reach_the_flow_and_next_steps_are_shown(limner, stand_in, tmp_path):
    done = limner("quickstart", "--out", tmp_path / "q", "--rows", 100, "--steps", 7, "--seed", 3, "--force")
    assert done.exit_code == 0
    ((settings, out, force),) = stand_in
    assert (settings.rows, settings.steps, settings.seed, force) == (100, 7, 3, True)
    assert out == tmp_path / "q"
    for verb in ("import", "caption", "search", "capfilt", "train"):
        assert f"limner {verb} " in done.stderr
    assert "only ever seen emoji-like pictures" in done.stderr
    assert "a stage" in done.stderr
    assert "a stage" not in done.stdout


def test_json_is_alone_on_stdout(limner, stand_in, tmp_path):
    told = json.loads(limner("quickstart", "--out", tmp_path / "q", "--json").stdout)
    assert told["ledger"] == LEDGER
    assert told["comparisons"][0]["verdict"] == "within noise"
    assert told["page"] == str(tmp_path / "report.html")


def test_ctrl_c_says_that_the_same_command_goes_on(limner, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.quickstart.flow.run", interrupted)
    done = limner("quickstart", "--out", tmp_path / "q")
    assert done.exit_code == 130
    assert f"finished stages are safe in {tmp_path / 'q'}; the same command goes on" in done.stderr
