"""Files that appear whole or not at all, JSON, sums, and safetensors; what is wrong with one is named."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from limner.errors import CheckpointError


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
            fsync(path)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        partial.rename(target)
        fsync(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def fsync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Check files against what they were when they were saved.

    Raises: CheckpointError when one is missing or another.
    """
    for name, expected in sums.items():
        path = folder / name
        if Path(name).name != name:
            raise CheckpointError(f"{folder} names a file outside of it: {name!r}", wanted="plain file names")
        if not path.is_file():
            raise CheckpointError(f"{path} is missing", wanted=f"the file that {folder.name} was saved with")
        if (found := sha256(path)) != expected:
            raise CheckpointError(
                f"{path} is not the file that was saved: SHA-256 {found[:12]}…",
                wanted=f"{str(expected)[:12]}…",
                hint="copy it again from where it came from",
            )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values for people to read."""
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises: CheckpointError when it is no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}", wanted="the JSON that limner wrote"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object", wanted="the JSON that limner wrote")
    return values


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises: CheckpointError when it is none.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", wanted="a safetensors file") from error
    return tensors
