"""An entry is what `TASKS` lists."""

from limner.suite.entry import Entry
from limner.suite.tasks import TASKS


def test_entries_are_called_by_their_names():
    assert {"captioning", "dialog", "video", "scenes"} <= TASKS.keys()
    assert all(isinstance(entry, Entry) for entry in TASKS.values())


def test_videos_and_made_scenes_are_no_rows_of_a_table():
    assert [name for name, entry in TASKS.items() if not entry.reads_table] == ["video", "scenes"]
