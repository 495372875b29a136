"""Published numbers beside measured ones: what is claimed, what is here, what is missing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from limner.data.table import Table
from limner.errors import LimnerError
from limner.suite.claims import Claim, claims_of
from limner.suite.run import Asked, Bars, evaluate
from limner.suite.selection import Selection
from limner.suite.tasks import TASKS

__all__ = ["Claim", "claims_of", "measure_claim"]


class _Set(NamedTuple):
    """What a test set looks like in a table.

    Args:
        rows: how many.
        classes: how many; 0 for a set with captions.
        how: how to get it.
    """

    rows: int
    classes: int
    how: str


SETS: Final = {
    "ImageNet": _Set(50_000, 1000, "ILSVRC 2012 validation in a folder a class: limner import FOLDER"),
    "CIFAR-10": _Set(
        10_000, 10, "the 10,000 test pictures as PNG: limner import PARQUET --label-column label"
    ),
    "COCO 5K": _Set(5_000, 0, "Karpathy's test split of COCO: limner import dataset_coco.json"),
    "Flickr30K": _Set(1_000, 0, "Karpathy's test split of Flickr30K: limner import dataset_flickr30k.json"),
    "COCO Karpathy": _Set(5_000, 0, "Karpathy's test split of COCO: limner import dataset_coco.json"),
}


def measure_claim(
    claim: Claim, tables: Sequence[str], folder: str | Path, bars: Bars | None = None
) -> dict[str, Any]:
    """Measure a claim where its data is at hand.

    Args:
        claim: which.
        tables: to look for the data in.
        folder: of the results.
        bars: shows progress.
    Returns: `status` ("holds", "missed", "not comparable", "not run"), `said`, and `measured`, per cent.
    """
    name = next((name for name in SETS if claim.expected.measure.startswith(name)), None)
    if claim.protocol.task not in TASKS or name is None:
        return _not_run("its test server alone has the answers, or the task is not part of limner yet")
    selection = next((found for path in tables if (found := _rows_of(path, SETS[name]))), None)
    if selection is None:
        return _not_run(f"no table of {SETS[name].rows:,} such rows is given; {SETS[name].how}")
    asked = Asked([claim.protocol.task], [claim.model], [selection], claim.protocol.settings)
    try:
        (finished,) = evaluate(asked, folder, bars)
    except LimnerError as error:
        return _not_run(str(error))
    if finished.failed:
        return _not_run(finished.record["error"])
    return _compared(claim, selection, 100 * finished.record["measures"][claim.protocol.measure]["value"])


def _compared(claim: Claim, selection: Selection, measured: float) -> dict[str, Any]:
    gap = measured - claim.expected.value
    holds = abs(gap) <= claim.protocol.tolerance
    said = f"measured {measured:.2f} on {selection.path}, {gap:+.2f}"
    status = "holds" if holds else "missed"
    if not holds and _lossy_cifar(claim, selection):
        status = "not comparable"
        said += "; its pictures are JPEG, those of the published number were not"
    return {"status": status, "said": said, "measured": round(measured, 4)}


def _not_run(said: str) -> dict[str, Any]:
    return {"status": "not run", "said": said, "measured": None}


def _rows_of(path: str, wanted: _Set) -> Selection | None:
    """The rows of a table that look like a test set: the right number of them, and of classes."""
    table = Table.open(path)
    wheres = ["", *(f"split = '{split}'" for split in ("test", "val", "validation") if table.has("split"))]
    for where in wheres:
        if table.count(where or None) == wanted.rows:
            classes = len(set(table.column("label", where or None)) - {None, ""}) if table.has("label") else 0
            if classes == wanted.classes:
                return Selection(path=path, where=where)
    return None


def _lossy_cifar(claim: Claim, selection: Selection) -> bool:
    table = Table.open(selection.path)
    lossy = table.has("format") and "JPEG" in set(table.column("format", selection.where or None))
    return claim.expected.measure.startswith("CIFAR-10") and lossy
