"""A run while it trains: everything that changes, taken a step further, saved whole, restored whole."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
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
from limner.data.loader import Loader, LoaderState
from limner.errors import TrainingError
from limner.record import Recorder, truncate_records
from limner.train.alarms import Alarms
from limner.train.average import WeightAverage
from limner.train.blocks import compile_blocks, recompute
from limner.train.distributed import Forward, averaging, in_micro_batches, mean_of_parts, share_statistics
from limner.train.optim import (
    Learners,
    OptimSettings,
    build_optimizer,
    load_optimizer,
    lr_at,
    optimizer_tensors,
    set_lr,
)
from limner.train.precision import in_precision
from limner.train.settings import MachineSettings, TrainSettings
from limner.train.sharding import average_scalars, clip_gradients, cut_like, saved, shard, sharded
from limner.train.steps import Step, TaskState
from limner.train.watch import Report, Stopwatch, Window, resident_bytes
from limner.train.work import Work

Evaluator = Callable[[nn.Module], Iterable[tuple[str, float]]]
"""Takes the averaged model, in eval mode and without gradients; yields (name, value)."""


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
        self.average = WeightAverage(self.model, job.optim.average)
        if job.machine.recompute:
            recompute(self.model)
        if job.machine.compile:
            compile_blocks(self.model)
        forward = Forward(self.model, job.step)
        self.sharded = sharded(job.step, job.machine, job.settings)
        if self.sharded:
            shard(forward)
            self.average.cut()
        self.learners = Learners(self.model, job.optim)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(self.model, job.optim)
        self.forward = forward if self.sharded else averaging(forward)
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
        if self.sharded:
            average_scalars(self.parameters)
        norm = self._clipped()
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

    def _clipped(self) -> Tensor:
        """Clip the gradients where that is asked for; their norm before."""
        limit = self.job.optim.clip_norm or math.inf
        if self.sharded:
            return clip_gradients(self.parameters, limit)
        if limit < math.inf:
            return nn.utils.clip_grad_norm_(self.parameters, limit)
        return nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

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
        devices, model = [self.device] if self.device.type == "cuda" else [], self.average.model
        for name, evaluator in self.job.evaluators.items() if ranks.rank() == 0 else ():
            started = time.perf_counter()
            with torch.random.fork_rng(devices), torch.no_grad():
                measures = {f"{name}/{key}": value for key, value in evaluator(model)}
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
        weights = {"average": stored_weights(self.average.model)}
        if ranks.rank() == 0:
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
        """Everything that `restore` needs; what is cut over ranks is whole on the first rank alone."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        random = {"cpu": torch.get_rng_state()} | ({"cuda": cuda} if cuda is not None else {})
        if ranks.size() > 1:
            every = {name: ranks.gathered(value[None]) for name, value in random.items()}
            random |= {f"{name}_{rank}": row for name, rows in every.items() for rank, row in enumerate(rows)}
        tensors = {
            "model": saved(stored_weights(self.model)),
            "average": stored_weights(self.average.model),
            "optimizer": saved(optimizer_tensors(self.optimizer, self.model)),
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
        load_weights(self.model, self._cut(tensors["model"]), "model.safetensors")
        load_weights(self.average.model, tensors["average"], "average.safetensors")
        if self.sharded:
            self.average.cut()
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

    def _cut(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Whole weights, cut over ranks as the model's are."""
        own = self.model.state_dict() if self.sharded else {}
        return {name: cut_like(value, own.get(name, value)) for name, value in tensors.items()}

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
