"""A batch that gave no finite loss, once more: which module it was, which terms, which gradients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from limner.checkpoint import load_train_state, train_state_folders
from limner.checkpoint.files import read_json, read_tensors
from limner.data.batches import Captioned, Labelled, Pictures
from limner.data.loader import Batch
from limner.data.ngram_dictionary import NGrammed
from limner.data.worded import Tagged, Worded
from limner.errors import DataError
from limner.recipe.runner import compose
from limner.recipe.schema import read
from limner.train.precision import in_precision
from limner.train.run import Run, on_device

BATCHES: dict[str, Any] = {
    kind.__name__: kind for kind in (Batch, Captioned, Labelled, NGrammed, Pictures, Tagged, Worded)
}


class Replay(NamedTuple):
    """What a batch gave when it was replayed.

    Args:
        step: optimiser steps taken before the batch was met.
        checkpoint: step of the weights that it was replayed on; -1 are fresh ones.
        keys: of its rows.
        loss: of the batch.
        terms: of the loss.
        first: module whose output is the first not to be finite; "" when all are.
        gradients: parameters whose gradient is not finite.
    """

    step: int
    checkpoint: int
    keys: list[str]
    loss: float
    terms: dict[str, float]
    first: str
    gradients: list[str]


def kept_batches(run: str | Path) -> list[Path]:
    """Folders of the batches that a run has kept, in the order of their steps."""
    return sorted(path for path in (Path(run) / "failed").glob("step-*") if path.is_dir())


def replay(run: str | Path, batch: str | Path | None = None) -> Replay:
    """Give a kept batch to the model once more, watching every module; the run is left as it is.

    Args:
        run: its folder.
        batch: one of `kept_batches`; the first when None.
    Raises: DataError when the run has kept none.
    """
    run, kept = Path(run), kept_batches(run)
    folder = Path(batch) if batch is not None else (kept[0] if kept else None)
    if folder is None or not (folder / "batch.json").is_file():
        raise DataError(
            f"{folder or run} holds no batch",
            wanted="a run that met a loss or gradient that is not finite; it keeps the batch in failed/",
            hint=f"ls {run / 'failed'}",
        )
    facts = read_json(folder / "batch.json")
    kind = BATCHES[facts["of"]]
    values = kind(keys=facts["keys"], **read_tensors(folder / "batch.safetensors"))
    recipe = read(run / "recipe.toml", ["machine.workers=0", "machine.compile=false"])
    made = compose(recipe)
    step = _restored(Run(made.job, run), run, facts["step"])
    model = made.job.model
    device = next(model.parameters()).device
    values = on_device(values, device)
    with _Watching(model) as watch, in_precision(recipe.train.precision, device):
        result = made.job.step(model, made.job.state, values, facts["step"])
    torch.autograd.backward(result.loss)
    return Replay(
        step=facts["step"],
        checkpoint=step,
        keys=facts["keys"],
        loss=float(result.loss.detach()),
        terms={name: float(term.detach()) for name, term in result.terms.items()},
        first=watch.first,
        gradients=[
            name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()
        ],
    )


def _restored(run: Run, folder: Path, step: int) -> int:
    """Restore the newest checkpoint that is not past a step; gives its step, -1 without one."""
    before = [
        path
        for path in train_state_folders(folder / "checkpoints")
        if int(path.name.removeprefix("step-")) <= step
    ]
    if not before:
        return -1
    run.restore(load_train_state(before[-1]))
    return run.step


class _Watching:
    """While entered, notes the first module whose output is not finite.

    Args:
        model: its modules are told by their names.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.first = model, ""
        self._hooks: list[Any] = []

    def __enter__(self) -> "_Watching":
        for name, module in self.model.named_modules():
            if name:
                self._hooks.append(module.register_forward_hook(self._look(name)))
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _look(self, name: str) -> Callable[..., None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self.first and not all(part.isfinite().all() for part in _floats(output)):
                self.first = name

        return look


def _floats(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    return [part for item in value for part in _floats(item)] if isinstance(value, (tuple, list)) else []
