import shutil
import signal

import pytest
import torch

from limner.checkpoint import load, train_state_folders
from limner.errors import CheckpointError, ConfigError
from limner.recipe import compose, read, resolve, run
from limner.record import read_records


def test_a_run_leaves_a_model_and_all_that_led_to_it(make_recipe, tmp_path):
    lines = []
    recipe = make_recipe()
    result = run(recipe, tmp_path / "run", report=lines.append, card="# squares")
    assert (result.reason, result.step, result.steps) == ("finished", 3, 3)
    assert result.model == tmp_path / "run" / "model"
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"recipe.toml", "records.jsonl", "checkpoints", "model"}
    bundle = load(result.model)
    assert (result.model / "README.md").read_text() == "# squares"
    resolved = read(tmp_path / "run" / "recipe.toml")
    assert resolved.digest == result.digest
    assert bundle.recipe == resolved.model_dump(mode="json")
    assert bundle.model.config.text.vocab_size == bundle.tokenizer.vocab_size
    assert bundle.model.config.sep_id == bundle.tokenizer.sep_id
    first = read_records(tmp_path / "run" / "records.jsonl")[0]
    assert (first["kind"], first["digest"]) == ("run", result.digest)
    assert first["derived"]["samples"] == 12
    assert first["derived"]["rows"] == 20
    assert first["derived"]["epochs"] == 0.6
    assert first["derived"]["parameters"] == sum(p.numel() for p in bundle.model.parameters())
    assert {"torch", "threads", "device", "python"} <= first["machine"].keys()
    assert any(line.startswith(f"run {result.digest}  parameters") for line in lines)
    assert result.hint == f"limner caption PATH --model {tmp_path / 'run'}"


def test_the_shipped_weights_are_the_average(make_recipe, tmp_path):
    result = run(make_recipe(), tmp_path / "run")
    state = train_state_folders(tmp_path / "run" / "checkpoints")[-1]
    assert (state / "average.safetensors").read_bytes() == (result.model / "model.safetensors").read_bytes()


def test_the_table_version_is_pinned(make_recipe, tmp_path, table):
    run(make_recipe(), tmp_path / "run")
    assert read(tmp_path / "run" / "recipe.toml").data.sources[0].version == table.version


def test_an_interrupted_run_says_how_to_go_on_and_does(make_recipe, tmp_path):
    def interrupt(line):
        if line.startswith("step       1/"):
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "run"
    result = run(make_recipe(), out, report=interrupt)
    assert (result.reason, result.step, result.model) == ("SIGINT", 2, None)
    assert result.hint == f"limner train {out / 'recipe.toml'} --out {out} --resume"
    result = run(read(out / "recipe.toml", ["machine.max_minutes=5"]), out, resume=True)
    assert (result.reason, result.step) == ("finished", 3)
    whole = run(make_recipe(), tmp_path / "whole")
    assert load(whole.model).digest == load(result.model).digest


def test_resuming_a_finished_run_changes_no_weight(make_recipe, tmp_path):
    first = run(make_recipe(), tmp_path / "run")
    digest = load(first.model).digest
    again = run(make_recipe(), tmp_path / "run", resume=True)
    assert again.reason == "finished"
    assert load(again.model).digest == digest


def test_a_folder_in_use_is_left_alone(make_recipe, tmp_path):
    out = tmp_path / "run"
    run(make_recipe(), out)
    with pytest.raises(ConfigError, match="holds this very run") as raised:
        run(make_recipe(), out)
    assert "--resume" in str(raised.value)
    with pytest.raises(ConfigError, match=r"holds run .* and this recipe is") as raised:
        run(make_recipe("optim.lr=0.5"), out, resume=True)
    assert f"--out {out}-" in str(raised.value)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no run"):
        run(make_recipe(), tmp_path / "mine")


def test_a_recipe_that_cannot_be_composed_leaves_nothing(make_recipe, tmp_path):
    recipe = make_recipe('model.name="resnet18"', "model.settings={}")
    with pytest.raises(ConfigError, match=r"is a ResNet, and objective.kind is 'blip'(?s:.*)wanted: a BLIP"):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_sizes_are_named(make_recipe, tmp_path):
    with pytest.raises(ConfigError, match="text: width 16 is not divisible by num_heads 3"):
        run(make_recipe("model.settings.text.num_heads=3"), tmp_path / "run")


def test_a_start_gives_weights_sizes_and_vocabulary(make_recipe, tmp_path):
    first = run(make_recipe(), tmp_path / "first")
    tuned = make_recipe("model.settings={}", f'model.start="{first.out}"', "train.steps=1", "optim.lr=1e-9")
    second = run(tuned, tmp_path / "second")
    before, after = load(first.model), load(second.model)
    assert after.tokenizer.to_json() == before.tokenizer.to_json()
    assert after.model.config == before.model.config
    for name, weight in before.model.named_parameters():
        torch.testing.assert_close(after.model.get_parameter(name), weight, rtol=0, atol=1e-6)


def test_a_start_whose_weights_changed_is_refused(make_recipe, tmp_path):
    first = run(make_recipe(), tmp_path / "first")
    tuned = resolve(make_recipe("model.settings={}", f'model.start="{first.out}"'))
    assert tuned.model.start_digest == load(first.out).digest
    assert resolve(tuned) == tuned
    other = run(make_recipe("train.seed=1"), tmp_path / "other")
    shutil.copytree(other.model, first.model, dirs_exist_ok=True)
    with pytest.raises(ConfigError, match="has the weights"):
        run(tuned, tmp_path / "second")


def test_held_out_scenes_are_measured_on_the_average(make_recipe, tmp_path, monkeypatch):
    calls = []

    def suite(bundle, settings, start, count, how):
        calls.append((bundle.tokenizer.vocab_size, settings.seed, start, count, how.candidates))
        return {"auroc": 0.5, "openmoji/auroc": 0.25}

    monkeypatch.setattr("limner.recipe.measures.scenes_suite", suite)
    recipe = make_recipe(
        "evaluate.count=9", "evaluate.start=3", "evaluate.suite.candidates=7", "train.evaluate_every=2"
    )
    result = run(recipe, tmp_path / "run")
    assert [call[1:] for call in calls] == [(1, 3, 9, 7)] * 2
    assert result.measures == {"scenes/auroc": 0.5, "scenes/openmoji/auroc": 0.25}


def test_threads_are_set(make_recipe, tmp_path):
    before = torch.get_num_threads()
    try:
        run(make_recipe("machine.threads=2", "train.steps=1"), tmp_path / "run")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_workers_change_no_bit(make_recipe, tmp_path):
    one = run(make_recipe("machine.workers=0"), tmp_path / "one")
    two = run(make_recipe("machine.workers=1"), tmp_path / "two")
    assert load(one.model).digest == load(two.model).digest


def test_a_batch_that_processes_cannot_share_is_refused(make_recipe, monkeypatch):
    monkeypatch.setattr("limner.recipe.runner.ranks.size", lambda: 3)
    monkeypatch.setattr("limner.recipe.runner.ranks.rank", lambda: 0)
    with pytest.raises(ConfigError, match=r"train\.batch_size 4 on 3 processes") as caught:
        compose(resolve(make_recipe()))
    assert "--set train.batch_size=3" in str(caught.value)


def test_auto_precision_is_settled_when_the_run_starts_and_emulation_is_told(
    make_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr("limner.train.precision.cpu_has_bf16", lambda: False)
    lines = []
    result = run(make_recipe("train.precision=auto", "train.steps=1"), tmp_path / "auto", report=lines.append)
    assert read(result.out / "recipe.toml").train.precision == "fp32"
    assert result.digest == resolve(make_recipe("train.steps=1")).digest
    assert not any("emulated" in line for line in lines)
    run(make_recipe("train.precision=bf16", "train.steps=1"), tmp_path / "bf16", report=lines.append)
    assert any("bf16 is emulated" in line for line in lines)


def test_a_lost_machine_costs_nothing_with_a_mirror(make_recipe, tmp_path):
    place = f'machine.mirror="file://{tmp_path}/there"'
    first = run(make_recipe(place), tmp_path / "one")
    assert first.digest == resolve(make_recipe()).digest
    shutil.rmtree(tmp_path / "one")
    again = run(make_recipe(place), tmp_path / "other", resume=True)
    assert (again.reason, again.step) == ("finished", 3)
    assert again.measures == first.measures
    assert load(tmp_path / "there" / "model").digest == load(again.model).digest
    with pytest.raises(CheckpointError, match="holds run"):
        run(make_recipe(place, "optim.lr=0.5"), tmp_path / "third")
    assert not (tmp_path / "third").exists()
