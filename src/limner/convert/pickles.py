"""Reads the values of a pickle without running any of it.

A pickle is a program for a small stack machine whose REDUCE and BUILD may call anything at all. This machine
is our own: it knows the opcodes that data needs, answers the few names that rebuild tensors with the
functions of `rebuilt.py`, which only note what is asked, and refuses every other name by name, before
anything of the file is used. The classes of a TorchScript archive become `Inert` holders of their attributes.
Python's own unpickler is never called.

Bounds, so that no file can take unbounded memory or time: 32 MiB of pickle, two million opcodes, a stack of
100,000 values, four million items handed to functions, plain dictionary keys, tensors within their storages.
"""

import pickletools
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BufferedIOBase
from typing import Any, BinaryIO, NamedTuple, cast

from limner.convert.rebuilt import NAMES, SCRIPT_NAMES, Blueprint, Inert, Name, StorageRef, pairs, storage
from limner.convert.refusals import damaged, oversized, unsafe

MAX_BYTES = 32 << 20
MAX_OPCODES = 2_000_000
MAX_STACK = 100_000
MAX_WORK = 4_000_000
_MAX_LINE = 1 << 16


class Pickled(NamedTuple):
    """What a pickle holds.

    Args:
        value: dicts, lists, tuples, plain values, and `Blueprint`, `Inert`, `Name`. They may be shared and
            may hold themselves: walk them with a bound.
        storages: all that its tensors name, by key.
    """

    value: Any
    storages: dict[str, StorageRef]


def read_pickle(file: BufferedIOBase, size: int, origin: str, scripted: bool = False) -> Pickled:
    """Read one pickled value; the file is left behind its end.

    Args:
        file: at the pickle's start.
        size: bytes there are.
        origin: file name, for messages.
        scripted: whether it is of a TorchScript archive, whose own classes are allowed as `Inert`.
    Raises: CheckpointError when it asks for anything but data, is damaged, or is too large.
    """
    machine, bounded = _Machine(origin, scripted), cast(BinaryIO, _Bounded(file, size, origin))
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(bounded)):
            if count > MAX_OPCODES:
                raise oversized(origin, f"its pickle has more than {MAX_OPCODES:,} opcodes")
            machine.step(opcode.name, argument)
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError, struct.error) as error:
        raise damaged(origin, f"its pickle cannot be read ({error})") from error
    return Pickled(machine.result(), machine.storages)


class _Bounded:
    """A file that gives no more than it was promised to hold, and asks for no more memory than it gives."""

    def __init__(self, file: BufferedIOBase, size: int, origin: str) -> None:
        self.file, self.left, self.size, self.origin = file, min(size, MAX_BYTES), size, origin

    def read(self, count: int) -> bytes:
        self._spend(count)
        return self.file.read(count)

    def readline(self) -> bytes:
        line = self.file.readline(min(self.left, _MAX_LINE))
        if not line.endswith(b"\n"):
            raise ValueError("a line has no end")
        self._spend(len(line))
        return line

    def _spend(self, count: int) -> None:
        if count > self.left and self.size > MAX_BYTES:
            raise oversized(self.origin, f"its pickle is longer than {MAX_BYTES:,} bytes")
        if count > self.left:
            raise ValueError("it ends too early")
        self.left -= count


class _Machine:
    """The stack machine; `step` by opcode name."""

    def __init__(self, origin: str, scripted: bool) -> None:
        self.origin, self.scripted = origin, scripted
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, StorageRef] = {}
        self.work = 0

    def step(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode.

        Raises: CheckpointError when data needs no such opcode; ValueError when it does not fit the stack.
        """
        if opcode in _LITERALS:
            self.push(argument)
        elif opcode in _CONSTANTS:
            self.push(_CONSTANTS[opcode]())
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        else:
            raise unsafe(self.origin, f"the pickle opcode {opcode}")

    def result(self) -> Any:
        """The one value that is left at the end."""
        if len(self.stack) != 1 or self.marks:
            raise damaged(self.origin, f"its pickle leaves {len(self.stack)} values instead of one")
        return self.stack[0]

    def push(self, value: Any) -> None:
        if len(self.stack) + len(self.marks) >= MAX_STACK:
            raise oversized(self.origin, f"its pickle is nested deeper than {MAX_STACK:,} values")
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("its stack runs empty")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def mark(self, _: Any) -> None:
        if len(self.stack) + len(self.marks) >= MAX_STACK:
            raise oversized(self.origin, f"its pickle is nested deeper than {MAX_STACK:,} values")
        self.marks.append(len(self.stack))

    def put(self, index: int) -> None:
        if not 0 <= index < MAX_OPCODES:
            raise oversized(self.origin, f"its pickle wants a memo of {index:,} places")
        self.memo[index] = self.top()

    def append(self, values: Iterable[Any]) -> None:
        whole = self.top()
        if type(whole) is not list:
            raise ValueError(f"it appends to a {type(whole).__name__}")
        whole.extend(values)

    def set_items(self, flat: Sequence[Any]) -> None:
        whole = self.top()
        if type(whole) is not dict:
            raise ValueError(f"it sets items of a {type(whole).__name__}")
        whole.update(pairs(flat))

    def find(self, name: str) -> None:
        if name in NAMES:
            self.push(NAMES[name])
        elif self.scripted and name in SCRIPT_NAMES:
            self.push(SCRIPT_NAMES[name])
        elif self.scripted and name.startswith("__torch__."):
            self.push(Name(name, holds=True))
        else:
            raise unsafe(self.origin, name)

    def find_on_stack(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name is no text")
        self.find(f"{module}.{name}")

    def spend(self, values: Sequence[Any]) -> None:
        """Count what a function may copy: by the memo a short program can hand over a long list often."""
        self.work += sum(len(value) for value in values if type(value) in _SIZED)
        if self.work > MAX_WORK:
            raise oversized(self.origin, f"its pickle hands over more than {MAX_WORK:,} items")

    def call(self, _: Any) -> None:
        arguments, what = self.pop(), self.pop()
        if not isinstance(what, Name) or type(arguments) is not tuple:
            raise ValueError(f"it calls a {type(what).__name__}")
        if what.call is None:
            raise unsafe(self.origin, f"a call of {what.name}")
        self.spend((arguments, *arguments))
        self.push(what.call(*arguments))

    def new(self, _: Any) -> None:
        arguments, what = self.pop(), self.pop()
        if not isinstance(what, Name) or type(arguments) is not tuple:
            raise ValueError(f"it makes an object of a {type(what).__name__}")
        if not what.holds:
            raise unsafe(self.origin, f"an object of {what.name}")
        self.push(Inert(what.name))

    def set_state(self, _: Any) -> None:
        state, target = self.pop(), self.top()
        self.spend((state,))
        if isinstance(target, Inert):
            known = type(state) is dict and all(type(key) is str for key in state)
            target.fields.update(state if known else {"state": state})
        elif isinstance(target, Blueprint) and type(state) is tuple and len(state) == 3:
            pass  # the flags of a parameter, as PyTorch before 0.4 wrote them
        elif type(target) is not dict:  # a dict's own attributes, such as `_metadata`, hold no weights
            raise ValueError(f"it sets the state of a {type(target).__name__}")

    def persistent(self, _: Any) -> None:
        found = storage(self.pop())
        if self.storages.setdefault(found.key, found).nbytes != found.nbytes:
            raise ValueError("a storage has two sizes")
        self.push(found)


_SIZED = (str, bytes, tuple, list, dict)
_LITERALS = (
    *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_STEPS: Mapping[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": lambda machine, _: machine.push(machine.top()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memo[index])
    ),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push((machine.pop(),)),
    "TUPLE2": lambda machine, _: machine.push((machine.pop(), machine.pop())[::-1]),
    "TUPLE3": lambda machine, _: machine.push((machine.pop(), machine.pop(), machine.pop())[::-1]),
    **dict.fromkeys(("LIST", "FROZENSET"), lambda machine, _: machine.push(machine.since_mark())),
    "DICT": lambda machine, _: machine.push(pairs(machine.since_mark())),
    "APPEND": lambda machine, _: machine.append((machine.pop(),)),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda machine, _: machine.append(machine.since_mark())),
    "SETITEM": lambda machine, _: machine.set_items((machine.pop(), machine.pop())[::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GLOBAL": lambda machine, name: machine.find(name.replace(" ", ".", 1)),
    "STACK_GLOBAL": _Machine.find_on_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new,
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.persistent,
}
