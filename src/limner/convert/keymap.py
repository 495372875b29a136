"""Two-sided tables of keys: one line says where a tensor of ours comes from, and how it goes back.

Nothing is matched by guessing: a key of theirs that no line names, and a line whose keys are not there, are
both errors. What a file may hold besides (`droppable`) and what it may lack (`fills`) is said by the table.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from limner.errors import CheckpointError


class Line(NamedTuple):
    """One tensor of ours.

    Args:
        ours: its key.
        theirs: the keys it is made of.
        read: makes ours of theirs.
        write: makes theirs of ours; undoes `read` bit by bit.
    """

    ours: str
    theirs: tuple[str, ...]
    read: Callable[[Sequence[Tensor]], Tensor]
    write: Callable[[Tensor], Sequence[Tensor]]


class KeyMap(NamedTuple):
    """A whole model in another library's words.

    Args:
        lines: one for each tensor of ours that the dialect holds.
        droppable: regular expressions, matched whole, of keys that hold nothing of the model.
        fills: tensors of ours that the dialect never stores, such as `num_batches_tracked`; they may be
            present in `lines` too, for files that do store them.
        extras: constants of theirs that are written besides, such as `position_ids`; not read.
    """

    lines: tuple[Line, ...]
    droppable: tuple[str, ...] = ()
    fills: Mapping[str, Tensor] = {}
    extras: Mapping[str, Tensor] = {}


def same(ours: str, theirs: str) -> Line:
    """The same tensor under another name."""
    return Line(ours, (theirs,), lambda t: t[0], lambda t: (t,))


def fused(ours: str, theirs: Iterable[str], sizes: Sequence[int] | None = None) -> Line:
    """Several of theirs, stacked along the first axis, are one of ours: query, key and value.

    Args:
        ours: key of the stack.
        theirs: keys of its parts, in order.
        sizes: rows of each part; equal parts when None.
    """
    parts = tuple(theirs)

    def write(whole: Tensor) -> Sequence[Tensor]:
        cut = list(sizes) if sizes else [len(whole) // len(parts)] * len(parts)
        return [part.contiguous() for part in torch.split(whole, cut)]

    return Line(ours, parts, lambda t: torch.cat(list(t)), write)


def transposed(ours: str, theirs: str) -> Line:
    """A matrix that they store the other way round."""
    return Line(ours, (theirs,), lambda t: t[0].T.contiguous(), lambda t: (t.T.contiguous(),))


def reshaped(ours: str, theirs: str, our_shape: Sequence[int], their_shape: Sequence[int]) -> Line:
    """The same numbers in the same order under another shape; the model refuses a wrong size."""

    def read(t: Sequence[Tensor]) -> Tensor:
        return t[0].reshape(tuple(our_shape)) if tuple(t[0].shape) == tuple(their_shape) else t[0]

    return Line(ours, (theirs,), read, lambda t: (t.reshape(tuple(their_shape)),))


def renamed(ours: str, theirs: str, ends: Iterable[str] = ("weight", "bias")) -> list[Line]:
    """The same module under another name: one line for each of its tensors."""
    return [same(f"{ours}.{end}", f"{theirs}.{end}") for end in ends]


def nested(lines: Iterable[Line], ours: str, theirs: str) -> list[Line]:
    """The same lines with a prefix on either side, dots included: a tower inside a model."""
    return [
        line._replace(ours=ours + line.ours, theirs=tuple(theirs + key for key in line.theirs))
        for line in lines
    ]


def leftovers(keys: Iterable[str], keymap: KeyMap) -> tuple[list[str], list[str]]:
    """Tell how far a file's keys are from a table.

    Args:
        keys: of the file.
        keymap: of its dialect.
    Returns: keys the table wants and the file lacks; keys of the file the table has no place for.
    """
    present = set(keys)
    named = {key for line in keymap.lines for key in line.theirs} | keymap.extras.keys()
    wanted = {key for line in keymap.lines if line.ours not in keymap.fills for key in line.theirs}
    drop = re.compile("|".join(f"(?:{pattern})" for pattern in keymap.droppable) or r"(?!)")
    unused = {key for key in present - named if not drop.fullmatch(key)}
    return sorted(wanted - present), sorted(unused)


def read(theirs: Mapping[str, Tensor], keymap: KeyMap, origin: str) -> dict[str, Tensor]:
    """Turn a file's tensors into ours.

    Args:
        theirs: as the file has them.
        keymap: of its dialect.
        origin: file name, for the message.
    Raises: CheckpointError when a key is missing or has no place.
    """
    missing, unused = leftovers(theirs, keymap)
    if missing or unused:
        raise CheckpointError(
            f"{origin}: {len(missing)} missing keys {missing[:3]}, "
            f"{len(unused)} without a place {unused[:3]}",
            wanted=f"exactly the {len(keymap.lines)} tensors of this kind of model",
            hint="limner inspect FILE lists them all",
        )
    ours = dict(keymap.fills)
    for line in keymap.lines:
        if all(key in theirs for key in line.theirs):
            ours[line.ours] = line.read([theirs[key] for key in line.theirs])
    return ours


def write(ours: Mapping[str, Tensor], keymap: KeyMap) -> dict[str, Tensor]:
    """Turn our tensors into the dialect's.

    Raises: CheckpointError when the dialect has no place for one of ours, or wants one that is not there.
    """
    lines = {line.ours: line for line in keymap.lines}
    homeless = sorted(ours.keys() - lines.keys() - keymap.fills.keys())
    absent = sorted(lines.keys() - ours.keys() - keymap.fills.keys())
    if homeless or absent:
        raise CheckpointError(
            f"{len(homeless)} tensors have no place in this format {homeless[:3]}, "
            f"{len(absent)} are absent {absent[:3]}",
            wanted="a format that can hold this model",
        )
    theirs: dict[str, Tensor] = dict(keymap.extras)
    for key, tensor in ours.items():
        if key in lines:
            theirs.update(zip(lines[key].theirs, lines[key].write(tensor), strict=True))
    return theirs
