"""What is written to disk and read back: bundles (a model to use) and train states (a run to go on with).

Only safetensors and JSON: pickle is never opened. Every file's SHA-256 is checked on load; missing and
unexpected keys are both fatal. A folder appears whole (written aside, fsynced, renamed) or not at all.

    bundle       model.safetensors  config.json  tokenizer.json  README.md (the card)
    train state  RUN/checkpoints/step-0000123/  {model,average,optimizer,…}.safetensors  state.json
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import limner
from limner.config import build
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.models import MODELS
from limner.models.blip import BLIP
from limner.shapes import ImageSpec

DEFAULT = "limner_tiny"
"""The model that ships inside the package."""

ASSETS = Path(__file__).parent / "assets"
_WEIGHTS, _CONFIG, _TOKENIZER, _CARD = "model.safetensors", "config.json", "tokenizer.json", "README.md"
_FORMAT = 1
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


class Bundle(NamedTuple):
    """A model with everything that is needed to use it.

    Args:
        name: key of `MODELS` that it was built from.
        model: in eval mode, fp32.
        image_spec: how a picture becomes the model's input.
        tokenizer: None for a model without a text tower.
        recipe: the resolved recipe it was trained with, plain values.
        digest: first 12 hex digits of the SHA-256 of the weights file; names what is made with it.
        path: folder it was read from.
    """

    name: str
    model: nn.Module
    image_spec: ImageSpec
    tokenizer: WordPiece | None
    recipe: dict[str, Any]
    digest: str
    path: Path

    def blip(self) -> tuple[BLIP, WordPiece]:
        """The model as a BLIP, with its tokenizer.

        Raises: CheckpointError when the bundle holds another kind of model.
        """
        if not isinstance(self.model, BLIP) or self.tokenizer is None:
            raise CheckpointError(
                f"{self.path} is a {self.name}, which does not read pictures and texts together",
                wanted="a BLIP with its tokenizer",
                hint="the default model is one: --model limner_tiny",
            )
        return self.model, self.tokenizer


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


def stored_weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, a tied one once (under its first name), contiguous."""
    named = module.state_dict(keep_vars=True)  # the very Parameter objects, so that ties show
    first = {id(tensor): name for name, tensor in reversed(named.items())}
    return {name: tensor.detach().contiguous() for name, tensor in named.items() if first[id(tensor)] == name}


@torch.no_grad()
def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy tensors into a module, in place; half precision is widened.

    Args:
        module: takes the values; keeps its dtype, device and ties.
        tensors: as `stored_weights` gives.
        origin: file name, for the message.
    Raises: CheckpointError when a key is missing or unexpected, or a shape differs.
    """
    named = module.state_dict(keep_vars=True)
    wanted = stored_weights(module).keys()
    missing, unexpected = sorted(wanted - tensors.keys()), sorted(tensors.keys() - wanted)
    if missing or unexpected:
        raise CheckpointError(
            f"{origin}: {len(missing)} missing keys {missing[:3]}, {len(unexpected)} others {unexpected[:3]}",
            wanted=f"exactly the {len(wanted)} weights of {type(module).__name__}",
        )
    for name in wanted:
        if named[name].shape != tensors[name].shape:
            raise CheckpointError(
                f"{origin}: {name} has shape {tuple(tensors[name].shape)}",
                wanted=str(tuple(named[name].shape)),
            )
        named[name].detach().copy_(tensors[name])


def save_bundle(
    folder: str | Path,
    model: nn.Module,
    name: str,
    model_config: BaseModel,
    image_spec: ImageSpec,
    tokenizer: WordPiece | None = None,
    *,
    recipe: dict[str, Any] | None = None,
    card: str = "",
    dtype: Literal["fp32", "fp16"] = "fp32",
) -> Path:
    """Write a model and all it needs to a folder, in one move; a bundle that is there already is replaced.

    Args:
        folder: where to; its parents are made.
        model: its weights are stored, tied ones once.
        name: key of `MODELS`.
        model_config: what `MODELS[name].build` takes.
        image_spec: preprocessing.
        tokenizer: None for a model without a text tower.
        recipe: the resolved recipe, plain values.
        card: Markdown for README.md; none when empty.
        dtype: storage of floating weights; loading widens to fp32.
    Returns: the folder.
    """
    weights = {key: _narrow(tensor.cpu(), dtype) for key, tensor in stored_weights(model).items()}
    with atomic_folder(Path(folder)) as partial:
        save_file(weights, partial / _WEIGHTS)
        (partial / _WEIGHTS).chmod(0o644)  # safetensors leaves it readable by its owner alone
        if tokenizer is not None:
            (partial / _TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
        if card:
            (partial / _CARD).write_text(card, encoding="utf-8")
        sums = {path.name: _sha256(path) for path in sorted(partial.iterdir()) if path.name != _CARD}
        config = {
            "format": _FORMAT,
            "limner": limner.__version__,
            "name": name,
            "model": model_config.model_dump(mode="json"),
            "image_spec": image_spec.model_dump(mode="json"),
            "recipe": recipe or {},
            "sha256": sums,
        }
        _write_json(partial / _CONFIG, config)
    return Path(folder)


def load(name_or_path: str | Path = DEFAULT, device: str | torch.device = "cpu") -> Bundle:
    """Read a bundle.

    Args:
        name_or_path: "limner_tiny" (ships in the package), a bundle's folder, or a run's folder.
        device: where the model goes.
    Returns: the bundle, its model in eval mode.
    Raises: CheckpointError when there is no bundle, or it is damaged, or does not fit its model.
    """
    folder = _find_bundle(name_or_path)
    config = _read_json(folder / _CONFIG)
    if config.get("format") != _FORMAT or not isinstance(config.get("sha256"), dict):
        raise CheckpointError(
            f"{folder / _CONFIG} is format {config.get('format')!r}",
            wanted=f"format {_FORMAT} of a limner bundle",
        )
    _check_sums(folder, config["sha256"])
    name = config["name"]
    if name not in MODELS:
        raise CheckpointError(f"{folder} holds a {name!r}", wanted=f"one of {', '.join(sorted(MODELS))}")
    entry = MODELS[name]
    model = entry.build(build(config["model"], type(entry.config), str(folder / _CONFIG)))
    load_weights(model, _read_tensors(folder / _WEIGHTS), str(folder / _WEIGHTS))
    tokenizer = folder / _TOKENIZER
    return Bundle(
        name=name,
        model=model.to(device).eval(),
        image_spec=build(config["image_spec"], ImageSpec, str(folder / _CONFIG)),
        tokenizer=WordPiece.from_json(tokenizer.read_text(encoding="utf-8")) if tokenizer.exists() else None,
        recipe=config["recipe"],
        digest=config["sha256"][_WEIGHTS][:12],
        path=folder,
    )


def bundle_digest(name_or_path: str | Path) -> str:
    """The digest of a bundle's weights as it was saved, without reading them."""
    return str(_read_json(_find_bundle(name_or_path) / _CONFIG)["sha256"][_WEIGHTS])[:12]


def _find_bundle(name_or_path: str | Path) -> Path:
    path = ASSETS / DEFAULT if name_or_path == DEFAULT else Path(name_or_path).expanduser()
    for folder in (path, path / "model"):
        if (folder / _CONFIG).is_file() and (folder / _WEIGHTS).is_file():
            return folder
    wanted = f'a folder with {_CONFIG} and {_WEIGHTS}, a run folder, or "{DEFAULT}"'
    hint = "limner train RECIPE --out RUN makes one"
    pickles = [p for p in ([path] if path.is_file() else path.glob("*")) if p.suffix in _PICKLES]
    if pickles:
        raise CheckpointError(
            f"{pickles[0]} is a pickle, and pickle is never opened", wanted=wanted, hint=hint
        )
    if (path / "checkpoints").is_dir():
        raise CheckpointError(
            f"the run {path} has not ended, so it has no model/", wanted=wanted, hint="resume it to its end"
        )
    found = "is no bundle" if path.exists() else "does not exist"
    raise CheckpointError(f"{str(name_or_path)!r} {found}", wanted=wanted, hint=hint)


def _narrow(tensor: Tensor, dtype: str) -> Tensor:
    return tensor.half() if dtype == "fp16" and tensor.is_floating_point() else tensor


def save_train_state(folder: str | Path, state: TrainState, keep: int = 2) -> Path:
    """Write `folder/step-0000123`, in one move, and remove all but the newest `keep`.

    Args:
        folder: the run's `checkpoints`.
        state: what to save.
        keep: how many stay, ≥ 1.
    Returns: the new folder.
    """
    target = Path(folder) / f"step-{state.step:07d}"
    with atomic_folder(target) as partial:
        for stem, tensors in state.tensors.items():
            whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(whole, partial / f"{stem}.safetensors")
        sums = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
        _write_json(partial / "state.json", {"step": state.step, "facts": state.facts, "sha256": sums})
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
    state = _read_json(folder / "state.json")
    if not {"step", "facts", "sha256"} <= state.keys():
        raise CheckpointError(f"{folder / 'state.json'} is no train state")
    _check_sums(folder, state["sha256"])
    tensors = {Path(name).stem: _read_tensors(folder / name) for name in state["sha256"]}
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


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write in that becomes `target` when the block ends well, and vanishes otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, old = target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.old")
    shutil.rmtree(partial, ignore_errors=True)
    if old.exists() and not target.exists():  # killed between the two renames below
        old.rename(target)
    partial.mkdir()
    try:
        yield partial
        for path in (*partial.iterdir(), partial):
            _fsync(path)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        partial.rename(target)
        _fsync(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing", wanted=f"the file that {folder.name} was saved with")
        if (found := _sha256(path)) != expected:
            raise CheckpointError(
                f"{path} is not the file that was saved: SHA-256 {found[:12]}…", wanted=f"{expected[:12]}…"
            )


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}", wanted="the JSON that limner wrote"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object", wanted="the JSON that limner wrote")
    return values


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", wanted="a safetensors file") from error
