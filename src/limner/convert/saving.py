"""Writes a model in the words of another library, or as a bundle of limner's; whole or not at all.

What was written is read back before it takes its place: sizes that the format could not say are refused, and
preparation or labels that it has no word for are told.
"""

import math
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from limner.checkpoint import Bundle, Precision, atomic_folder, narrowed, save_bundle, stored_weights
from limner.checkpoint.bundle import CARD, same_sizes
from limner.checkpoint.files import write_json
from limner.config import Config
from limner.convert.clip_keys import stores_half
from limner.convert.dialect import Description, Dialect
from limner.convert.keymap import KeyMap, write
from limner.convert.opening import find
from limner.convert.sniff import DIALECTS
from limner.convert.tokenizer_files import tokenizer_files
from limner.convert.weights import write_safetensors
from limner.errors import CheckpointError
from limner.models import architecture_of
from limner.shapes import ImageSpec

FORMATS: Final = ("limner", "torchvision", "timm", "hf", "openai", "open_clip", "salesforce")
_NAMES: Final = {"open_clip": "open_clip_model.safetensors"}
_OURS: Final = (".safetensors", ".json", ".txt", ".md")


class Converted(NamedTuple):
    """What was written.

    Args:
        path: folder or file.
        files: names of the files, sorted.
        notes: what the format has no word for, one sentence each.
    """

    path: Path
    files: tuple[str, ...]
    notes: tuple[str, ...]


def convert(
    bundle: Bundle, destination: str | Path, to: str, dtype: Precision = "fp32", *, force: bool = False
) -> Converted:
    """Write a model in another format.

    Args:
        bundle: the model.
        destination: a folder to make, or a file that ends in .safetensors for the weights alone.
        to: one of `FORMATS`.
        dtype: storage of floating weights.
        force: whether what is there may be replaced.
    Raises: CheckpointError when the destination is taken or cannot be written; when the format cannot hold
        the model, with the reason and the formats that can; when a weight does not fit `dtype`.
    """
    path = Path(destination).expanduser()
    try:
        return _written(bundle, path, to, dtype, force)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be written: {error}",
            wanted="a place that you may write to, with room for it",
            hint="name another place",
        ) from error


def _written(bundle: Bundle, path: Path, to: str, dtype: Precision, force: bool) -> Converted:
    if to not in FORMATS:
        raise CheckpointError(f"no format {to!r}", wanted=" or ".join(FORMATS))
    _require_free(path, force)
    alone = path.suffix == ".safetensors"
    if to == "limner":
        if alone:
            raise CheckpointError(f"{path} for a bundle", wanted="a folder: a bundle is several files")
        return _as_bundle(bundle, path, dtype)
    dialect = _dialect(bundle, to)
    config: Config = bundle.model.config  # type: ignore[assignment]
    keymap = dialect.keymap(config)
    wide = write(stored_weights(bundle.model), keymap)
    narrow = stores_half if to == "openai" else _any_key  # OpenAI keeps embeddings, norms and scale wide
    theirs = {key: narrowed(tensor, dtype) if narrow(key) else tensor for key, tensor in wide.items()}
    done = _alone(path, theirs) if alone else _folder(bundle, path, theirs, dialect)
    return done._replace(notes=(*done.notes, *_unsaid(bundle.model, keymap)))


def _any_key(key: str) -> bool:
    return True


def formats_for(config: Config) -> list[str]:
    """Formats that can hold a model of these sizes; limner's own can hold any."""
    return ["limner", *(name for name in FORMATS if isinstance(_fitting(config, name), Dialect))]


def _fitting(config: Config, to: str) -> Dialect | CheckpointError | None:
    """The dialect that can hold a config; or why none can; None when the library has no such family."""
    problem: CheckpointError | None = None
    for dialect in DIALECTS:
        if (dialect.name, dialect.architecture) == (to, architecture_of(config)) and dialect.companions:
            try:
                dialect.checks(config)
            except CheckpointError as error:
                problem = error
            else:
                return dialect
    return problem


def _dialect(bundle: Bundle, to: str) -> Dialect:
    config: Config = bundle.model.config  # type: ignore[assignment]
    found = _fitting(config, to)
    if isinstance(found, Dialect):
        return found
    why = f"{to} has no {architecture_of(config)}" if found is None else found.given
    raise CheckpointError(
        f"{bundle.kind} cannot be written as {to}: {why}",
        wanted=found.wanted if found is not None else "a format of its family",
        hint="--to " + " or --to ".join(formats_for(config)),
    )


def _as_bundle(bundle: Bundle, path: Path, dtype: Precision) -> Converted:
    config: Config = bundle.model.config  # type: ignore[assignment]
    parts = (path, bundle.model, bundle.name, config, bundle.image_spec, bundle.tokenizer)
    told = {"labels": bundle.labels, "task": bundle.task, "source": bundle.source}
    save_bundle(*parts, recipe=bundle.recipe, card=_card(bundle), dtype=dtype, **told)  # type: ignore[arg-type]
    return Converted(path, _names(path), ())


def _card(bundle: Bundle) -> str:
    beside = bundle.path / CARD
    return beside.read_text(encoding="utf-8") if bundle.path.is_dir() and beside.is_file() else ""


def _folder(bundle: Bundle, path: Path, theirs: dict[str, Tensor], dialect: Dialect) -> Converted:
    config: Config = bundle.model.config  # type: ignore[assignment]
    description = Description(config, bundle.image_spec, bundle.task, bundle.labels)
    assert dialect.companions is not None
    texts = tokenizer_files(bundle.tokenizer, dialect.name, config)
    sides = dialect.companions(config, description)
    with atomic_folder(path) as partial:
        file = write_safetensors(partial / _NAMES.get(dialect.name, "model.safetensors"), theirs)
        for name, values in sides.items():
            write_json(partial / name, values)
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        notes = _read_back(file, description, dialect)
    return Converted(path, _names(path), notes)


def _read_back(file: Path, meant: Description, dialect: Dialect) -> tuple[str, ...]:
    """Read what was written as anybody would.

    Returns: what was lost and can be said again, one sentence each.
    Raises: CheckpointError when it is another model now.
    """
    found = find(file)
    if found.missing or found.unused or not same_sizes(found.description.config, meant.config):
        raise CheckpointError(
            f"{dialect.name}'s format cannot say all of this model: read back, it is another one",
            wanted="the same sizes",
            hint="--to limner holds any model",
        )
    notes = []
    if differing := _differing(found.description.image_spec, meant.image_spec):
        notes.append(f"{dialect.name}'s files cannot say how pictures are prepared: {differing}.")
    if meant.labels and found.description.labels != meant.labels:
        notes.append(f"{dialect.name}'s files have no place for the {len(meant.labels)} labels.")
    return tuple(notes)


def _differing(read: ImageSpec, meant: ImageSpec) -> str:
    """The steps that are read another way than they were meant; "" when none."""
    one, other = _steps(read), _steps(meant)
    return ", ".join(
        f"{name} {value} is read as {one[name]}" for name, value in other.items() if one[name] != value
    )


def _steps(spec: ImageSpec) -> dict[str, Any]:
    """What is done to a picture, once what has no effect is left out."""
    cuts = spec.crop == "center" or (spec.resize_px or spec.size) != spec.size
    fraction = spec.crop_fraction if spec.crop == "center" else 1.0
    return {
        "size": spec.size,
        "mean": tuple(round(value, 6) for value in spec.mean),
        "std": tuple(round(value, 6) for value in spec.std),
        "resampling": spec.resampling,
        "crop": spec.crop,
        "resize_px": spec.resize_px or math.floor(spec.size / fraction),
        "crop_offset": spec.crop_offset if cuts else "round",
        "pad_colour": spec.pad_colour if spec.crop == "pad" else None,
    }


def _unsaid(model: nn.Module, keymap: KeyMap) -> tuple[str, ...]:
    """Tensors that the format never stores, and that are not what it takes them for."""
    ours, stored = stored_weights(model), {line.ours for line in keymap.lines}
    lost = [
        key
        for key, fill in keymap.fills.items()
        if key in ours and key not in stored and not torch.equal(ours[key].cpu(), fill.to(ours[key].dtype))
    ]
    return tuple(
        f"{key} {_short(ours[key])} is not stored; it is read as {_short(keymap.fills[key])}." for key in lost
    )


def _short(tensor: Tensor) -> str:
    return f"{float(tensor):.4g}" if tensor.numel() == 1 else f"of shape {tuple(tensor.shape)}"


def _alone(path: Path, theirs: dict[str, Tensor]) -> Converted:
    write_safetensors(path, theirs)
    note = "The weights alone were written: no sizes, no preparation, no tokenizer lie beside them."
    return Converted(path, (path.name,), (note,))


def _require_free(path: Path, force: bool) -> None:
    """Check that nothing is lost.

    Raises: CheckpointError when the destination is there and may not be replaced, or holds other things than
        a model.
    """
    if not path.exists():
        return
    if not force:
        raise CheckpointError(f"{path} exists", wanted="a new place", hint="--force replaces it")
    if path.is_file():
        if path.suffix != ".safetensors":
            raise CheckpointError(f"{path} is a file that limner did not write", wanted="a new place")
        return
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path} is a folder", wanted="a file, or a name without .safetensors")
    others = sorted(p.name for p in path.iterdir() if p.is_dir() or p.suffix not in _OURS)
    if others:
        raise CheckpointError(
            f"{path} holds more than a model: {', '.join(others[:3])}",
            wanted="a folder of weights, JSON and texts alone",
            hint="name a new folder",
        )


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir()))
