"""Train states kept a second time in a place elsewhere, such as `s3://bucket/runs/mine`, by fsspec.

    PLACE/run.json                the digest of the run it belongs to
    PLACE/model/                  the bundle, when the run has ended
    PLACE/best/step-0000100/      the best weights, where a best is kept
    PLACE/step-0000123/           {model,average,optimizer,…}.safetensors  state.json

`state.json` names every file with its SHA-256; it is written last and removed first, so a state whose copy
broke off has none and is never taken for one. What is fetched is checked like any train state.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from limner.checkpoint.files import atomic_folder, check_sums, read_json
from limner.checkpoint.states import train_state_folders
from limner.errors import CheckpointError

_MANIFEST = "state.json"


class Mirror:
    """A place that holds the last train states of a run.

    Args:
        address: of a protocol that fsspec knows: `s3://`, `gs://`, `file://`, …
    Raises: CheckpointError when its protocol is unknown, or has no package here.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        protocol, mark, _ = address.partition("://")
        if not mark:
            raise CheckpointError(
                f"machine.mirror {address!r}", wanted="an address such as s3://bucket/runs/mine"
            )
        local = {"auto_mkdir": True} if protocol == "file" else {}
        try:
            self._store, self._root = fsspec.core.url_to_fs(self.address, **local)
        except (ImportError, ValueError) as error:
            raise CheckpointError(
                f"machine.mirror {address}: {error}", hint="pip install 'limner[remote]' has s3:// and gs://"
            ) from error

    def claim(self, run: str, resume: bool) -> None:
        """Make the place that of a run.

        Args:
            run: digest of its recipe.
            resume: whether states of it may be there already.
        Raises: CheckpointError when it is another run's, holds this one's and `resume` is False, or cannot be
            reached.
        """
        owner = self._path("run.json")
        with self._reached():
            held = self._store.exists(owner)
            found = json.loads(self._store.cat_file(owner))["digest"] if held else run
            steps = self.steps()
            if not held:
                self._store.makedirs(self._root, exist_ok=True)
                self._store.pipe_file(owner, json.dumps({"digest": run}).encode())
        if found != run:
            raise CheckpointError(
                f"{self.address} holds run {found}, and this recipe is {run}",
                wanted="a place of its own",
                hint=f'--set machine.mirror="{self.address}-{run}"',
            )
        if steps and not resume:
            raise CheckpointError(
                f"{self.address} holds {steps[-1]} of this very run",
                wanted="an empty place",
                hint="--resume goes on from it",
            )

    def keep(self, folder: Path, keep: int) -> None:
        """Copy a train state there, and leave the newest `keep`; what fails is warned about, and no more.

        Args:
            folder: `step-…` on this machine.
            keep: how many stay, ≥ 1.
        """
        try:
            self._copy(folder)
            whole = self.steps()
            for name in self._names():
                if name not in whole[-keep:]:
                    self._remove(name)
        except Exception as error:  # whatever a store raises for a name, a right or a network that is wrong
            self._warn(f"{folder.name} was not copied to", error, "the one on this machine is whole")

    def fetch(self, folder: Path) -> None:
        """Bring the newest whole train state into `checkpoints`, unless one as new is there and whole.

        Raises: CheckpointError when the place cannot be looked into: going on without would begin anew.
        """
        with self._reached():
            steps = self.steps()
        here = next((path.name for path in reversed(train_state_folders(folder)) if _whole(path)), "")
        for name in reversed([name for name in steps if name > here]):
            try:
                self._bring(name, folder / name)
            except Exception as error:
                self._warn(f"passed over {name} of", error, "the one before it is tried")
            else:
                return

    def below(self, name: str) -> "Mirror":
        """The place of this name in it."""
        return Mirror(f"{self.address}/{name}")

    def ship(self, folder: Path) -> None:
        """Copy a finished model there, under its own name; what fails is warned about, and no more."""
        try:
            for path in sorted(folder.iterdir()):
                self._store.put_file(str(path), self._path(folder.name, path.name))
        except Exception as error:
            self._warn(f"{folder} was not copied to", error, "it is whole on this machine")

    def drop(self, after: int) -> None:
        """Remove the train states past step `after`: a run that went back before them writes them anew."""
        try:
            for name in self._names():
                if int(name.removeprefix("step-")) > after:
                    self._remove(name)
        except Exception as error:
            self._warn("what is past the resumed step stays in", error, "")

    def steps(self) -> list[str]:
        """Names of the train states that were copied to their end, oldest first."""
        return [name for name in self._names() if self._store.exists(self._path(name, _MANIFEST))]

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever a store raises for a name, a right or a network that is wrong
            raise CheckpointError(
                f"{self.address} cannot be used: {type(error).__name__}: {error}",
                wanted="a place that can be read and written",
                hint='--set machine.mirror="" goes by this machine alone',
            ) from error

    def _names(self) -> list[str]:
        self._store.invalidate_cache()
        if not self._store.exists(self._root):
            return []
        listed: list[str] = self._store.ls(self._root, detail=False)
        names = (path.rstrip("/").rsplit("/", 1)[-1] for path in listed)
        return sorted(name for name in names if name.startswith("step-"))

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    def _copy(self, folder: Path) -> None:
        name = folder.name
        if name in self._names():  # of another try
            self._remove(name)
        files = sorted(folder.iterdir(), key=lambda path: (path.name == _MANIFEST, path.name))
        for path in files:
            self._store.put_file(str(path), self._path(name, path.name))

    def _bring(self, name: str, target: Path) -> None:
        with atomic_folder(target) as partial:
            self._store.get_file(self._path(name, _MANIFEST), str(partial / _MANIFEST))
            sums: dict[str, Any] = read_json(partial / _MANIFEST)["sha256"]
            for file in sums:
                if Path(file).name == file:
                    self._store.get_file(self._path(name, file), str(partial / file))
            check_sums(partial, sums)

    def _remove(self, name: str) -> None:
        manifest = self._path(name, _MANIFEST)
        if self._store.exists(manifest):
            self._store.rm_file(manifest)
        self._store.rm(self._path(name), recursive=True)

    def _warn(self, said: str, error: Exception, then: str) -> None:
        told = f"{said} {self.address}: {type(error).__name__}: {error}" + (f"; {then}" if then else "")
        warnings.warn(told, RuntimeWarning, stacklevel=3)


def _whole(folder: Path) -> bool:
    """Whether a train state on this machine is what was saved."""
    try:
        check_sums(folder, read_json(folder / _MANIFEST)["sha256"])
    except (CheckpointError, KeyError):
        return False
    return True
