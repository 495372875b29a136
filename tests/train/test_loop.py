import json
import math
import signal
import sys

import pytest
import torch

from limner.checkpoint import load_train_state, train_state_folders
from limner.errors import TrainingError
from limner.record import read_records
from limner.train.loop import train
from limner.train.steps import ObjectiveSettings, StepResult


def states(out):
    return [load_train_state(folder) for folder in train_state_folders(out / "checkpoints")]


def assert_same(one, other):
    """Bit-equal in everything a run holds."""
    assert one.step == other.step
    assert one.tensors.keys() == other.tensors.keys()
    for stem, tensors in one.tensors.items():
        assert tensors.keys() == other.tensors[stem].keys()
        unequal = [
            name for name, tensor in tensors.items() if not torch.equal(tensor, other.tensors[stem][name])
        ]
        assert unequal == [], stem
    times = {"seconds", "peak_rss"}
    assert {k: v for k, v in one.facts.items() if k not in times} == {
        k: v for k, v in other.facts.items() if k not in times
    }


def interrupt_at(step, number=signal.SIGINT):
    """A reporter that raises a signal when the line of a step is shown."""

    def report(line):
        if line.startswith("step") and int(line.split()[1].split("/")[0]) == step:
            signal.raise_signal(number)

    return report


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed_ends_bit_equal(make_job, tmp_path, number):
    """Teacher, queue, dropout and average are all on; the run crosses an epoch."""
    whole = train(make_job(), tmp_path / "whole")
    assert (whole.reason, whole.step) == ("finished", 8)

    stopped = train(make_job(), tmp_path / "parts", report=interrupt_at(3, number))
    assert (stopped.reason, stopped.step) == (number.name, 4)
    lines = []
    resumed = train(make_job(), tmp_path / "parts", resume=True, report=lines.append)
    assert lines[0] == "resumed at step 4 of 8"
    assert (resumed.reason, resumed.step) == ("finished", 8)
    assert_same(states(tmp_path / "whole")[-1], states(tmp_path / "parts")[-1])
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_a_damaged_checkpoint_is_skipped_and_its_records_dropped(make_job, tmp_path):
    train(make_job(), tmp_path / "whole")
    out = tmp_path / "parts"
    train(make_job(checkpoint_every=2), out, report=interrupt_at(5))
    newest = train_state_folders(out / "checkpoints")[-1]
    (newest / "model.safetensors").write_bytes(b"cut")
    with pytest.warns(RuntimeWarning, match="skipped a damaged checkpoint"):
        result = train(make_job(), out, resume=True)
    assert result.step == 8
    assert_same(states(tmp_path / "whole")[-1], states(out)[-1])
    assert [state.step for state in states(out)] == [4, 8]
    steps = [record["step"] for record in read_records(out / "records.jsonl", "train")]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]


def test_resume_without_a_checkpoint_starts_anew(make_job, tmp_path):
    train(make_job(steps=2), tmp_path / "whole")
    lines = []
    train(make_job(steps=2), tmp_path / "new", resume=True, report=lines.append)
    assert lines[0] == "no checkpoint to resume from: starting at step 0"
    assert_same(states(tmp_path / "whole")[-1], states(tmp_path / "new")[-1])


def test_resuming_a_finished_run_changes_nothing(make_job, tmp_path):
    train(make_job(steps=2), tmp_path)
    before = states(tmp_path)[-1]
    again = train(make_job(steps=2), tmp_path, resume=True)
    assert again.reason == "finished"
    assert_same(before, states(tmp_path)[-1])


class Disturbing:
    """A loader that draws from torch's own generator, as starting worker processes does."""

    def __init__(self, loader):
        self.loader = loader

    def batches(self, state):
        for item in self.loader.batches(state):
            torch.rand(3)
            yield item


def test_making_data_leaves_no_trace_in_dropout(make_job, tmp_path):
    job = make_job(steps=3)
    train(job, tmp_path / "one")
    job = make_job(steps=3)
    train(job._replace(loader=Disturbing(job.loader)), tmp_path / "other")
    assert_same(states(tmp_path / "one")[-1], states(tmp_path / "other")[-1])


def test_evaluators_see_the_average_and_leave_no_trace(make_job, tmp_path):
    job, seen = make_job(steps=4, evaluate_every=2), []

    def look(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        assert model is not job.model
        torch.rand(5)
        seen.append(model.itm_head.weight.clone())
        yield "norm", float(seen[-1].norm())
        yield "part/norm", 1.0

    lines = []
    result = train(job._replace(evaluators={"look": look}), tmp_path / "one", report=lines.append)
    assert len(seen) == 2
    assert torch.equal(seen[-1], result.model.itm_head.weight)
    assert result.measures == {"look/norm": float(seen[-1].norm()), "look/part/norm": 1.0}
    records = read_records(tmp_path / "one" / "records.jsonl", "evaluate")
    assert [(record["step"], record["evaluator"]) for record in records] == [(2, "look"), (4, "look")]
    assert records[-1]["measures"] == result.measures
    assert [line for line in lines if "look/norm" in line and "part" not in line]
    train(make_job(steps=4), tmp_path / "other")
    one, other = states(tmp_path / "one")[-1], states(tmp_path / "other")[-1]
    one.facts["measures"] = {}
    assert_same(one, other)


def test_records_tell_the_run(make_job, tmp_path):
    result = train(make_job(steps=5, log_every=2, checkpoint_every=2, keep=1), tmp_path)
    records = read_records(tmp_path / "records.jsonl")
    assert [(record["kind"], record["step"]) for record in records] == [
        ("train", 2),
        ("checkpoint", 2),
        ("train", 4),
        ("checkpoint", 4),
        ("train", 5),
        ("checkpoint", 5),
        ("end", 5),
    ]
    last = records[-3]
    assert last["terms"].keys() == {"itc", "itm", "lm", "qa"}
    assert last["loss"] == pytest.approx(sum(last["terms"].values()), rel=1e-5)
    assert last["lr"] == pytest.approx(5e-5)
    assert 0 < last["temperature"] < 0.5
    assert 0 <= last["data_wait"] <= 1
    assert last["samples_per_s"] > 0
    assert last["left_s"] == 0
    assert last["grad_norm"] > 0
    assert 0.01 < last["peak_rss_gb"] < 100
    assert records[-1]["reason"] == "finished"
    assert result.seconds == pytest.approx(sum(r["seconds"] for r in records[-1:]))
    assert [folder.name for folder in train_state_folders(tmp_path / "checkpoints")] == ["step-0000005"]


def test_a_budget_saves_and_stops(make_job, tmp_path):
    result = train(make_job(machine={"max_minutes": 1e-9}), tmp_path)
    assert (result.reason, result.step) == ("max_minutes", 1)
    assert [state.step for state in states(tmp_path)] == [1]
    again = train(make_job(), tmp_path, resume=True)
    assert (again.reason, again.step) == ("finished", 8)


class Broken:
    """The task, but its loss is not finite from one step on, for some steps."""

    sparing = True

    def __init__(self, step, at, steps=100):
        self.step, self.at, self.end = step, at, at + steps

    def settle(self, model):
        self.step.settle(model)

    def __call__(self, model, state, batch, step, /):
        result = self.step(model, state, batch, step)
        return StepResult(result.loss * (math.nan if self.at <= step < self.end else 1.0), *result[1:])


def test_a_loss_that_is_not_finite_is_said_and_takes_no_step(make_job, tmp_path):
    """The batch is kept, the weights stay good, the run goes on."""
    job, lines = make_job(checkpoint_every=1, keep=10), []
    train(job._replace(step=Broken(job.step, 3, steps=1)), tmp_path, report=lines.append)
    before, skipped, after = states(tmp_path)[2:5]
    assert (before.step, skipped.step, after.step) == (3, 4, 5)
    for stem in ("model", "optimizer"):
        for name, tensor in before.tensors[stem].items():
            assert torch.equal(tensor, skipped.tensors[stem][name]), name
    assert not torch.equal(before.tensors["model"]["temperature"], after.tensors["model"]["temperature"])
    [alarm] = read_records(tmp_path / "records.jsonl", "alarm")
    assert (alarm["name"], alarm["step"]) == ("not_finite", 4)
    assert [line for line in lines if line.startswith("alarm: step 4: loss nan")]
    [kept] = (tmp_path / "failed").iterdir()
    assert kept.name == "step-0000003-rank-0"
    assert len(json.loads((kept / "batch.json").read_text())["keys"]) == 5


def test_a_strict_run_ends_at_the_first_alarm(make_job, tmp_path):
    job = make_job(checkpoint_every=2, log_every=100, machine={"strict": True})
    with pytest.raises(TrainingError, match=r"step 4: loss nan"):
        train(job._replace(step=Broken(job.step, 3)), tmp_path)
    assert [state.step for state in states(tmp_path)] == [2]


def test_a_run_whose_loss_stays_not_finite_ends(make_job, tmp_path):
    job = make_job(steps=30, checkpoint_every=40, log_every=100)
    with pytest.raises(TrainingError, match=r"step 13: .* 10 in a row"):
        train(job._replace(step=Broken(job.step, 3)), tmp_path)


def test_bf16_trains_and_keeps_fp32_weights(make_job, tmp_path):
    result = train(make_job(precision="bf16", steps=3), tmp_path)
    assert {weight.dtype for weight in result.model.parameters()} == {torch.float32}
    assert math.isfinite(read_records(tmp_path / "records.jsonl", "train")[-1]["loss"])


@pytest.mark.slow
def test_it_overfits_twenty_squares(make_job, tmp_path):
    job = make_job(
        ObjectiveSettings(teacher="none", label_smoothing=0.0), steps=240, batch_size=20, log_every=10
    )
    train(job, tmp_path)
    records = read_records(tmp_path / "records.jsonl", "train")
    first, last = records[0]["terms"], records[-1]["terms"]
    assert last["lm"] < 0.5 * first["lm"]
    assert last["qa"] < 0.5 * first["qa"]
    assert last["itc"] < 0.7 * first["itc"]


def test_tensorboard_that_is_missing_does_not_stop_training(make_job, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.warns(RuntimeWarning, match="no tensorboard"):
        result = train(make_job(steps=2, machine={"tensorboard": True}), tmp_path)
    assert result.reason == "finished"


def test_checkpoints_are_json_and_safetensors_alone(make_job, tmp_path):
    train(make_job(steps=2), tmp_path)
    folder = train_state_folders(tmp_path / "checkpoints")[-1]
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    facts = json.loads((folder / "state.json").read_text())["facts"]
    assert facts["loader"] == {"seed": 0, "epoch": 0, "step": 2, "global_batch": 5, "samples": 20}


def judged(job, values, name="look/score", patience=0):
    """The job with an evaluator that gives these values in turn, after each two steps."""
    given = iter(values)
    settings = job.settings.model_copy(update={"best": name, "patience": patience, "evaluate_every": 2})
    return job._replace(settings=settings, evaluators={"look": lambda model: [("score", next(given))]})


def test_the_best_weights_are_shipped(make_job, tmp_path):
    shipped = train(judged(make_job(steps=8), [0.1, 0.7, 0.6, 0.7]), tmp_path / "best")
    assert (shipped.reason, shipped.step) == ("finished", 8)
    assert shipped.measures == {"look/score": 0.7}
    [kept] = train_state_folders(tmp_path / "best" / "best")
    assert kept.name == "step-0000004"
    for name, weight in load_train_state(kept).tensors["average"].items():
        assert torch.equal(weight, shipped.model.state_dict()[name]), name
    last = states(tmp_path / "best")[-1].tensors["average"]
    assert not torch.equal(last["itm_head.weight"], shipped.model.itm_head.weight)


def test_a_run_without_a_better_evaluation_ends(make_job, tmp_path):
    job = judged(make_job(steps=40), [0.5, 0.4, 0.45, 0.9], patience=2)
    ended = train(job, tmp_path)
    assert (ended.reason, ended.step) == ("no_better", 6)
    assert [record["reason"] for record in read_records(tmp_path / "records.jsonl", "end")] == ["no_better"]
    assert states(tmp_path)[-1].step == 6
    again = train(judged(make_job(steps=40), [], patience=2), tmp_path, resume=True)
    assert (again.reason, again.step) == ("no_better", 6)


def test_a_lower_loss_is_better(make_job, tmp_path):
    job = make_job(steps=6)
    given = iter([3.0, 1.0, 2.0])
    settings = job.settings.model_copy(update={"best": "look/loss", "evaluate_every": 2})
    job = job._replace(settings=settings, evaluators={"look": lambda model: [("loss", next(given))]})
    assert train(job, tmp_path).measures == {"look/loss": 1.0}


def test_a_best_that_nobody_measures_is_named(make_job, tmp_path):
    with pytest.raises(TrainingError, match="'look/sorce' is not measured") as caught:
        train(judged(make_job(steps=4), [0.1], name="look/sorce"), tmp_path)
    assert "look/score" in str(caught.value)


def test_the_best_weights_are_shipped_without_an_average_too(make_job, tmp_path):
    job = judged(make_job(steps=4), [0.7, 0.1])
    job = job._replace(optim=job.optim.model_copy(update={"average": 0.0}))
    shipped = train(job, tmp_path)
    [kept] = train_state_folders(tmp_path / "best")
    assert kept.name == "step-0000002"
    for name, weight in load_train_state(kept).tensors["average"].items():
        assert torch.equal(weight, shipped.model.state_dict()[name]), name


def test_a_run_goes_on_from_its_mirror_on_another_machine_bit_equal(make_job, tmp_path):
    train(make_job(), tmp_path / "whole")
    machine = {"mirror": f"file://{tmp_path}/there"}
    train(make_job(checkpoint_every=2, machine=machine), tmp_path / "one", report=interrupt_at(5))
    lines = []
    job = make_job(checkpoint_every=2, machine=machine)
    ended = train(job, tmp_path / "other", resume=True, report=lines.append)
    assert lines[0] == "resumed at step 6 of 8"
    assert ended.reason == "finished"
    assert_same(states(tmp_path / "whole")[-1], states(tmp_path / "other")[-1])
    kept = sorted(path.name for path in (tmp_path / "there").iterdir())
    assert kept == ["step-0000006", "step-0000008"]


def test_a_mirror_that_fails_does_not_stop_training(make_job, tmp_path):
    (tmp_path / "there").write_text("a file, no folder")
    job = make_job(steps=2, machine={"mirror": f"file://{tmp_path}/there"})
    with pytest.warns(RuntimeWarning, match="step-0000002 was not copied to file://"):
        assert train(job, tmp_path / "run").reason == "finished"
    assert [state.step for state in states(tmp_path / "run")] == [2]


def test_the_best_weights_come_back_from_a_mirror(make_job, tmp_path):
    """The best is before the machine is lost, and what is shipped is still it."""
    machine = {"mirror": f"file://{tmp_path}/there"}
    whole = train(judged(make_job(), [0.1, 0.9, 0.2, 0.3]), tmp_path / "whole")
    job = judged(make_job(machine=machine), [0.1, 0.9, 0.2])
    train(job, tmp_path / "one", report=interrupt_at(5))
    ended = train(judged(make_job(machine=machine), [0.3]), tmp_path / "two", resume=True)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, ended.model.state_dict()[name]), name
