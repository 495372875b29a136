"""Train states: what a run needs to go on as if it had never stopped."""

import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from limner.checkpoint.files import atomic_folder, check_sums, read_json, read_tensors, sha256, write_json
from limner.errors import CheckpointError


class TrainState(NamedTuple):
    """Everything a run needs to go on as if it had never stopped.

    Args:
        step: optimiser steps taken.
        tensors: file stem → name → tensor: model, average, teacher, optimizer, queue, random.
        facts: small plain values: loader state, queue position.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    facts: dict[str, Any]


def save_train_state(folder: str | Path, state: TrainState, keep: int = 2) -> Path:
    """Write `folder/step-0000123`, in one move, and remove all but the newest `keep`.

    Args:
        folder: the run's `checkpoints`.
        state: what to save.
        keep: how many stay, ≥ 1.
    Returns: the new folder.
    Raises: CheckpointError when it cannot be written, as on a full disk; those before it stay.
    """
    target = Path(folder) / f"step-{state.step:07d}"
    try:
        with atomic_folder(target) as partial:
            for stem, tensors in state.tensors.items():
                whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
                save_file(whole, partial / f"{stem}.safetensors")
            sums = {path.name: sha256(path) for path in sorted(partial.iterdir())}
            write_json(partial / "state.json", {"step": state.step, "facts": state.facts, "sha256": sums})
    except (OSError, SafetensorError) as error:
        size = sum(
            t.numel() * t.element_size() for tensors in state.tensors.values() for t in tensors.values()
        )
        last = [path.name for path in train_state_folders(folder)][-1:]
        raise CheckpointError(
            f"{target} could not be written: {error}",
            wanted=f"{size / 1e6:,.0f} MB of room on a disk that can be written to",
            hint=f"make room and go on with --resume, from {last[0] if last else 'the start'}",
        ) from error
    for old in train_state_folders(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def drop_train_states(folder: str | Path, after: int) -> None:
    """Remove the train states past step `after`: a run that went back before them writes them anew."""
    for path in train_state_folders(folder):
        if int(path.name.removeprefix("step-")) > after:
            shutil.rmtree(path)


def load_train_state(folder: str | Path) -> TrainState:
    """Read one train state.

    Raises: CheckpointError when a file is missing, damaged or not what it was when it was saved.
    """
    folder = Path(folder)
    state = read_json(folder / "state.json")
    if not {"step", "facts", "sha256"} <= state.keys():
        raise CheckpointError(f"{folder / 'state.json'} is no train state")
    check_sums(folder, state["sha256"])
    tensors = {Path(name).stem: read_tensors(folder / name) for name in state["sha256"]}
    return TrainState(state["step"], tensors, state["facts"])


def newest_train_state(folder: str | Path) -> TrainState | None:
    """Read the newest train state that is whole; a damaged one is skipped with a warning.

    Returns: None when there is none.
    """
    for path in reversed(train_state_folders(folder)):
        try:
            return load_train_state(path)
        except CheckpointError as error:
            warnings.warn(f"skipped a damaged checkpoint: {error}", RuntimeWarning, stacklevel=2)
    return None


def train_state_folders(folder: str | Path) -> list[Path]:
    """Folders of the saved train states, oldest first."""
    return sorted(Path(folder).glob("step-*"))
