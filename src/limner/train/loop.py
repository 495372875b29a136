"""THE loop: every model of limner is trained by `train`, whatever its task.

A task is a step function (see `steps`); evaluators are callables that yield (name, value). On CPU, a run that
is stopped and resumed ends with the very bits it would have had: `run.Run` holds and saves all that changes.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from limner import ranks
from limner.train.run import Job, Run, on_device
from limner.train.sinks import Sinks, scalars_of
from limner.train.stop import Stop
from limner.train.watch import Display, Report, Stopwatch, Window, silent

REASONS = ("", "max_minutes", "SIGTERM", "SIGINT", "no_better")
"""Why a run may end before its last step; the ranks agree on the last of those they have."""


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
