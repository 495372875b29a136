"""The list of tasks."""

from limner.config import Config
from limner.suite.tasks import TASKS


def test_every_task_has_a_title_and_settings_with_defaults():
    for name, entry in TASKS.items():
        assert entry.title, name
        assert issubclass(entry.settings, Config), name
        entry.settings()


def test_videos_and_made_scenes_are_no_rows_of_a_table():
    assert [name for name, entry in TASKS.items() if not entry.reads_table] == [
        "video",
        "scenes",
        "segmentation",
        "shape_bias",
    ]
