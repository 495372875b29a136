"""Two results of the suite, sample by sample: what changed, how sure that is, which samples flipped.

Results are paired by task and table, samples by their keys; what only one of them has is counted and left
out.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from limner.errors import DataError
from limner.evaluate.comparison import Difference, holm, paired_difference
from limner.suite.run import results, samples_of

_SHOWN: Final = 24


class Result(NamedTuple):
    """One task of one model on one table, as the suite recorded it.

    Args:
        task: key of `TASKS`.
        model: as it was named.
        table: path of the table.
        measures: name → value.
        samples: one plain dict a sample, with `key` and `score`.
        rest: further fields of the record: version, rows, settings.
    """

    task: str
    model: str
    table: str
    measures: Mapping[str, float]
    samples: Sequence[Mapping[str, Any]]
    rest: Mapping[str, Any]


class ClassDifference(NamedTuple):
    """How a class fares.

    Args:
        name: of the class.
        difference: over its samples.
        p: corrected for the number of classes.
    """

    name: str
    difference: Difference
    p: float


class Comparison(NamedTuple):
    """What a second result is worth beside a first.

    Args:
        task: of both.
        table: of both.
        models: first and second.
        measures: name → (first, second), of those both have.
        difference: of the score of a sample; its mean is the first measure where that is a mean.
        classes: by `truth`, the largest change first; empty where samples have none.
        gained: samples the second does better, the largest gain first; each with both samples.
        lost: likewise where it does worse.
        unpaired: samples that only the first has, and only the second.
    """

    task: str
    table: str
    models: tuple[str, str]
    measures: dict[str, tuple[float, float]]
    difference: Difference
    classes: list[ClassDifference]
    gained: list["Flip"]
    lost: list["Flip"]
    unpaired: tuple[int, int]

    def values(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "task": self.task,
            "table": self.table,
            "models": list(self.models),
            "measures": {name: list(pair) for name, pair in self.measures.items()},
            "difference": self.difference._asdict(),
            "classes": [
                {"name": one.name, "p_holm": one.p, **one.difference._asdict()} for one in self.classes
            ],
            "gained": [flip._asdict() for flip in self.gained],
            "lost": [flip._asdict() for flip in self.lost],
            "unpaired": list(self.unpaired),
        }


class Flip(NamedTuple):
    """A sample whose score changed.

    Args:
        key: of its row.
        first: what the first result holds of it.
        second: what the second does.
        gain: second score - first score.
    """

    key: str
    first: dict[str, Any]
    second: dict[str, Any]
    gain: float


def results_of(folder: str | Path, model: str = "", task: str = "") -> list[Result]:
    """The results in a folder that `limner evaluate` has written.

    Args:
        folder: of the results.
        model: only those of this model; all when empty.
        task: only those of this task.
    Raises: DataError when there are none.
    """
    records = results(folder)
    found = [
        Result(
            record["task"],
            record["model"],
            record["table"],
            {name: float(value["value"]) for name, value in record["measures"].items()},
            samples_of(folder, record),
            record,
        )
        for record in records
        if model in ("", record["model"]) and task in ("", record["task"])
    ]
    if not found:
        held = sorted({f"{record['task']} of {record['model']}" for record in records})
        asked = " of ".join(filter(None, (task, model)))
        raise DataError(f"{folder} holds no result: {asked}", wanted=", ".join(held))
    return found


def compare(first: Result, second: Result, seed: int = 0, shown: int = _SHOWN) -> Comparison:
    """Compare two results of one task.

    Args:
        first: before.
        second: after.
        seed: of the resampling.
        shown: most flips kept each way.
    Raises: DataError when they are of different tasks, or no sample is in both.
    """
    if first.task != second.task:
        raise DataError(
            f"a result of {first.task!r} and one of {second.task!r}", wanted="two results of one task"
        )
    one, two = _by_identity(first), _by_identity(second)
    both = [identity for identity in one if identity in two]
    if not both:
        raise DataError(
            f"no sample of {first.model} on {first.table} is in {second.model} on {second.table}",
            wanted="results on the same rows",
            hint="limner evaluate TASK --model A --model B --data TABLE measures both on the same",
        )
    scores = np.array([[_score(side[identity]) for identity in both] for side in (one, two)])
    flips = [
        Flip(str(one[i]["key"]), dict(one[i]), dict(two[i]), float(gain))
        for i, gain in zip(both, scores[1] - scores[0], strict=True)
        if gain
    ]
    by_gain = sorted(flips, key=lambda flip: -abs(flip.gain))
    return Comparison(
        first.task,
        first.table,
        (first.model, second.model),
        {name: (v, second.measures[name]) for name, v in first.measures.items() if name in second.measures},
        paired_difference(scores[0], scores[1], seed),
        _classes([one[i].get("truth") for i in both], scores, seed),
        [flip for flip in by_gain if flip.gain > 0][:shown],
        [flip for flip in by_gain if flip.gain < 0][:shown],
        (len(one) - len(both), len(two) - len(both)),
    )


def matched(first: Sequence[Result], second: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Pair the results of two runs by task and table.

    Where a run has several results of one task and table, of several models say, they pair in order.

    Raises: DataError when nothing pairs.
    """
    waiting: defaultdict[Hashable, list[Result]] = defaultdict(list)
    for result in second:
        waiting[result.task, result.table].append(result)
    pairs = [
        (result, waiting[result.task, result.table].pop(0))
        for result in first
        if waiting[result.task, result.table]
    ]
    if not pairs:
        held = "; ".join(f"{r.task} on {r.table}" for r in (*first, *second)) or "nothing"
        raise DataError(
            f"the runs share no task on one table: {held}", wanted="one task on one table in both"
        )
    return pairs


def _by_identity(result: Result) -> dict[Hashable, Mapping[str, Any]]:
    """Samples by key; several of one key (questions of a picture, say) are told apart by their order."""
    found: dict[Hashable, Mapping[str, Any]] = {}
    seen: defaultdict[str, int] = defaultdict(int)
    for sample in result.samples:
        key = str(sample["key"])
        found[key, seen[key]] = sample
        seen[key] += 1
    return found


def _score(sample: Mapping[str, Any]) -> float:
    if sample.get("score") is None:
        raise DataError(f"sample {sample.get('key')!r} has no score", wanted="a number for each sample")
    return float(sample["score"])


def _classes(truth: Sequence[Any], scores: np.ndarray, seed: int) -> list[ClassDifference]:
    names = sorted({str(one) for one in truth if one is not None})
    if not 2 <= len(names) <= max(2, len(truth) // 2):  # answers or captions, not classes
        return []
    places = {name: [n for n, one in enumerate(truth) if str(one) == name] for name in names}
    parts = (scores[:, places[name]] for name in names)
    found = [paired_difference(part[0], part[1], seed) for part in parts]
    adjusted = holm([one.p for one in found])
    made = [ClassDifference(*one) for one in zip(names, found, adjusted, strict=True)]
    return sorted(made, key=lambda one: -abs(one.difference.value))
