"""Reads the arrays of an .npz, as Google publishes ViT: numbers only, each checked against its own size."""

import io
import math
import tokenize
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from limner.convert.archives import Archive
from limner.convert.refusals import damaged

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MAX_HEADER = 1 << 16
_BFLOAT16 = np.dtype("V2")
_KINDS = "fiub"


def read_npz(archive: Archive) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read all members; a two-byte void is a bfloat16, as JAX saves one.

    Returns: tensors by name; single texts and numbers of other kinds by name.
    Raises: CheckpointError when a member is no array of numbers, or has another size than it says.
    """
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for member in archive.members:
        if not member.endswith(".npy"):
            raise damaged(archive.origin, f"its member {member} is no .npy")
        name, array = member.removesuffix(".npy"), _read(archive, member)
        if isinstance(array, str):
            facts[name] = array
        else:
            tensors[name] = array
    return tensors, facts


def _read(archive: Archive, member: str) -> Tensor | str:
    whole = torch.empty(archive.members[member].size, dtype=torch.uint8)
    archive.read_into(member, whole.numpy().data)
    raw = whole.numpy()
    shape, column_major, dtype, start = _header(archive, member, raw[:_MAX_HEADER].tobytes())
    held = len(raw) - start
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != held:
        raise damaged(archive.origin, f"{member} says it is {shape} of {dtype}, and holds {held:,} bytes")
    if dtype.kind == "U" and shape == () and dtype.isnative:
        return str(raw[start:].tobytes().decode("utf-32", "replace").rstrip("\0"))
    if (dtype.kind not in _KINDS and dtype != _BFLOAT16) or not dtype.isnative or dtype.itemsize > 8:
        raise damaged(
            archive.origin, f"{member} is of type {dtype.str}, and weights are little-endian numbers"
        )
    wanted = torch.bfloat16 if dtype == _BFLOAT16 else torch.from_numpy(np.empty(0, dtype)).dtype
    if wanted == torch.bool and held and int(raw[start:].max()) > 1:
        raise damaged(archive.origin, f"{member} should hold true and false, and holds other bytes")
    # a header's length is a multiple of 16 as NumPy writes it; the copy is for one that is not
    flat = (whole[start:] if start % dtype.itemsize == 0 else whole[start:].clone()).view(wanted)
    return (
        flat.reshape(shape[::-1]).permute(*range(len(shape))[::-1]) if column_major else flat.reshape(shape)
    )


def _header(archive: Archive, member: str, head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, type and where the numbers begin, by NumPy's own reader of headers."""
    stream = io.BytesIO(head)
    try:
        version = npy.read_magic(stream)
        shape, column_major, dtype = _HEADERS[version](stream, max_header_size=10_000)
    except (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError, RecursionError) as error:
        raise damaged(archive.origin, f"{member} has no header of NumPy ({error})") from error
    if dtype.hasobject:
        raise damaged(archive.origin, f"{member} holds Python objects, which are a pickle")
    return shape, column_major, dtype, stream.tell()
