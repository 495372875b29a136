"""Finds the state dict among what a PyTorch file holds: under a wrapper's key, with prefixes, beside facts.

The first of `WRAPPERS` that holds tensors is taken, in that order whatever the order in the file, and again
inside it. What else is there becomes facts when it is plain, and is named when it is not; nothing is merged.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limner.convert.rebuilt import Blueprint, Inert, Name
from limner.errors import CheckpointError

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "params",
    "model_ema",
    "state_dict_ema",
    "ema",
    "net",
    "module",
    "weights",
)
PREFIXES = ("module.", "_orig_mod.")
_MAX_NESTING = 4
_MAX_FACTS = 20_000
_MAX_FACT_DEPTH = 12
_MAX_TEXT = 1 << 16


class Unwrapped(NamedTuple):
    """A state dict, out of its wrapping.

    Args:
        tensors: by key, prefixes taken off.
        facts: plain values that lay beside or above them, and what was done: `wrapper`, the keys the state
            dict was under; `prefix`, what was taken off every key; `left_out`, names of other things.
        scalars: single numbers that lay above the state dict, to be read as facts.
    """

    tensors: dict[str, Any]
    facts: dict[str, Any]
    scalars: dict[str, Any]


def unwrap(value: Any, origin: str) -> Unwrapped:
    """Find the state dict.

    Args:
        value: of the file; tensors are `Blueprint`.
        origin: file name, for messages.
    Raises: CheckpointError when there is none, or several and none has a known name.
    """
    above: list[tuple[str, Any]] = []
    taken: list[str] = []
    while True:
        values = _mapping(value, origin)
        key = _wrapper(values, origin) if len(taken) < _MAX_NESTING else None
        above += [(name, item) for name, item in values.items() if name != key and type(name) is str]
        if key is None:
            break
        taken.append(key)
        value = values[key]
    tensors = {name: item for name, item in values.items() if isinstance(item, Blueprint)}
    if not tensors or not all(type(name) is str for name in tensors):
        raise _no_weights(origin, values)
    plain, prefix = _stripped(tensors)
    rest = [(name, item) for name, item in above if tensors.get(name) is not item]
    scalars = {name: item for name, item in rest if isinstance(item, Blueprint) and item.count == 1}
    facts, left_out = _facts([(name, item) for name, item in rest if name not in scalars])
    notes = {"wrapper": ".".join(taken), "prefix": prefix, "left_out": left_out}
    return Unwrapped(plain, {**facts, **{note: said for note, said in notes.items() if said}}, scalars)


def strip_npz(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Take `opt/target/` or `params/` off the keys of a Flax checkpoint; the optimiser's state is left.

    Returns: the model's arrays; the prefix.
    """
    for prefix in ("opt/target/", "params/"):
        inside = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
        if inside:
            return inside, prefix
    return dict(tensors), ""


def _mapping(value: Any, origin: str) -> Mapping[Any, Any]:
    if isinstance(value, Inert):
        return value.fields
    if type(value) is not dict:
        raise CheckpointError(
            f"{origin} holds a {_kind(value)}",
            wanted="a state dict: tensors by name",
            hint="save model.state_dict() where the file was made, and open that",
        )
    return value


def _kind(value: Any) -> str:
    if isinstance(value, Blueprint):
        return f"single tensor of shape {value.size}"
    return value.name if isinstance(value, Name) else type(value).__name__


def _wrapper(values: Mapping[Any, Any], origin: str) -> str | None:
    """The key under which the weights are; None when they are right here."""
    holders = [key for key, item in values.items() if type(key) is str and _holds_tensors(item)]
    for key in WRAPPERS:
        if key in holders:
            return key
    if any(isinstance(item, Blueprint) for item in values.values()) or not holders:
        return None
    if len(holders) > 1:
        raise CheckpointError(
            f"{origin} holds {len(holders)} sets of weights: {', '.join(map(repr, holders[:8]))}",
            wanted=f"one, or one that is called {', '.join(WRAPPERS[:4])}",
            hint="save the one you want to a file of its own",
        )
    return holders[0]


def _holds_tensors(item: Any, depth: int = 0) -> bool:
    """Whether a dict has tensors in it, or one dict further in."""
    if type(item) is not dict:
        return False
    if any(isinstance(inner, Blueprint) for inner in item.values()):
        return True
    return depth < 2 and any(_holds_tensors(item[key], depth + 1) for key in WRAPPERS if key in item)


def _no_weights(origin: str, values: Mapping[Any, Any]) -> CheckpointError:
    shown = ", ".join(repr(key)[:60] for key in list(values)[:8])
    return CheckpointError(
        f"{origin} holds no tensors by name" + (f", only {shown}" if shown else ": it is empty"),
        wanted="a state dict: tensors by name",
        hint="save model.state_dict() where the file was made, and open that",
    )


def _stripped(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Take off what wrappers of a model put before every key: DataParallel, torch.compile."""
    plain, taken = dict(tensors), ""
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in plain)), ""):
        plain = {key.removeprefix(prefix): value for key, value in plain.items()}
        taken += prefix
    return plain, taken


def _facts(items: list[tuple[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Plain values, within a budget, and the names of what is not plain."""
    facts: dict[str, Any] = {}
    left_out: list[str] = []
    budget = [_MAX_FACTS]
    for name, item in items:
        try:
            facts[name] = _plain(item, budget, 0)
        except ValueError:
            left_out.append(name[:200])
    return facts, left_out[:100]


def _plain(value: Any, budget: list[int], depth: int) -> Any:
    budget[0] -= 1
    if budget[0] < 0 or depth > _MAX_FACT_DEPTH:
        raise ValueError("too much of it")
    if value is None or type(value) in (bool, float):
        return value
    if type(value) is int and value.bit_length() <= 64:
        return value
    if type(value) is str and len(value) <= _MAX_TEXT:
        return value
    if isinstance(value, Name):
        return value.name
    if isinstance(value, Inert):
        return _plain(value.fields, budget, depth)
    if type(value) in (list, tuple):
        return [_plain(item, budget, depth + 1) for item in value]
    if type(value) is dict and all(type(key) in (str, int, bool) for key in value):
        return {str(key): _plain(item, budget, depth + 1) for key, item in value.items()}
    raise ValueError("not plain")
