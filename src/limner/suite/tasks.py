"""The tasks of the suite by name: one file a task in this folder, one line a task in `TASKS`."""

from limner.suite import reasoning, vqa
from limner.suite.entry import Entry

__all__ = ["TASKS", "Entry"]

TASKS: dict[str, Entry] = {
    "vqa": vqa.ENTRY,
    "reasoning": reasoning.ENTRY,
}
"""Name → task, in the order of the docs."""
