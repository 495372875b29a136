"""Files of torch.save, new (zip) and old (one stream of pickles), and TorchScript archives: tensors, no code.

Each is opened in two steps. The pickle is read to values in which a tensor is a `Blueprint`; nothing large
is read yet. Then the tensors that are wanted are made, each storage read once, straight into the memory its
tensors share: the peak is what those storages take, and what is not wanted (an optimiser's state) is free.
"""

import io
import struct
from collections.abc import Callable, Mapping
from io import BufferedReader
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limner.convert.archives import Archive
from limner.convert.pickles import MAX_BYTES, read_pickle
from limner.convert.rebuilt import Blueprint, Inert, StorageRef
from limner.convert.refusals import damaged, foreign, oversized

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of an old file."""

_PROTOCOL = 1001
_MAX_VISITS = 100_000
_MAX_DEPTH = 64
_MAX_NAME = 1000


class TorchFile(NamedTuple):
    """A file whose values were read, and whose tensors were not.

    Args:
        value: what was saved, tensors as `Blueprint`; of a TorchScript archive, its module.
        container: "torch", "torch_legacy" or "torchscript".
        read: reads one storage, as bytes.
        origin: file name, for messages.
    """

    value: Any
    container: str
    read: Callable[[StorageRef], Tensor]
    origin: str

    def tensors(self, wanted: Mapping[str, Blueprint]) -> dict[str, Tensor]:
        """Make tensors; those of one storage share its memory.

        Raises: CheckpointError when the file does not hold what it says.
        """
        storages: dict[str, Tensor] = {}
        made = {}
        for name, plan in wanted.items():
            key = plan.storage.key
            if key not in storages:
                storages[key] = self.read(plan.storage)
            made[name] = self._tensor(name, plan, storages[key])
        return made

    def _tensor(self, name: str, plan: Blueprint, whole: Tensor) -> Tensor:
        if whole.numel() != plan.storage.nbytes:
            raise damaged(self.origin, f"the storage of {name} has two sizes")
        if plan.dtype == torch.bool and whole.numel() and int(whole.max()) > 1:
            raise damaged(self.origin, f"{name} should hold true and false, and holds {int(whole.max())}")
        return whole.view(plan.dtype).as_strided(plan.size, plan.stride, plan.offset)


def open_zip(archive: Archive) -> TorchFile:
    """Read the values of a zip of torch.save, or of a TorchScript archive.

    Raises: CheckpointError when it is neither, holds more than data, or comes from a big-endian machine.
    """
    roots = [name.removesuffix("data.pkl") for name in archive.members if name.endswith("/data.pkl")]
    roots = [root for root in roots if root.count("/") == 1]
    if len(roots) != 1:
        raise foreign(archive.origin, b"PK\x03\x04")
    root, members = roots[0], archive.members
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder", 16).strip() != b"little":
        raise damaged(archive.origin, "its numbers are big-endian")
    scripted = any(name.startswith(f"{root}code/") for name in members) or f"{root}constants.pkl" in members
    size = members[f"{root}data.pkl"].size
    if size > MAX_BYTES:
        raise oversized(archive.origin, f"its pickle is {size:,} bytes long")
    pickle = io.BytesIO(archive.read(f"{root}data.pkl", MAX_BYTES))
    value = read_pickle(pickle, size, archive.origin, scripted).value

    def read(storage: StorageRef) -> Tensor:
        name = f"{root}data/{storage.key}"
        if name not in members or members[name].size != storage.nbytes:
            raise damaged(archive.origin, f"{name} in it should hold {storage.nbytes:,} bytes")
        place = torch.empty(storage.nbytes, dtype=torch.uint8)
        archive.read_into(name, place.numpy().data)
        return place

    return TorchFile(value, "torchscript" if scripted else "torch", read, archive.origin)


def open_legacy(file: BufferedReader, size: int, origin: str) -> TorchFile:
    """Read the values of a file that torch.save wrote before PyTorch 1.6.

    Args:
        file: at its start.
        size: of it, bytes.
        origin: its name, for messages.
    Raises: CheckpointError when it is no such file, holds more than data, or comes from a big-endian machine.
    """

    magic, protocol, system, saved, keys = (read_pickle(file, size - file.tell(), origin) for _ in range(5))
    if magic.value != MAGIC or protocol.value != _PROTOCOL:
        raise damaged(origin, "it starts like an old PyTorch file and does not go on like one")
    if type(system.value) is not dict or system.value.get("little_endian") is not True:
        raise damaged(origin, "its numbers are big-endian, or it does not say which they are")
    places = _legacy_places(file, size, origin, saved.storages, keys.value)

    def read(storage: StorageRef) -> Tensor:
        if storage.key not in places:
            raise damaged(origin, f"the storage {storage.key[:40]} is not in it")
        file.seek(places[storage.key])
        place = torch.empty(storage.nbytes, dtype=torch.uint8)
        if storage.nbytes and file.readinto(place.numpy().data) != storage.nbytes:
            raise damaged(origin, "it ends in the middle of a storage")
        return place

    return TorchFile(saved.value, "torch_legacy", read, origin)


def module_values(module: Inert, origin: str) -> dict[str, Any]:
    """Attributes of a TorchScript module and of those inside it, by dotted name, as a state dict has them.

    Tensors are those of parameters and buffers; an attribute that holds a tensor without being either is
    among them too.

    Raises: CheckpointError when it holds itself, or more than any model does.
    """
    found: dict[str, Any] = {}
    stack, visits = [("", module, 0)], 0
    while stack:
        prefix, holder, depth = stack.pop()
        visits += len(holder.fields)
        longest = len(prefix) + max(map(len, holder.fields), default=0)
        if visits > _MAX_VISITS or depth > _MAX_DEPTH or longest > _MAX_NAME:
            raise oversized(origin, "its modules hold each other without end, or have endless names")
        inside = [(prefix + name, value) for name, value in holder.fields.items()]
        found.update((name, value) for name, value in inside if not isinstance(value, Inert))
        stack += [
            (f"{name}.", value, depth + 1) for name, value in reversed(inside) if isinstance(value, Inert)
        ]
    return found


def _legacy_places(
    file: BufferedReader, size: int, origin: str, storages: Mapping[str, StorageRef], keys: Any
) -> dict[str, int]:
    """Where each storage of an old file begins: they follow each other, each after its count."""
    if type(keys) is not list or not all(type(key) is str for key in keys) or set(keys) != storages.keys():
        raise damaged(origin, "its list of storages does not fit its tensors")
    places, place = {}, file.tell()
    for key in keys:
        file.seek(place)
        count = file.read(8)
        if len(count) < 8 or struct.unpack("<q", count)[0] != storages[key].count:
            raise damaged(origin, "a storage has another size than its tensors say")
        places[key] = place + 8
        place = places[key] + storages[key].nbytes
    if place != size or len(places) != len(keys):
        raise damaged(origin, f"its storages take {place:,} bytes, and it has {size:,}")
    return places
