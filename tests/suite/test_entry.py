"""An entry is what `TASKS` lists."""

from limner.suite.entry import Entry
from limner.suite.tasks import TASKS


def test_entries_are_called_by_their_names():
    assert {"captioning", "dialog", "video", "scenes"} <= TASKS.keys()
    assert all(isinstance(entry, Entry) for entry in TASKS.values())
