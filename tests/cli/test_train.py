import json
import subprocess
import sys
import tomllib

import pytest

from limner.cli.train import find_recipe, read_recipe, say_columns, table_source, with_captions
from limner.config import build
from limner.data.table import Table
from limner.errors import ConfigError
from limner.recipe import Recipe

RECIPE = """
[model]
start = "{start}"
[[data.sources]]
kind = "table"
path = "{table}"
[objective]
teacher = "none"
queue_size = 0
[train]
steps = 4
batch_size = 2
log_every = 1
[evaluate]
count = 0
"""


@pytest.fixture
def table(limner, photos, tmp_path):
    (photos / "pairs.csv").write_text(
        "filepath,caption\n" + "".join(f"p{i}.png,a ball {i}\n" for i in range(4))
    )
    path = tmp_path / "pairs.lance"
    assert limner("import", photos / "pairs.csv", "--out", path).exit_code == 0
    return path


@pytest.fixture
def recipe(table, model_folder, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.format(start=model_folder, table=table))
    return path


def test_a_recipe_gives_a_run_with_a_model_and_a_page(limner, recipe, photos, tmp_path):
    out = tmp_path / "run"
    result = limner("train", recipe, "--out", out, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["reason"], told["step"]) == ("finished", 4)
    assert "Training curve of loss" in (out / "report.html").read_text(encoding="utf-8")
    assert limner("caption", photos / "p0.png", "--model", out).exit_code == 0


def test_a_strict_run_ends_at_its_first_alarm(limner, recipe, tmp_path):
    wild = ("train", recipe, "--set", "optim.lr=1e30")
    loose = limner(*wild, "--out", tmp_path / "loose")
    assert (loose.exit_code, "alarm: step" in loose.stderr) == (0, True)
    strict = limner(*wild, "--out", tmp_path / "strict", "--strict")
    assert strict.exit_code == 2
    assert "1 in a row" in strict.stderr
    assert not (tmp_path / "strict" / "model").exists()


def test_a_run_goes_on_only_when_asked(limner, recipe, tmp_path):
    out = tmp_path / "run"
    assert limner("train", recipe, "--out", out, "--set", "train.checkpoint_every=2").exit_code == 0
    again = limner("train", recipe, "--out", out, "--set", "train.checkpoint_every=2")
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    assert (
        limner("train", recipe, "--out", out, "--set", "train.checkpoint_every=2", "--resume").exit_code == 0
    )


def test_data_takes_the_place_of_the_recipes_sources(limner, table, model_folder, capsys):
    limner("capfilt", table)
    plan = read_recipe("limner_tiny", [f"{table}=2"], str(model_folder), [])
    [source] = plan.data.sources
    assert (source.path, source.texts_column, source.weight) == (str(table), "texts_bootstrapped", 2.0)
    assert plan.evaluate.count == 0
    assert plan.model.start == str(model_folder)
    say_columns(plan)
    assert capsys.readouterr().err == f"{table}: reading the column texts_bootstrapped\n"
    say_columns(with_captions(plan, "web"))
    assert capsys.readouterr().err == f"{table}: reading the column texts\n"


def test_a_dry_run_measures_and_leaves_nothing(limner, recipe, tmp_path):
    out = tmp_path / "run"
    result = limner("train", recipe, "--out", out, "--dry-run")
    assert result.exit_code == 0
    head = [line for line in result.stdout.splitlines() if line.startswith("# ")]
    for word in ("run ", "memory a device:", "activations", "GFLOP a sample", "h an epoch", "disk:"):
        assert any(word in line for line in head), word
    assert build(tomllib.loads(result.stdout), Recipe, "stdout").train.steps == 4
    told = json.loads(limner("train", recipe, "--out", out, "--dry-run", "--json").stdout)
    assert told["hours"] == pytest.approx(told["seconds_per_step"] * 4 / 3600)
    assert told["memory_total"] == sum(told["memory"].values())
    assert not out.exists()


@pytest.mark.slow
def test_two_processes_share_a_run(table, model_folder, recipe, tmp_path):
    """--gpus starts them; on processors here. The first alone talks, and one model comes out."""
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "limner",
        "train",
        str(recipe),
        "--out",
        str(out),
        "--gpus",
        "2",
        "--json",
    ]
    ended = subprocess.run(
        [*command, "--set", 'machine.device="cpu"'], capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["reason"] == "finished"
    assert ended.stderr.count("  ranks 2") == 1
    assert (out / "model" / "model.safetensors").is_file()


def test_shipped_recipes_are_found_by_name():
    assert find_recipe("limner_tiny").name == "limner_tiny.toml"
    with pytest.raises(ConfigError, match=r"(?s)no recipe 'nonsense'.*limner_tiny"):
        find_recipe("nonsense")


@pytest.mark.parametrize("weight", ["0", "-1", "much"])
def test_a_weight_must_be_a_number_above_0(table, weight):
    with pytest.raises(ConfigError, match="weight above 0"):
        table_source(f"{table}={weight}")


def test_a_missing_table_is_named(limner, recipe, tmp_path):
    result = limner("train", recipe, "--data", tmp_path / "none.lance", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "none.lance does not exist" in result.stderr


def test_ctrl_c_saves_and_says_how_to_go_on(limner, recipe, tmp_path, monkeypatch):
    import signal

    from limner.train import run as training

    log = training.Run.log

    def interrupted(*arguments: object) -> object:
        monkeypatch.setattr(training.Run, "log", log)
        signal.raise_signal(signal.SIGINT)
        return log(*arguments)

    out = tmp_path / "run"
    monkeypatch.setattr(training.Run, "log", interrupted)
    result = limner("train", recipe, "--out", out)
    assert result.exit_code == 0  # what was asked for is done, and saved
    assert "saved at step" in result.stderr
    assert "--resume" in result.stderr
    resumed = limner("train", recipe, "--out", out, "--resume", "--json")
    assert json.loads(resumed.stdout)["reason"] == "finished"


def test_tables_keep_their_rows(limner, recipe, table, tmp_path):
    version = Table.open(table).version
    limner("train", recipe, "--out", tmp_path / "run")
    assert Table.open(table).version == version


@pytest.mark.parametrize(
    ("which", "column"),
    [
        ("bootstrapped", "texts_bootstrapped"),
        ("web", "texts"),
        ("synthetic", "synthetic"),
        ("kept-web", "texts_kept"),
    ],
)
def test_captions_of_a_cleaned_table_are_chosen_by_name(limner, recipe, table, tmp_path, which, column):
    limner("capfilt", table, "--threshold", 0)
    out = tmp_path / which
    assert limner("train", recipe, "--captions", which, "--out", out).exit_code == 0
    [source] = tomllib.loads((out / "recipe.toml").read_text())["data"]["sources"]
    assert (source["texts_column"], source["version"]) == (column, Table.open(table).version)


def test_captions_of_a_table_that_was_never_cleaned_are_refused(limner, recipe, tmp_path):
    result = limner("train", recipe, "--captions", "bootstrapped", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "never cleaned" in result.stderr
    assert "limner capfilt" in result.stderr
    scenes = limner("train", "limner_tiny", "--captions", "web", "--out", tmp_path / "run")
    assert scenes.exit_code == 2


def test_a_view_is_trained_on_at_the_version_it_names(limner, table, recipe, model_folder, tmp_path):
    view = tmp_path / "views" / "cleaned.toml"
    told = json.loads(limner("capfilt", table, "--threshold", 0, "--as-view", view, "--json").stdout)
    assert told["view"] == str(view)
    limner("capfilt", table, "--threshold", 1)
    plan = read_recipe(str(recipe), [f"{view}=2"], str(model_folder), [])
    [source] = plan.data.sources
    assert Table.open(source.path).path.resolve() == table.resolve()
    assert (source.version, source.weight) == (told["version"], 2.0)
    assert (source.texts_column, source.captions) == ("texts_bootstrapped", "all")
    assert limner("train", recipe, "--data", view, "--out", tmp_path / "run").exit_code == 0
