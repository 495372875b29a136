"""What a task of the suite is: a title, its settings, what runs it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from limner.checkpoint import Bundle
from limner.config import Config
from limner.evaluate.pictures import Progress
from limner.suite.outcome import Outcome
from limner.suite.selection import Selection


class Entry(NamedTuple):
    """One task.

    Args:
        title: what it measures, in one line.
        settings: its options, with defaults; `--set name=value` changes one.
        run: measures a model, in eval mode, on rows; the settings are of the type above. It raises
            CheckpointError for a model that cannot do the task, DataError for rows that lack what it needs.
        reads_table: whether the rows are of a table. If not, the task makes or finds its own data as its
            settings say, and looks at nothing but the count of the selection.
    """

    title: str
    settings: type[Config]
    run: Callable[[Bundle, Selection, Any, Progress | None], Outcome]
    reads_table: bool = True
