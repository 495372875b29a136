import json
import subprocess
import sys
import types
import warnings

import pytest

from limner.record import read_records
from limner.train.loop import train
from limner.train.settings import MachineSettings
from limner.train.sinks import SINKS, Sinks, scalars_of


class Fake:
    """A tracker that fails where it is told to, and keeps what it was given."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at, self.options, self.logged, self.finished = fails_at, {}, {}, False

    def _do(self, name: str) -> None:
        if self.fails_at == name:
            raise OSError(f"{name}: no route to host")

    def init(self, **options: object) -> "Fake":
        self._do("init")
        self.options = options
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self._do("log")
        self.logged[step] = values

    def finish(self) -> None:
        self._do("finish")
        self.finished = True


def install(monkeypatch, name: str, fake: Fake) -> None:
    module = types.ModuleType(name)
    module.init = fake.init
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_gets_every_record_and_is_closed(name, make_job, monkeypatch, tmp_path):
    fake = Fake()
    install(monkeypatch, name, fake)
    train(make_job(steps=3, machine={"sinks": [name]}), tmp_path / "mine")
    assert fake.options["project"] == "limner"
    assert fake.options["name"] == "mine"
    assert fake.options["config"]["train"]["steps"] == 3
    records = list(read_records(tmp_path / "mine" / "records.jsonl", "train"))
    assert {step: values["loss"] for step, values in fake.logged.items()} == {
        record["step"]: record["loss"] for record in records
    }
    assert fake.finished


def test_a_resumed_run_goes_on_in_the_same_wandb_run(make_job, monkeypatch, tmp_path):
    ids = []
    for folder, steps in (("mine", 2), ("mine", 3), ("other", 2)):
        fake = Fake()
        install(monkeypatch, "wandb", fake)
        train(make_job(steps=steps, machine={"sinks": ["wandb"]}), tmp_path / folder, resume=True)
        ids.append(fake.options["id"])
        assert fake.options["resume"] == "allow"
    assert ids[0] == ids[1] != ids[2]
    assert min(fake.logged) == 1


@pytest.mark.parametrize("fails_at", ["init", "log", "finish"])
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_that_fails_warns_once_and_training_goes_on(
    name, fails_at, make_job, monkeypatch, tmp_path
):
    install(monkeypatch, name, Fake(fails_at))
    with pytest.warns(RuntimeWarning, match=f"no {name} from here on.*no route to host") as told:
        result = train(make_job(steps=3, machine={"sinks": [name]}), tmp_path)
    assert len([one for one in told if name in str(one.message)]) == 1
    assert (result.reason, result.step) == ("finished", 3)
    assert len(list(read_records(tmp_path / "records.jsonl", "train"))) == 3


@pytest.mark.parametrize(
    ("name", "module"),
    [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb"), ("trackio", "trackio")],
)
def test_a_sink_that_is_not_installed_says_which_extra_has_it(name, module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.warns(RuntimeWarning, match=rf"pip install 'limner\[{name}\]'"):
        sinks = Sinks([name], tmp_path, {})
    sinks.scalars(1, {"loss": 1.0})
    sinks.close()


def test_one_that_fails_leaves_the_others(monkeypatch, tmp_path):
    good, bad = Fake(), Fake("log")
    install(monkeypatch, "wandb", bad)
    install(monkeypatch, "trackio", good)
    sinks = Sinks(["wandb", "trackio"], tmp_path, {})
    with pytest.warns(RuntimeWarning, match="no wandb"):
        sinks.scalars(1, {"loss": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sinks.scalars(2, {"loss": 0.5})
        sinks.close()
    assert good.logged == {1: {"loss": 1.0}, 2: {"loss": 0.5}}
    assert not bad.finished


def test_nothing_is_imported_that_is_not_named():
    code = "import sys, limner.train.loop; print(*{'wandb', 'trackio', 'tensorboard'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_sinks_are_those_of_the_setting():
    names = MachineSettings.model_json_schema()["properties"]["sinks"]["items"]["enum"]
    assert names == list(SINKS)
    with pytest.raises(ValueError, match="tensorboard"):
        MachineSettings(sinks=["mlflow"])


def test_scalars_of_a_record_are_its_numbers():
    record = {"step": 3, "terms": {"lm": 1.0}, "loss": 1.5, "lr": 0.1, "left_s": 3.0, "seconds": 1.0}
    assert scalars_of(record) == {"lm": 1.0, "loss": 1.5, "lr": 0.1}
    assert json.dumps(scalars_of(record))
