"""THE loop: every model of limner is trained by `train`, whatever its task.

A task is a step function (see `steps`); evaluators are callables that yield (name, value). On CPU, a run that
is stopped and resumed ends with the very bits it would have had: `Run` holds and saves all that changes.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from limner import ranks
from limner.checkpoint import (
    TrainState,
    drop_train_states,
    load_weights,
    newest_train_state,
    save_train_state,
    stored_weights,
)
from limner.checkpoint.mirror import Mirror
from limner.config import Config
from limner.data.fetching import Workers
from limner.data.loader import Loader, LoaderState
from limner.errors import TrainingError
from limner.record import Recorder, truncate_records
from limner.train.alarms import Alarms
from limner.train.blocks import compile_blocks, recompute
from limner.train.distributed import in_micro_batches, mean_of_parts, share_statistics, spread
from limner.train.optim import (
    Learners,
    OptimSettings,
    WeightAverage,
    build_optimizer,
    load_optimizer,
    lr_at,
    optimizer_tensors,
    set_lr,
)
from limner.train.sinks import SinkName, Sinks, scalars_of
from limner.train.steps import Step, TaskState
from limner.train.stop import Stop
from limner.train.watch import Display, Report, Stopwatch, Window, resident_bytes, silent
from limner.train.work import Work

Evaluator = Callable[[nn.Module], Iterable[tuple[str, float]]]
"""Takes the averaged model, in eval mode and without gradients; yields (name, value)."""


REASONS = ("", "max_minutes", "SIGTERM", "SIGINT", "no_better")
"""Why a run may end before its last step; the ranks agree on the last of those they have."""


class TrainSettings(Config):
    """[train]: how long, how much at once, and what is written when.

    Args:
        steps: optimiser steps of the whole run.
        batch_size: samples a step, of all ranks together.
        micro_batch: samples a forward pass on a rank, for tasks whose loss is a mean over samples; gradients
            add up to those of the batch. 0 is the whole batch.
        seed: of weights, dropout, negatives and the order of the data.
        precision: "bf16" and "fp16" compute the forward pass in half precision where that is safe; weights
            stay fp32, and with "fp16" the loss is scaled. "auto" becomes "bf16" where the device has
            instructions for it, else "fp32", when the run starts.
        sync_norm: batch norms of several ranks share their statistics, as if the batch were on one.
        log_every: steps between train records.
        evaluate_every: steps between evaluations; the last step is always evaluated.
        checkpoint_every: steps between checkpoints; stopping and the last step always write one.
        keep: how many checkpoints stay.
        best: measure to go by, `evaluator/name`: the weights of its best evaluation are kept, and shipped.
            Empty ships the last weights.
        patience: evaluations in a row without a better one after which the run ends; 0 goes on.
    """

    LATER: ClassVar = frozenset({"micro_batch", "sync_norm", "best", "patience"})

    steps: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=2)
    micro_batch: int = Field(default=0, ge=0)
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    sync_norm: bool = True
    log_every: int = Field(default=50, ge=1)
    evaluate_every: int = Field(default=1000, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    keep: int = Field(default=2, ge=1)
    best: str = ""
    patience: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _patience_has_a_measure(self) -> "TrainSettings":
        if self.patience and not self.best:
            raise ValueError(f"train.patience {self.patience} needs train.best, the measure to go by")
        return self


class MachineSettings(Config):
    """[machine]: where a run runs and for how long; no part of its identity, so a resume may change it.

    Args:
        device: "auto" is the first CUDA device, or else the CPU.
        threads: of the CPU; 0 leaves torch's choice.
        workers: how many make batches ahead; 0 makes them in between.
        workers_are: "processes", or "threads", which start at once and share one picture cache.
        stall_s: seconds without a batch after which the loader says where each worker stands.
        mirror: place elsewhere, such as `s3://bucket/runs/mine`, that checkpoints are copied to, and that
            a resume takes the newest from. Empty: none.
        max_minutes: save and stop after so many minutes; resuming goes on. None: no limit.
        tensorboard: the older word for "tensorboard" in `sinks`.
        sinks: where scalars go besides the records: "tensorboard", "wandb", "trackio", each an extra.
        count_work: count the FLOPs of the first step, for TFLOP/s and MFU in the records.
        strict: stop at the first alarm, instead of saying and recording it.
        recompute: make activations again, block by block, instead of keeping them: less memory, a third more
            work.
        compile: compile the blocks.
    """

    LATER: ClassVar = frozenset(
        {"workers_are", "stall_s", "strict", "recompute", "compile", "sinks", "count_work", "mirror"}
    )

    device: str = "auto"
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    workers_are: Workers = "processes"
    stall_s: float = Field(default=60.0, gt=0)
    mirror: str = ""
    max_minutes: float | None = Field(default=None, gt=0)
    tensorboard: bool = False
    sinks: tuple[SinkName, ...] = ()
    count_work: bool = True
    strict: bool = False
    recompute: bool = False
    compile: bool = False


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
    loader: Loader[Any]
    optim: OptimSettings
    settings: TrainSettings
    machine: MachineSettings = MachineSettings()
    evaluators: Mapping[str, Evaluator] = {}


class TrainResult(NamedTuple):
    """How a run ended.

    Args:
        model: the averaged weights, in eval mode; what to ship.
        step: optimiser steps taken.
        reason: "finished"; "no_better", when its patience has ended; or why it stopped before: "SIGINT",
            "SIGTERM", "max_minutes".
        seconds: of training, resumed parts together.
        measures: of the weights that are shipped, `evaluator/name` → value.
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
    sinks = _sinks(job, out)
    reason = run.ended
    with (
        Stop(job.machine.max_minutes, patience=2 if ranks.size() > 1 else 0) as stop,
        Display(settings.steps, run.step, report if ranks.rank() == 0 else silent) as display,
    ):
        while not reason:
            with watch.waiting(), torch.random.fork_rng([]):  # making data leaves no trace in dropout
                batch, run.loader_state = next(batches)
            window.add(run.told(on_device(batch, run.device)))
            display.advance(run.step)
            asked = REASONS[ranks.agreed(REASONS.index(stop.reason))]
            reason = run.ended or asked
            saving = bool(reason) or run.step % settings.checkpoint_every == 0
            if saving or run.step % settings.log_every == 0:
                record = run.log(window, watch, display.say)
                display.note(record)
                sinks.scalars(run.step, scalars_of(record))
            with watch.paused():
                if run.ended or run.step % settings.evaluate_every == 0:
                    sinks.scalars(run.step, run.evaluate(display.say))
                    saving, reason = saving or bool(run.ended), run.ended or asked
                if saving:
                    run.save()
    sinks.close()
    run.recorder.write("end", step=run.step, reason=reason, seconds=run.seconds)
    model = run.best_model() if run.ended else run.average.model
    return TrainResult(model, run.step, reason, run.seconds, run.measures)


def _sinks(job: Job, out: Path) -> Sinks:
    """Those the first rank was asked for."""
    machine = job.machine
    names = [*(["tensorboard"] if machine.tensorboard else []), *machine.sinks]
    facts = {"optim": job.optim.model_dump(), "train": job.settings.model_dump()}
    return Sinks(names if ranks.rank() == 0 else [], out, facts)


class Best(NamedTuple):
    """The best evaluation so far.

    Args:
        value: of the measure to go by; None before the first.
        step: where it was.
        since: evaluations since then.
    """

    value: float | None = None
    step: int = 0
    since: int = 0

    def beaten_by(self, value: float, name: str) -> bool:
        """Whether a value is better: lower for losses and ranks, higher for all else; NaN never is."""
        lower = name.endswith(("loss", "rank"))
        if self.value is None:
            return not math.isnan(value)
        return value < self.value if lower else value > self.value


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
        self.networks = (self.model, *job.state.modules())
        if job.settings.sync_norm:
            for module in self.networks:
                share_statistics(module)
        self.learners = Learners(self.model, job.optim)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(self.model, job.optim)
        self.average = WeightAverage(self.model, job.optim.average)
        if job.machine.recompute:
            recompute(self.model)
        if job.machine.compile:
            compile_blocks(self.model)
        self.forward = spread(self.model, job.step)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=job.settings.precision == "fp16")
        self.alarms = Alarms(out, job.machine.strict)
        self.work = Work(self.device)
        self.mirror = Mirror(job.machine.mirror) if job.machine.mirror else None
        self.task = job.state
        self.loader_state = LoaderState(seed=job.settings.seed)
        self.step = 0
        self.seconds = 0.0
        self.peak_rss = 0
        self.measures: dict[str, float] = {}
        self.best = Best()
        recorder = Recorder if ranks.rank() == 0 else Unrecorded
        self.recorder = recorder(out / "records.jsonl")

    @property
    def ended(self) -> str:
        """Why there is nothing left to do: "finished" after the last step, "no_better"; else empty."""
        settings = self.job.settings
        if settings.patience and self.best.since >= settings.patience:
            return "no_better"
        return "finished" if self.step == settings.steps else ""

    def told(self, batch: Any) -> dict[str, Tensor]:
        """`advance`, and count the work of the first step."""
        if not self.job.machine.count_work:
            return self.advance(batch)
        with self.work.counted(len(batch[0])):
            return self.advance(batch)

    def advance(self, batch: Any) -> dict[str, Tensor]:
        """Take one optimiser step; give what it told, as scalars that stay on the device."""
        set_lr(self.optimizer, lr_at(self.step, self.job.optim, self.job.settings.steps))
        self.learners.settle(self.step)
        settings, losses = self.job.settings, []
        buffers = [(buffer, buffer.clone()) for module in self.networks for buffer in module.buffers()]
        self.optimizer.zero_grad()
        parts = in_micro_batches(batch, settings.micro_batch)
        for number, (part, share) in enumerate(parts, 1):
            if isinstance(self.forward, DistributedDataParallel):
                self.forward.require_backward_grad_sync = number == len(parts)
            with in_precision(settings.precision, self.device):
                result = self.forward(self.task, part, self.step)
            torch.autograd.backward(self.scaler.scale(result.loss * share if share < 1 else result.loss))
            losses.append((share, result))
        self.learners.rest(self.step)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.job.optim.clip_norm or math.inf)
        told = mean_of_parts(losses)
        if self.alarms.finite(told["loss"], norm, self.step, batch):
            self.scaler.step(self.optimizer)
            self.job.step.settle(self.model)
            self.average.update(self.model, self.step)
            self.task = losses[-1][1].state
        else:
            for buffer, before in buffers:  # batch norms have seen what was not finite
                buffer.copy_(before)
        self.scaler.update()
        self.step += 1
        return told | {"grad_norm": norm}

    def log(self, window: Window, watch: Stopwatch, say: Report) -> dict[str, Any]:
        """Write a train record of the steps since the last one, and say and record what alarms it gives.

        Returns: the record, its numbers as they are; a file has no NaN.
        Raises: TrainingError for an alarm when the run is strict.
        """
        steps, means = window.steps, averaged(window.take())  # waits for the device
        seconds, waited = watch.take()
        self.seconds += seconds
        self.peak_rss = max(self.peak_rss, resident_bytes())
        samples_per_s = steps * self.job.settings.batch_size / seconds
        record = {
            "step": self.step,
            "terms": {k.removeprefix("terms/"): v for k, v in means.items() if k.startswith("terms/")},
            **{k: v for k, v in means.items() if not k.startswith("terms/")},
            "lr": lr_at(self.step - 1, self.job.optim, self.job.settings.steps),
            "samples_per_s": samples_per_s,
            "data_wait": waited / seconds,
            "left_s": (self.job.settings.steps - self.step) * seconds / steps,
            "seconds": self.seconds,
            "peak_rss_gb": self.peak_rss / 1e9,
            **self.work.rates(samples_per_s / ranks.size()),
        }
        self.recorder.write("train", **record)
        for alarm in self.alarms.look(record, self.model):
            self.recorder.write("alarm", step=self.step, **alarm._asdict())
            say(f"alarm: {alarm.said}; try: {alarm.hint}")
        return record

    def evaluate(self, say: Report) -> dict[str, float]:
        """Run the evaluators on the averaged weights and record; their draws leave no trace in training."""
        devices = [self.device] if self.device.type == "cuda" else []
        for name, evaluator in self.job.evaluators.items() if ranks.rank() == 0 else ():
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
        self.measures = ranks.told(self.measures)
        self._compare()
        return self.measures

    def _compare(self) -> None:
        """Keep the averaged weights when their measure is the best so far.

        Raises: TrainingError when there is no such measure.
        """
        name = self.job.settings.best
        if not name:
            return
        if name not in self.measures:
            raise TrainingError(
                f"train.best = {name!r} is not measured",
                wanted=", ".join(self.measures) or "a table or scenes in [evaluate]",
                hint=f'--set train.best="{next(iter(self.measures), "test/top1")}"',
            )
        value = self.measures[name]
        if not self.best.beaten_by(value, name):
            self.best = self.best._replace(since=self.best.since + 1)
            return
        self.best = Best(value, self.step, 0)
        if ranks.rank() == 0:
            weights = {"average": stored_weights(self.average.model)}
            state = TrainState(self.step, weights, {"measures": self.measures})
            folder = save_train_state(self.out / "best", state, 1)
            if self.mirror:
                self.mirror.below("best").keep(folder, 1)

    def best_model(self) -> nn.Module:
        """The best averaged weights, and their measures with them, where a best is kept; else the last."""
        ranks.wait()
        model = self.average.model
        state = newest_train_state(self.out / "best") if self.job.settings.best else None
        if state is not None:
            load_weights(model, state.tensors["average"], "average.safetensors")
            self.measures = state.facts["measures"]
        return model

    def save(self) -> None:
        """Write a checkpoint, then the record that says so."""
        state = self.state()
        if ranks.rank() == 0:
            folder = save_train_state(self.out / "checkpoints", state, self.job.settings.keep)
            self.recorder.write("checkpoint", step=self.step, folder=folder.name)
            if self.mirror:
                self.mirror.keep(folder, self.job.settings.keep)
        ranks.wait()

    def state(self) -> TrainState:
        """Everything that `restore` needs; the same on every rank."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        random = {"cpu": torch.get_rng_state()} | ({"cuda": cuda} if cuda is not None else {})
        if ranks.size() > 1:
            every = {name: ranks.gathered(value[None]) for name, value in random.items()}
            random |= {f"{name}_{rank}": row for name, rows in every.items() for rank, row in enumerate(rows)}
        tensors = {
            "model": stored_weights(self.model),
            "average": stored_weights(self.average.model),
            "optimizer": optimizer_tensors(self.optimizer, self.model),
            "random": random | {"task": self.task.generator.get_state()},
            **self.task.tensors(),
        }
        facts = {
            "loader": self.loader_state.model_dump(),
            **self.task.facts(),
            **({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}),
            "seconds": self.seconds,
            "peak_rss": self.peak_rss,
            "flops_per_sample": self.work.flops_per_sample,
            "measures": self.measures,
            **({"best": list(self.best)} if self.job.settings.best else {}),
        }
        return TrainState(self.step, tensors, facts)

    def restore(self, state: TrainState) -> None:
        """Become what the run was when `state` was taken, on any number of ranks."""
        tensors, facts = state.tensors, state.facts
        load_weights(self.model, tensors["model"], "model.safetensors")
        load_weights(self.average.model, tensors["average"], "average.safetensors")
        load_optimizer(self.optimizer, self.model, tensors["optimizer"])
        self.task = self.task.restored(tensors, facts)
        if self.scaler.is_enabled() and "scaler" in facts:
            self.scaler.load_state_dict(facts["scaler"])
        random = tensors["random"]
        of_rank = f"cpu_{ranks.rank()}" if ranks.size() > 1 else "cpu"
        if of_rank in random:
            torch.set_rng_state(random[of_rank])
        else:  # more ranks than there were: dropout of its own, from the seed and the step
            torch.manual_seed(hash((self.job.settings.seed, state.step, ranks.rank())))
        self.task.generator.set_state(random["task"])
        of_rank = of_rank.replace("cpu", "cuda")
        if of_rank in random and self.device.type == "cuda":
            torch.cuda.set_rng_state(random[of_rank], self.device)
        self.loader_state = LoaderState(**facts["loader"])
        self.seconds, self.peak_rss, self.measures = facts["seconds"], facts["peak_rss"], facts["measures"]
        self.work.flops_per_sample = facts.get("flops_per_sample", 0.0)
        self.best = Best(*facts["best"]) if "best" in facts else Best()
        self.step = state.step

    def resume(self, report: Report) -> None:
        """Restore the newest valid checkpoint, and drop what was written after it."""
        self._fetch()
        state = newest_train_state(self.out / "checkpoints")
        if state is not None:
            self.restore(state)
        if ranks.rank() == 0:
            truncate_records(self.recorder.path, self.step if state else -1)
            drop_train_states(self.out / "checkpoints", self.step if state else -1)
            if self.mirror:
                self.mirror.drop(self.step if state else -1)
        ranks.wait()
        self.recorder.write("resume", step=self.step)
        if state is None:
            report("no checkpoint to resume from: starting at step 0")
        else:
            report(f"resumed at step {self.step} of {self.job.settings.steps}")

    def _fetch(self) -> None:
        """Bring the mirror's newest and best: the first rank, then machines with a disk of their own."""
        mine = [ranks.rank() == 0, ranks.rank() != 0 and ranks.local_rank() == 0]
        for turn in mine:
            if self.mirror and turn:
                self.mirror.fetch(self.out / "checkpoints")
                self.mirror.below("best").fetch(self.out / "best")
            ranks.wait()


def in_precision(precision: str, device: torch.device) -> torch.autocast:
    """The context of a forward pass in "fp32", "bf16" or "fp16"."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)


def on_device(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on the device."""
    return type(batch)(batch[0], *(part.to(device, non_blocking=True) for part in batch[1:]))


def averaged(means: dict[str, float]) -> dict[str, float]:
    """The means of all ranks together."""
    if ranks.size() == 1:
        return means
    return dict(zip(means, ranks.mean(torch.tensor(list(means.values()))).tolist(), strict=True))


class Unrecorded(Recorder):
    """The recorder of a rank that is not the first: it keeps nothing."""

    def write(self, kind: str, **fields: Any) -> dict[str, Any]:
        """What would have been written."""
        return {"kind": kind, **fields}
