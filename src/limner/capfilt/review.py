"""A review as it goes on: who is shown what, what they said, and how well the filter agrees with them.

Everybody goes through the whole queue; people who judge the same text vote. They are not shown what the
filter thinks, so that its scores do not become theirs.
"""

from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from limner.capfilt.cut import exact_share
from limner.capfilt.journal import Journal, Said
from limner.capfilt.labels import ACCEPT, EDIT, GOOD, REJECT, REVIEW, Labels, judgements, majority, named
from limner.capfilt.queue import Item, Order, put_in_order, texts_to_judge
from limner.data.table import Table
from limner.errors import DataError

_CONFIDENCE = 0.95


class Shown(NamedTuple):
    """What a person is asked next.

    Args:
        key: of the row; None at the end of the queue.
        text: to judge; None at the end.
        done: pairs of the queue that this person has judged.
        total: pairs of the queue.
        undoable: judgements of this person that `undo` can take back.
    """

    key: str | None
    text: str | None
    done: int
    total: int
    undoable: int


class Measured(NamedTuple):
    """A share with its exact 95 % interval.

    Args:
        value: hits of `of`.
        low: end of the interval.
        high: end of the interval.
        of: texts it is a share of.
    """

    value: float
    low: float
    high: float
    of: int


class Agreement(NamedTuple):
    """What the filter's decisions are worth by the people's.

    Args:
        judged: texts that most people who judged them call good, or bad, and that the filter decided on.
        precision: share of good ones among those it kept; None when it kept none.
        recall: share of kept ones among the good; None when none is good.
    """

    judged: int
    precision: Measured | None
    recall: Measured | None

    def values(self) -> dict[str, Any]:
        """As JSON holds it."""
        shares = {"precision": self.precision, "recall": self.recall}
        return {"judged": self.judged, **{name: one and one._asdict() for name, one in shares.items()}}


class Review:
    """One queue and what people say of it.

    Args:
        table: to review.
        order: of the queue; see `queue.put_in_order`.
        count: most pairs to ask; None: all.
        seed: of chance.
        texts_column: the web texts.
    Raises: DataError when there is no text, or the table lacks what the order needs.
    """

    def __init__(
        self,
        table: Table,
        order: Order | None = None,
        count: int | None = None,
        seed: int = 0,
        texts_column: str = "texts",
    ) -> None:
        items = texts_to_judge(table, texts_column)
        self.table, self.journal = table, Journal(table.path)
        self.queue: list[Item] = put_in_order(table, items, order, seed, texts_column)[:count]
        self._row = {item.key: item.row for item in self.queue}
        self._asked = {item.place for item in self.queue}
        self._kept = {item.place: item.kept for item in items if item.kept is not None}
        self._before = list(judgements(table)) if all(map(table.has, REVIEW.names)) else []
        self._said: defaultdict[str, list[Said]] = defaultdict(list)
        for one in self.journal.read():
            self._said[one.by].append(one)
        self._lock = Lock()

    @property
    def title(self) -> str:
        """Name of the table."""
        return Path(self.table.path).stem

    @property
    def people(self) -> list[str]:
        """Everybody who has judged something."""
        with self._lock:
            said = {name for name, given in self._said.items() if given}
        return sorted(said | {one.by for one in self._before})

    @property
    def judgements(self) -> int:
        """Judgements that hold, of earlier reviews and of this one; an edit is two."""
        with self._lock:
            now = sum(len(one.entries) for given in self._said.values() for one in given)
        return len(self._before) + now

    def next(self, person: str) -> Shown:
        """The first pair of the queue that a person has not judged.

        Raises: DataError for a name that is none.
        """
        name = named(person)
        with self._lock:
            seen = {(one.key, one.text) for one in self._before if one.by == name}
            seen |= {(one.key, one.text) for one in self._said[name]}
            undoable = len(self._said[name])
        key, text = next((item.place for item in self.queue if item.place not in seen), (None, None))
        return Shown(key, text, len(seen & self._asked), len(self.queue), undoable)

    def judge(self, person: str, key: str, text: str, decision: str, written: str | None = None) -> None:
        """Keep one judgement; it is on disk when this returns.

        Raises: DataError for a pair that is not in the queue, a decision that is none, an edit without a new
            text, or a name that is none.
        """
        name = named(person)
        if (key, text) not in self._asked:
            raise DataError(f"{text[:80]!r} of {key!r} is not asked", wanted="a pair of the queue")
        if decision not in (ACCEPT, REJECT, EDIT):
            raise DataError(f"the decision {decision[:20]!r}", wanted=f"{ACCEPT}, {REJECT} or {EDIT}")
        new = " ".join((written or "").split()) if decision == EDIT else None
        if decision == EDIT and new in ("", text):
            raise DataError("an edit that changes nothing", wanted="another text, or accept or reject")
        with self._lock:
            self._said[name].append(self.journal.add(key, text, decision, name, new))

    def undo(self, person: str) -> None:
        """Take back a person's last judgement of this session.

        Raises: DataError when there is none.
        """
        name = named(person)
        with self._lock:
            if not self._said[name]:
                raise DataError("nothing to undo", wanted=f"a judgement by {name} since this review began")
            self.journal.undo(name)
            self._said[name].pop()

    def picture(self, key: str) -> bytes:
        """The encoded picture of a row in the queue.

        Raises: DataError when it is not in it.
        """
        if key not in self._row:
            raise DataError(f"no picture {key!r} in this review", wanted="the key of a pair in the queue")
        data: bytes = self.table.rows([self._row[key]], ["image"])[0]["image"]
        return data

    def agreement(self) -> Agreement:
        """How the filter's decisions stand beside the people's, so far."""
        truth = self._majority()
        places = [place for place in truth if place in self._kept]
        kept = np.array([self._kept[place] for place in places], bool)
        good = np.array([truth[place] for place in places], bool)
        both = int((kept & good).sum())
        return Agreement(len(places), _measured(both, int(kept.sum())), _measured(both, int(good.sum())))

    def _majority(self) -> Labels:
        """Whether most call a text good; of as many either way, nothing. The later word of a person holds."""
        votes: defaultdict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
        for one in self._before:
            votes[one.key, one.text][one.by] = one.decision in GOOD
        with self._lock:
            said = [one for given in self._said.values() for one in given]
        for now in said:
            for text, decision, by, _ in now.entries:
                votes[now.key, text][by] = decision in GOOD
        return majority({place: given.values() for place, given in votes.items()})


def _measured(hits: int, whole: int) -> Measured | None:
    return Measured(*exact_share(hits, whole, _CONFIDENCE), whole) if whole else None
