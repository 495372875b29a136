"""THE loop: every model of limner is trained by `train`, whatever its task.

A task is a step function (see `steps`); evaluators are callables that yield (name, value). On CPU, a run that
is stopped and resumed ends with the very bits it would have had: `Run` holds and saves all that changes.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_serializer
from torch import Tensor, nn

from limner.checkpoint import (
    TrainState,
    drop_train_states,
    load_weights,
    newest_train_state,
    save_train_state,
    stored_weights,
)
from limner.config import Config
from limner.data.fetching import Workers
from limner.data.loader import Batch, Loader, LoaderState
from limner.errors import TrainingError
from limner.objectives.momentum import FeatureQueue
from limner.record import Recorder, truncate_records
from limner.train.optim import (
    OptimSettings,
    WeightAverage,
    build_optimizer,
    load_optimizer,
    lr_at,
    optimizer_tensors,
)
from limner.train.steps import Step, TaskState
from limner.train.stop import Stop
from limner.train.watch import Display, Report, Stopwatch, TensorBoard, Window, resident_bytes, silent

Evaluator = Callable[[nn.Module], Iterable[tuple[str, float]]]
"""Takes the averaged model, in eval mode and without gradients; yields (name, value)."""


class TrainSettings(Config):
    """[train]: how long, how much at once, and what is written when.

    Args:
        steps: optimiser steps of the whole run.
        batch_size: samples a step.
        seed: of weights, dropout, negatives and the order of the data.
        precision: "bf16" computes the forward pass in bfloat16 where that is safe; weights stay fp32.
        log_every: steps between train records.
        evaluate_every: steps between evaluations; the last step is always evaluated.
        checkpoint_every: steps between checkpoints; stopping and the last step always write one.
        keep: how many checkpoints stay.
    """

    steps: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=2)
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    log_every: int = Field(default=50, ge=1)
    evaluate_every: int = Field(default=1000, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    keep: int = Field(default=2, ge=1)


class MachineSettings(Config):
    """[machine]: where a run runs and for how long; no part of its identity, so a resume may change it.

    Args:
        device: "auto" is the first CUDA device, or else the CPU.
        threads: of the CPU; 0 leaves torch's choice.
        workers: how many make batches ahead; 0 makes them in between.
        workers_are: "processes", or "threads", which start at once and share one picture cache.
        stall_s: seconds without a batch after which the loader says where each worker stands.
        max_minutes: save and stop after so many minutes; resuming goes on. None: no limit.
        tensorboard: also write scalars for TensorBoard.
    """

    device: str = "auto"
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    workers_are: Workers = "processes"
    stall_s: float = Field(default=60.0, gt=0)
    max_minutes: float | None = Field(default=None, gt=0)
    tensorboard: bool = False

    @model_serializer(mode="wrap")
    def _written(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Without what younger limners added, where nothing was said: runs keep their digest."""
        values = plain(self)
        silent = {"workers_are": "processes", "stall_s": 60.0}
        return {key: value for key, value in values.items() if key not in silent or value != silent[key]}


class Job(NamedTuple):
    """What to train.

    Args:
        model: freshly built or loaded; trained in place.
        state: the task's own state, on the device.
        step: the task.
        loader: gives batches from any `LoaderState` on.
        optim: optimiser and schedule.
        settings: length, batch, intervals.
        machine: device and limits.
        evaluators: name → callable on the averaged model.
    """

    model: nn.Module
    state: TaskState
    step: Step
    loader: Loader[Batch]
    optim: OptimSettings
    settings: TrainSettings
    machine: MachineSettings = MachineSettings()
    evaluators: Mapping[str, Evaluator] = {}


class TrainResult(NamedTuple):
    """How a run ended.

    Args:
        model: the averaged weights, in eval mode; what to ship.
        step: optimiser steps taken.
        reason: "finished", or why it stopped before: "SIGINT", "SIGTERM", "max_minutes".
        seconds: of training, resumed parts together.
        measures: the last evaluation, `evaluator/name` → value.
    """

    model: nn.Module
    step: int
    reason: str
    seconds: float
    measures: dict[str, float]


def train(job: Job, out: Path, *, resume: bool = False, report: Report = silent) -> TrainResult:
    """Train a model to its last step, or until it is asked to stop; either way a checkpoint is left.

    Args:
        job: what to train.
        out: the run folder; gets `records.jsonl` and `checkpoints/`.
        resume: go on from the newest valid checkpoint in `out`, if there is one.
        report: takes lines for the user.
    Raises: TrainingError when the loss or a gradient is no longer finite; no checkpoint is written then.
    """
    settings, run = job.settings, Run(job, out)
    if resume:
        run.resume(report)
    window, watch = Window(), Stopwatch()
    batches = job.loader.batches(run.loader_state)
    board = TensorBoard(out / "tensorboard" if job.machine.tensorboard else None)
    reason = run.ended
    with Stop(job.machine.max_minutes) as stop, Display(settings.steps, run.step, report) as display:
        while not reason:
            with watch.waiting(), torch.random.fork_rng([]):  # making data leaves no trace in dropout
                batch, run.loader_state = next(batches)
            window.add(run.advance(on_device(batch, run.device)))
            display.advance(run.step)
            reason = run.ended or stop.reason
            saving = bool(reason) or run.step % settings.checkpoint_every == 0
            if saving or run.step % settings.log_every == 0:
                record = run.log(window, watch)
                display.note(record)
                board.scalars(run.step, {"loss": record["loss"], "lr": record["lr"], **record["terms"]})
            with watch.paused():
                if run.ended or run.step % settings.evaluate_every == 0:
                    board.scalars(run.step, run.evaluate(display.say))
                if saving:
                    run.save()
    board.close()
    run.recorder.write("end", step=run.step, reason=reason, seconds=run.seconds)
    return TrainResult(run.average.model, run.step, reason, run.seconds, run.measures)


class Run:
    """Everything that changes while a model is trained; saved whole, restored whole.

    Args:
        job: what to train.
        out: the run folder.
    """

    def __init__(self, job: Job, out: Path) -> None:
        self.job, self.out = job, out
        self.device = next(job.model.parameters()).device
        self.model = job.model.train()
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(self.model, job.optim)
        self.average = WeightAverage(self.model, job.optim.average)
        self.task = job.state
        self.loader_state = LoaderState(seed=job.settings.seed)
        self.step = 0
        self.seconds = 0.0
        self.peak_rss = 0
        self.measures: dict[str, float] = {}
        self.recorder = Recorder(out / "records.jsonl")

    @property
    def ended(self) -> str:
        """The word "finished" once the last step is taken, else empty."""
        return "finished" if self.step == self.job.settings.steps else ""

    def advance(self, batch: Batch) -> dict[str, Tensor]:
        """Take one optimiser step; give what it told, as scalars that stay on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr_at(self.step, self.job.optim, self.job.settings.steps)
        bf16 = self.job.settings.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            result = self.job.step(self.model, self.task, batch, self.step)
        self.optimizer.zero_grad()
        torch.autograd.backward(result.loss)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.job.optim.clip_norm or math.inf)
        self.optimizer.step()
        self.average.update(self.model, self.step)
        self.task = result.state
        self.step += 1
        terms = {f"terms/{name}": value for name, value in result.terms.items()}
        return {"loss": result.loss, "grad_norm": norm, **terms, **result.stats}

    def log(self, window: Window, watch: Stopwatch) -> dict[str, Any]:
        """Write a train record of the steps since the last one.

        Raises: TrainingError when the loss or the gradient was not finite.
        """
        steps, means = window.steps, window.take()  # waits for the device
        seconds, waited = watch.take()
        self.seconds += seconds
        if not (math.isfinite(means["loss"]) and math.isfinite(means["grad_norm"])):
            raise TrainingError(
                f"step {self.step}: loss {means['loss']}, gradient norm {means['grad_norm']}",
                wanted="finite values",
                hint="--set optim.lr=… lower, or optim.warmup_steps=… higher, with a new --out",
            )
        self.peak_rss = max(self.peak_rss, resident_bytes())
        return self.recorder.write(
            "train",
            step=self.step,
            terms={k.removeprefix("terms/"): v for k, v in means.items() if k.startswith("terms/")},
            **{k: v for k, v in means.items() if not k.startswith("terms/")},
            lr=lr_at(self.step - 1, self.job.optim, self.job.settings.steps),
            samples_per_s=steps * self.job.settings.batch_size / seconds,
            data_wait=waited / seconds,
            left_s=(self.job.settings.steps - self.step) * seconds / steps,
            seconds=self.seconds,
            peak_rss_gb=self.peak_rss / 1e9,
        )

    def evaluate(self, say: Report) -> dict[str, float]:
        """Run the evaluators on the averaged weights and record; their draws leave no trace in training."""
        devices = [self.device] if self.device.type == "cuda" else []
        for name, evaluator in self.job.evaluators.items():
            started = time.perf_counter()
            with torch.random.fork_rng(devices), torch.no_grad():
                measures = {f"{name}/{key}": value for key, value in evaluator(self.average.model)}
            seconds = time.perf_counter() - started
            self.recorder.write(
                "evaluate", step=self.step, evaluator=name, measures=measures, seconds=seconds
            )
            self.measures |= measures
            shown = [f"{key} {value:.3f}" for key, value in measures.items() if key.count("/") == 1]
            say("  ".join([f"step {self.step:>7}", *shown]))
        return self.measures

    def save(self) -> None:
        """Write a checkpoint, then the record that says so."""
        folder = save_train_state(self.out / "checkpoints", self.state(), self.job.settings.keep)
        self.recorder.write("checkpoint", step=self.step, folder=folder.name)

    def state(self) -> TrainState:
        """Everything that `restore` needs."""
        queue = self.task.queue
        random = {"cpu": torch.get_rng_state(), "task": self.task.generator.get_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        tensors = {
            "model": stored_weights(self.model),
            "average": stored_weights(self.average.model),
            "optimizer": optimizer_tensors(self.optimizer, self.model),
            "queue": {"image": queue.image, "text": queue.text, "ids": queue.ids},
            "random": random,
        }
        if self.task.teacher is not None:
            tensors["teacher"] = stored_weights(self.task.teacher)
        facts = {
            "loader": self.loader_state.model_dump(),
            "queue_position": queue.position,
            "seconds": self.seconds,
            "peak_rss": self.peak_rss,
            "measures": self.measures,
        }
        return TrainState(self.step, tensors, facts)

    def restore(self, state: TrainState) -> None:
        """Become what the run was when `state` was taken."""
        tensors, facts = state.tensors, state.facts
        load_weights(self.model, tensors["model"], "model.safetensors")
        load_weights(self.average.model, tensors["average"], "average.safetensors")
        load_optimizer(self.optimizer, self.model, tensors["optimizer"])
        if self.task.teacher is not None:
            load_weights(self.task.teacher, tensors["teacher"], "teacher.safetensors")
        queue = {name: tensor.to(self.device) for name, tensor in tensors["queue"].items()}
        self.task = self.task._replace(queue=FeatureQueue(**queue, position=facts["queue_position"]))
        random = tensors["random"]
        torch.set_rng_state(random["cpu"])
        self.task.generator.set_state(random["task"])
        if "cuda" in random and self.device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"], self.device)
        self.loader_state = LoaderState(**facts["loader"])
        self.seconds, self.peak_rss, self.measures = facts["seconds"], facts["peak_rss"], facts["measures"]
        self.step = state.step

    def resume(self, report: Report) -> None:
        """Restore the newest valid checkpoint, and drop what was written after it."""
        state = newest_train_state(self.out / "checkpoints")
        if state is not None:
            self.restore(state)
        truncate_records(self.recorder.path, self.step if state else -1)
        drop_train_states(self.out / "checkpoints", self.step if state else -1)
        self.recorder.write("resume", step=self.step)
        if state is None:
            report("no checkpoint to resume from: starting at step 0")
        else:
            report(f"resumed at step {self.step} of {self.job.settings.steps}")


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device."""
    return Batch(batch.keys, *(part.to(device, non_blocking=True) for part in batch[1:]))
