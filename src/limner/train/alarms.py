"""Alarms: what goes wrong in training without an error, noticed, said and recorded.

Each looks at the means of a log interval. The default is to warn and record, once until it is over; `strict`
stops the run instead. A loss or gradient that is not finite takes no optimiser step: the weights stay good,
and the batch is kept for a look. Many in a row end the run.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from limner import ranks
from limner.checkpoint import atomic_folder
from limner.checkpoint.files import write_json
from limner.errors import TrainingError
from limner.train.sharding import local

MOST_SKIPPED: Final = 10
"""Steps in a row without finite numbers after which a run ends."""

_FLAT_RECORDS: Final = 8
_ONE_CLASS_RECORDS: Final = 30
_FEWEST_OF_A_CLASS: Final = 0.005
_FLAT: Final = 1e-3
_STALLED: Final = 0.5
_COLLAPSED: Final = 0.95
_LARGEST_SCALE: Final = 99.9


class Alarm(NamedTuple):
    """Something that should be looked at.

    Args:
        name: short code.
        said: what was seen.
        hint: what to try.
    """

    name: str
    said: str
    hint: str


class Alarms:
    """Watches one run.

    Args:
        out: the run folder; `failed/` below it keeps batches.
        strict: whether an alarm ends the run.
    """

    def __init__(self, out: Path, strict: bool = False) -> None:
        self.out, self.strict = out, strict
        self._skipped = 0
        self._on: set[str] = set()
        self._losses: list[float] = []
        self._scales: list[float] = []
        self._one_class = 0
        self._news: list[Alarm] = []

    def finite(self, loss: Tensor, norm: Tensor, step: int, batch: Any) -> bool:
        """Whether a step may be taken; the batch of one that may not is kept.

        Args:
            loss: of this rank.
            norm: of the whole gradient.
            step: optimiser steps taken before.
            batch: that gave them.
        Raises: TrainingError after `MOST_SKIPPED` in a row, or at once when strict.
        """
        good = bool(torch.isfinite(loss) & torch.isfinite(norm))
        if not ranks.agreed(int(not good)):
            self._skipped = 0
            return True
        self._skipped += 1
        kept = keep_batch(self.out / "failed", step, batch)
        said = f"step {step + 1}: loss {float(loss)}, gradient norm {float(norm)}; its batch is in {kept}"
        hint = "--set optim.lr=… lower, or optim.warmup_steps=… higher, with a new --out"
        if self.strict or self._skipped >= MOST_SKIPPED:
            raise TrainingError(f"{said}, {self._skipped} in a row", wanted="finite values", hint=hint)
        self._news.append(Alarm("not_finite", f"{said}; no step was taken", hint))
        return False

    def look(self, record: Mapping[str, Any], model: nn.Module) -> list[Alarm]:
        """Alarms that a train record gives cause for, each once until its cause is gone.

        Args:
            record: loss, stats, `data_wait`.
            model: with the gradients of the last step.
        Raises: TrainingError for the first when strict.
        """
        self._losses = [*self._losses, record["loss"]][-_FLAT_RECORDS:]
        self._scales = [*self._scales, record.get("logit_scale", math.nan)][-_FLAT_RECORDS:]
        undecided = not _FEWEST_OF_A_CLASS < record.get("itm_positive", 0.5) < 1 - _FEWEST_OF_A_CLASS
        self._one_class = self._one_class + 1 if undecided else 0
        found = [*_of_record(record), *_flat(self._losses), *_stuck(self._scales, model), *_dead(model)]
        if self._one_class >= _ONE_CLASS_RECORDS:  # every ITM begins so
            said = f"ITM has called nearly every pair the same for {self._one_class} records"
            found.append(Alarm("itm_one_class", said, "lower optim.lr, or raise objective.itm"))
        fresh = [alarm for alarm in found if alarm.name not in self._on]
        self._on = {alarm.name for alarm in found}
        news, self._news = [*self._news, *fresh], []
        if news and self.strict:
            raise TrainingError(news[0].said, hint=news[0].hint)
        return news


def keep_batch(folder: Path, step: int, batch: Any) -> Path:
    """Write a batch aside: its tensors as safetensors, its keys as JSON. Each rank has its own folder."""
    target = folder / f"step-{step:07d}-rank-{ranks.rank()}"
    tensors = {
        name: part.detach().cpu().contiguous()
        for name, part in batch._asdict().items()
        if isinstance(part, Tensor)
    }
    with atomic_folder(target) as partial:
        save_file(tensors, partial / "batch.safetensors")
        write_json(
            partial / "batch.json", {"step": step, "keys": list(batch.keys), "of": type(batch).__name__}
        )
    return target


def _of_record(record: Mapping[str, Any]) -> Iterator[Alarm]:
    scale = record.get("logit_scale", 0.0)
    if scale >= _LARGEST_SCALE:
        yield Alarm("logit_scale", f"the logit scale is {scale:.1f}, its bound", "lower optim.lr")
    if record.get("mean_cosine", 0.0) > _COLLAPSED:
        yield Alarm(
            "collapse",
            f"all pictures and texts lie together: mean cosine {record['mean_cosine']:.3f}",
            "lower optim.lr, lengthen optim.warmup_steps, or enlarge train.batch_size",
        )
    if record.get("data_wait", 0.0) > _STALLED:
        yield Alarm(
            "data_wait",
            f"{record['data_wait']:.0%} of the time goes into waiting for data",
            "--set machine.workers=… higher",
        )


def _flat(losses: list[float]) -> Iterator[Alarm]:
    """A loss that has not moved since the first record: a learning rate that does nothing."""
    if len(losses) < _FLAT_RECORDS or not all(map(math.isfinite, losses)):
        return
    spread = max(losses) - min(losses)
    if spread <= _FLAT * max(abs(losses[0]), 1e-9):
        yield Alarm(
            "flat_loss",
            f"the loss has stayed at {losses[-1]:.4f} for {len(losses)} records",
            "raise optim.lr, or look whether the labels belong to the pictures",
        )


def _stuck(scales: list[float], model: nn.Module) -> Iterator[Alarm]:
    """A logit scale that is to be learnt and has not moved by a bit; one at its bound has its own alarm."""
    learnt = getattr(model, "log_logit_scale", None)
    if learnt is None or not learnt.requires_grad or len(scales) < _FLAT_RECORDS:
        return
    if scales[0] < _LARGEST_SCALE and len(set(scales)) == 1:
        yield Alarm(
            "logit_scale_stuck",
            f"the logit scale has stayed at {scales[0]:.3f} for {len(scales)} records",
            "raise optim.lr, or freeze it if that is meant",
        )


def _dead(model: nn.Module) -> Iterator[Alarm]:
    """A part of the model whose gradients are all zero."""
    for name, part in model.named_children():
        grads = [p.grad for p in part.parameters() if p.requires_grad and p.grad is not None]
        alive = any(bool(local(grad).any()) for grad in grads)
        if grads and not ranks.agreed(int(alive)):
            yield Alarm(f"dead_{name}", f"no gradient reaches {name}", "look at the weights of [objective]")
