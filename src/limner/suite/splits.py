"""Rows to fit on, to choose with and to measure on, of one table or two."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from pydantic import Field

from limner.config import Config
from limner.errors import DataError
from limner.suite.rows import Rows, rows_of
from limner.suite.selection import Selection


class SplitSettings(Config):
    """Which rows a probe learns from.

    Args:
        train: SQL filter of these rows.
        train_path: another table to take them from.
        train_count: so many of them, drawn at random; 0 is all.
        val: SQL filter of the rows that choose; without it a share of the training rows does.
        val_share: this share, drawn class by class.
        seed: of what is drawn.
    """

    train: str = "split = 'train'"
    train_path: str = ""
    train_count: int = Field(default=0, ge=0)
    val: str = ""
    val_share: float = Field(default=0.2, gt=0, lt=1)
    seed: int = 0


class Parts(NamedTuple):
    """Labelled rows.

    Args:
        train: to fit on.
        test: to measure on.
        classes: all labels of both, sorted.
        notes: what to know of them.
    """

    train: Rows
    test: Rows
    classes: list[str]
    notes: list[str]

    def truth(self, rows: Rows) -> Int[np.ndarray, " n"]:
        """Class number of each row."""
        number = {label: place for place, label in enumerate(self.classes)}
        return np.array([number[label] for label in rows.labels])


def parts(selection: Selection, settings: SplitSettings) -> Parts:
    """Read both parts.

    Args:
        selection: what to measure on; without a filter, the rows of the split "test" where there are any.
        settings: what to fit on.
    Raises: DataError when a row is in both, or one has no labels, or classes cannot be told.
    """
    test = _test_rows(selection)
    path = settings.train_path or selection.path
    version = None if settings.train_path else selection.version
    train = rows_of(
        selection.model_copy(update={"where": settings.train, "count": 0, "path": path, "version": version})
    ).labelled()
    if 0 < settings.train_count < len(train.keys):
        rng = np.random.default_rng(settings.seed)
        train = train.only(np.sort(rng.permutation(len(train.keys))[: settings.train_count]).tolist())
    if path == selection.path and (both := set(train.keys) & set(test.keys)):
        raise DataError(
            f"{len(both)} rows are both fitted and measured, {sorted(both)[0]!r} one of them",
            wanted="filters that share no row",
            hint="--where \"split = 'test'\" --set \"train=split = 'train'\"",
        )
    same = len(set(train.pictures) & set(test.pictures))
    notes = [f"{same} pictures of the rows to measure on are among those to fit on"] if same else []
    unseen = sorted(set(test.labels) - set(train.labels))
    if unseen:
        notes.append(f"{len(unseen)} classes have no row to fit on: {', '.join(unseen[:5])}")
    return Parts(train, test, sorted({*train.labels, *test.labels}), notes)


def carve(truth: Int[np.ndarray, " n"], share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw validation rows out of training rows, class by class; a class of one row stays in training.

    Returns: places of the training rows and of the validation rows, both sorted.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for number in np.unique(truth):
        own = rng.permutation(np.flatnonzero(truth == number))
        chosen.append(own[: min(len(own) - 1, max(1, round(share * len(own))))])
    val = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(truth)), val), val


def _test_rows(selection: Selection) -> Rows:
    if not selection.where:
        named = selection.model_copy(update={"where": "split = 'test'"})
        try:
            return rows_of(named).labelled()
        except DataError:
            pass
    return rows_of(selection).labelled()
