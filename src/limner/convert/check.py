"""One line of what `limner verify` finds."""

from typing import Any, NamedTuple


class Check(NamedTuple):
    """A known answer and the one that was found.

    Args:
        name: of what was checked.
        expected: as people read it.
        found: likewise.
        ok: whether they agree.
        hint: what a mismatch means and what to do.
    """

    name: str
    expected: str
    found: str
    ok: bool
    hint: str = ""


def agree(name: str, expected: Any, found: Any, hint: str) -> Check:
    """A check that holds when two values are equal."""
    return Check(name, _shown(expected), _shown(found), expected == found, hint)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and value >= 100_000 else str(value)
