"""What a run would need, before it is begun: memory by part, time, disk, from a few measured steps.

Activations are counted as the tensors that autograd keeps, on a few rows, and grow with the batch; FLOPs are
those of torch's counter, forward and backward. A plan that cannot fit says which knob to turn.
"""

import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from limner import ranks
from limner.errors import ConfigError
from limner.recipe.runner import Composed, compose, resolve
from limner.recipe.schema import Recipe
from limner.train.run import Run
from limner.train.steps import (
    ClassificationSettings,
    ContrastiveSettings,
    DetectionSettings,
    MaskedPatchSettings,
)
from limner.train.watch import Report, silent
from limner.train.work import PEAK_TFLOPS

_BY_ROW: Final = (ClassificationSettings, DetectionSettings, MaskedPatchSettings)  # no loss needs pairs
_ROWS: Final = 8
_MORE_ROWS: Final = 64
_STEPS: Final = 3
_PATIENCE_S: Final = 4.0


class Plan(NamedTuple):
    """What a run would need.

    Args:
        recipe: resolved.
        derived: quantities that follow from it.
        memory: bytes on each device by part: weights, gradients, optimizer, average, task, activations.
        available: bytes free on the device.
        device: its name.
        gflops_per_sample: of a training step.
        seconds_per_step: measured on a few rows, and scaled to the batch.
        epoch_steps: optimiser steps of an epoch.
        disk: bytes of the checkpoints that stay, the best and the model.
        disk_free: bytes.
        rows: that were measured.
        at_once: rows that a device holds the activations of.
    """

    recipe: Recipe
    derived: dict[str, float]
    memory: dict[str, int]
    available: int
    device: str
    gflops_per_sample: float
    seconds_per_step: float
    epoch_steps: int
    disk: int
    disk_free: int
    rows: int
    at_once: int

    @property
    def hours(self) -> float:
        """Of the whole run, without its evaluations."""
        return self.recipe.train.steps * self.seconds_per_step / 3600

    @property
    def tflops(self) -> float:
        """That each device does a second."""
        samples = self.recipe.train.batch_size / ranks.size()
        return self.gflops_per_sample * samples / self.seconds_per_step / 1e3

    def values(self) -> dict[str, Any]:
        """Plain values."""
        peak = PEAK_TFLOPS.get(self.device)
        return {
            "digest": self.recipe.digest,
            **self.derived,
            "device": self.device,
            "memory": self.memory,
            "memory_total": sum(self.memory.values()),
            "memory_available": self.available,
            "gflops_per_sample": self.gflops_per_sample,
            "tflops": self.tflops,
            **({"mfu": self.tflops / peak} if peak else {}),
            "seconds_per_step": self.seconds_per_step,
            "hours_per_epoch": self.epoch_steps * self.seconds_per_step / 3600,
            "hours": self.hours,
            "disk": self.disk,
            "disk_free": self.disk_free,
            "measured_rows": self.rows,
        }

    def lines(self) -> list[str]:
        """For people, line by line."""
        told = self.values()
        parts = "  ".join(f"{name} {_gb(size)}" for name, size in self.memory.items())
        used = f", {told['mfu']:.0%} of its peak" if "mfu" in told else ""
        return [
            f"run {told['digest']}  " + "  ".join(f"{k} {v:,}" for k, v in self.derived.items()),
            f"memory a device: {_gb(told['memory_total'])} of {_gb(self.available)} free on {self.device}",
            f"  {parts}",
            f"work: {self.gflops_per_sample:,.2f} GFLOP a sample, {self.tflops:,.2f} TFLOP/s{used}",
            f"time: {self.seconds_per_step:.3g} s a step, {told['hours_per_epoch']:.3g} h an epoch, "
            f"{self.hours:.3g} h the run; measured on {self.rows} rows, without evaluations",
            f"disk: {_gb(self.disk)} of {_gb(self.disk_free)} free",
        ]

    def require_fit(self) -> None:
        """Check that memory and disk are enough.

        Raises: ConfigError that says which knob to turn.
        """
        total = sum(self.memory.values())
        if total > self.available:
            raise ConfigError(
                f"this run needs {_gb(total)} of memory on {self.device}",
                wanted=f"at most {_gb(self.available)}, what is free",
                hint=self._knob(),
            )
        if self.disk > self.disk_free:
            raise ConfigError(
                f"checkpoints take {_gb(self.disk)}",
                wanted=f"at most {_gb(self.disk_free)}, what is free on the disk",
                hint="--set train.keep=1, or another --out",
            )

    def _knob(self) -> str:
        """What lowers the largest part that can be lowered."""
        static = sum(size for name, size in self.memory.items() if name != "activations")
        if static > self.available:
            return "a smaller model, or a larger device: weights and optimiser alone do not fit"
        room = (self.available - static) / max(1, self.memory["activations"]) * self.at_once
        rows = 2 ** int(math.log2(max(1.0, room)))
        if isinstance(self.recipe.objective, _BY_ROW):
            return f"--set train.micro_batch={rows}, or --set machine.recompute=true"
        if isinstance(self.recipe.objective, ContrastiveSettings):
            return f"--set objective.part={rows}, or --set machine.recompute=true"
        return f"--set train.batch_size={rows * ranks.size()}, or --set machine.recompute=true"


def plan_of(recipe: Recipe, out: str | Path = ".", report: Report = silent) -> Plan:
    """Measure what a recipe would need: a few steps on a few rows, of which nothing is kept.

    Args:
        recipe: what to do.
        out: where the run's folder would be; its disk counts.
        report: takes lines for the user.
    """
    recipe = resolve(recipe)
    made = compose(recipe, report)
    device = next(made.job.model.parameters()).device
    available = _available(device)
    with tempfile.TemporaryDirectory() as folder:
        return _measured(recipe, made, available, Path(out), Path(folder))


def _measured(recipe: Recipe, made: Composed, available: int, out: Path, scratch: Path) -> Plan:
    run = Run(made.job, scratch)
    whole = next(made.job.loader.batches())[0]
    batch, rows = _few(whole, _ROWS, run.device)
    kept = _Kept(run)
    with FlopCounterMode(display=False) as counter, kept:
        run.advance(batch)
    gflops, activations = counter.get_total_flops() / rows / 1e9, kept.bytes / rows
    seconds = _timed(run, batch)
    more = _MORE_ROWS / rows
    if (
        seconds * more < _PATIENCE_S and activations * _MORE_ROWS < available / 4
    ):  # small steps are mostly waiting
        batch, rows = _few(whole, _MORE_ROWS, run.device)
        seconds = _timed(run, batch)
    mine = recipe.train.batch_size // ranks.size()
    at_once = mine
    if isinstance(recipe.objective, _BY_ROW):
        at_once = min(mine, recipe.train.micro_batch or mine)
    elif isinstance(recipe.objective, ContrastiveSettings):
        at_once = min(mine, recipe.objective.part or mine)
    state = {stem: _bytes(tensors.values()) for stem, tensors in run.state().tensors.items()}
    memory = {
        "weights": state["model"],
        "gradients": _bytes(p for p in made.job.model.parameters() if p.requires_grad),
        "optimizer": state["optimizer"],
        "average": state["average"],
        "task": state.get("teacher", 0) + state.get("queue", 0),
        "activations": int(activations * at_once),
    }
    return Plan(
        recipe=recipe,
        derived=made.derived,
        memory=memory,
        available=available,
        device=torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else "CPU",
        gflops_per_sample=gflops,
        seconds_per_step=seconds / rows * mine,
        epoch_steps=made.job.loader.steps_per_epoch,
        disk=sum(state.values()) * recipe.train.keep + state["average"] * (1 + bool(recipe.train.best)),
        disk_free=shutil.disk_usage(out if out.exists() else ".").free,
        rows=rows,
        at_once=at_once,
    )


class _Kept(saved_tensors_hooks):
    """Counts the bytes that autograd keeps for the gradient, each memory once, weights apart."""

    def __init__(self, run: Run) -> None:
        self.bytes = 0
        self._seen = {p.untyped_storage().data_ptr() for p in run.model.parameters()}
        self._alive: list[Tensor] = []  # else memory is used again, and counted once for two
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()
        if place.data_ptr() not in self._seen:
            self._seen.add(place.data_ptr())
            self._alive.append(tensor.detach())
            self.bytes += place.nbytes()
        return tensor


def _few(batch: Any, most: int, device: torch.device) -> tuple[Any, int]:
    """The first rows of a batch, a number that divides its own, on the device."""
    size = len(batch[0])
    rows = max(n for n in range(1, min(most, size) + 1) if size % n == 0)
    return type(batch)(batch[0][:rows], *(part[:rows].to(device) for part in batch[1:])), rows


def _timed(run: Run, batch: Any) -> float:
    """Seconds of a step, the first one left out."""
    run.advance(batch)
    _wait(run.device)
    started = time.perf_counter()
    for _ in range(_STEPS):
        run.advance(batch)
    _wait(run.device)
    return (time.perf_counter() - started) / _STEPS


def _available(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
