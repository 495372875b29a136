"""The list of tasks."""

from limner.config import Config
from limner.suite.tasks import TASKS


def test_every_task_has_a_title_and_settings_with_defaults():
    for name, entry in TASKS.items():
        assert entry.title, name
        assert issubclass(entry.settings, Config), name
        entry.settings()
