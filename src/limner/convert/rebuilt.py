"""The few names a pickle of weights may ask for, each answered by a function that only notes what is asked.

`torch._utils._rebuild_tensor_v2` and its kin become `Blueprint`s: which storage, which place in it. A class
whose objects may lie beside weights becomes an `Inert` holder of their attributes. A name that is not in
`NAMES` is refused by `pickles.py`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

_MAX_SIZE = 1 << 62
_MAX_KEY = 1 << 60
_MAX_AXES = 16
_MAX_PATH = 256


@dataclass(frozen=True, eq=False, slots=True)
class StorageRef:
    """A stretch of numbers kept elsewhere in the file: `count` of `dtype`, under a key."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def nbytes(self) -> int:
        """Its size."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, eq=False, slots=True)
class Blueprint:
    """A tensor to be: a view of a storage that is known to hold it."""

    storage: StorageRef
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.size)


@dataclass(eq=False, slots=True)
class Inert:
    """An object of a class that is not built; its attributes are kept."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Name:
    """Something a pickle may ask for by name.

    Args:
        name: as the file has it.
        call: what stands in for it; None when it may be named but not called.
        holds: whether it is a class whose objects become `Inert`.
    """

    name: str
    call: Callable[..., Any] | None = None
    holds: bool = False


def pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    """A dictionary of keys and values in turn.

    Raises: ValueError when a key is more than a text, a flag or an ordinary integer: other keys can be made
        to collide, or to take forever to hash.
    """
    if len(flat) % 2:
        raise ValueError("a key has no value")
    for key in flat[::2]:
        if type(key) not in (str, bytes, bool) and not (type(key) is int and abs(key) < _MAX_KEY):
            raise ValueError(f"a {type(key).__name__} is a key")
    return dict(zip(flat[::2], flat[1::2], strict=True))


def storage(saved: Any) -> StorageRef:
    """The storage that a persistent id names: ("storage", type, key, device, count[, view]).

    Raises: ValueError when it is not described as PyTorch describes it.
    """
    if type(saved) is not tuple or len(saved) not in (5, 6) or saved[0] != "storage":
        raise ValueError("a persistent id names no storage")
    kind, key, count = saved[1], saved[2], saved[4]
    if not isinstance(kind, Name) or kind.name not in STORAGES or type(key) is not str or not _is_size(count):
        raise ValueError("a storage is not described as PyTorch describes it")
    if len(saved) == 6 and saved[5] is not None:
        raise ValueError("a storage is a view of another, as PyTorch before 0.4 wrote them")
    return StorageRef(key, STORAGES[kind.name], count)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_SIZE


def _tensor(source: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Blueprint:
    return _blueprint(source, offset, size, stride, getattr(source, "dtype", None))


def _tensor_v3(source: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Blueprint:
    """The tensor's type is not the storage's: it comes third of the rest."""
    return _blueprint(source, offset, size, stride, DTYPES.get(getattr(rest[2], "name", "")))


def _blueprint(source: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None) -> Blueprint:
    if not isinstance(source, StorageRef) or dtype is None:
        raise ValueError("a tensor has no storage, or a type that is not known here")
    if type(size) is not tuple or type(stride) is not tuple or not len(size) == len(stride) <= _MAX_AXES:
        raise ValueError("a tensor's sizes and strides do not fit together")
    if not all(map(_is_size, (offset, *size, *stride))):
        raise ValueError("a tensor has a size, stride or offset below zero or beyond reason")
    tensor, held = Blueprint(source, dtype, offset, size, stride), source.nbytes // dtype.itemsize
    reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if (reach if tensor.count else offset) > held or tensor.count > held:
        raise ValueError(f"a tensor of shape {size} at {offset} does not fit its storage of {held:,} numbers")
    return tensor


def _parameter(data: Any, *_: Any) -> Blueprint:
    if not isinstance(data, Blueprint):
        raise ValueError("a parameter holds no tensor")
    return data


def _of_type(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor of a class of its own, or with attributes; they are left out."""
    if not isinstance(function, Name) or function.call not in (_tensor, _tensor_v3, _parameter):
        raise ValueError("a tensor is rebuilt by something else")
    return function.call(*arguments)


def _ordered(items: Any = ()) -> dict[Any, Any]:
    return pairs([part for pair in _listed(items) for part in _pair(pair)])


def _pair(value: Any) -> Sequence[Any]:
    if type(value) not in (tuple, list) or len(value) != 2:
        raise ValueError("an item is no pair")
    return value  # type: ignore[no-any-return]


def _mapping(values: Any = None) -> dict[Any, Any]:
    return values if type(values) is dict else {}


def _listed(values: Any = ()) -> Sequence[Any]:
    if type(values) not in (list, tuple):
        raise ValueError("a collection is made of no list")
    return values  # type: ignore[no-any-return]


def _path(*parts: Any) -> str:
    if not all(type(part) is str for part in parts) or sum(map(len, parts)) > _MAX_PATH:
        raise ValueError("a path is no text, or too long")
    return "/".join(parts)


def _device(kind: Any, index: Any = 0) -> str:
    if type(kind) is not str or type(index) is not int or len(kind) > _MAX_PATH:
        raise ValueError("a device is no text")
    return f"{kind}:{index & 0xFF}"


def _bytes(text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes are not written as Python writes them")
    return text.encode("latin1")


def _object(kind: Any, *_: Any) -> Inert:
    if not isinstance(kind, Name) or not kind.holds:
        raise ValueError("an object of an unknown class is rebuilt")
    return Inert(kind.name)


def _number_type(code: Any, *_: Any) -> Inert:
    return Inert("numpy.dtype", {"code": code, "state": (3, "<")})


def _number(kind: Any, data: Any) -> Any:
    """A NumPy scalar: best accuracies are often saved as one."""
    data = data.encode("latin1") if type(data) is str else data
    if not isinstance(kind, Inert) or kind.name != "numpy.dtype" or type(data) is not bytes:
        raise ValueError("a number is not written as NumPy writes it")
    code, state = kind.fields["code"], kind.fields["state"]
    if type(code) is not str or code not in _NUMBERS or type(state) is not tuple or ">" in state[:2]:
        raise ValueError("a number has a type or byte order that is not known here")
    return np.frombuffer(data, code, count=1).item()


_NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_OTHERS = (torch.uint16, torch.uint32, torch.uint64, torch.bool)
DTYPES: Mapping[str, torch.dtype] = {str(dtype): dtype for dtype in (*_FLOATS, *_INTEGERS, *_OTHERS)}
"""Types that weights may have."""

STORAGES: Mapping[str, torch.dtype] = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.UntypedStorage": torch.uint8,
    "torch.storage.UntypedStorage": torch.uint8,
}
"""What a storage's class says of its numbers."""

_PYTHON = ("builtins", "__builtin__")
_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "collections.Counter": _mapping,
    "collections.defaultdict": lambda *factory: {},
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.Size": lambda sizes=(): tuple(_listed(sizes)),
    "torch.device": _device,
    "numpy.dtype": _number_type,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
    "_codecs.encode": _bytes,
    "copyreg._reconstructor": _object,
    "copy_reg._reconstructor": _object,
    **{f"pathlib.{name}": _path for name in ("PosixPath", "WindowsPath", "_local.PosixPath")},
    **{f"{module}.{name}": _listed for module in _PYTHON for name in ("set", "frozenset")},
}
_MENTIONED = (
    *DTYPES,
    *STORAGES,
    "torch.Tensor",
    "torch.nn.parameter.Buffer",
    *(f"{module}.{name}" for module in _PYTHON for name in ("dict", "list", "int", "float", "object")),
)
NAMES: Mapping[str, Name] = {
    **{name: Name(name, call) for name, call in _CALLS.items()},
    **{name: Name(name) for name in _MENTIONED},
    "argparse.Namespace": Name("argparse.Namespace", holds=True),
}
"""What any pickle of weights may ask for."""

_JIT = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag")
SCRIPT_NAMES: Mapping[str, Name] = {
    f"torch.jit._pickle.{name}": Name(f"torch.jit._pickle.{name}", lambda value, *_: value) for name in _JIT
}
"""What a TorchScript archive may ask for besides."""
