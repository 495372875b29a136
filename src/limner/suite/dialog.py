"""`limner evaluate dialog`: candidates of each round ranked, on VisDial's files or on scenes with exact
truth.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.5 and Table 9.
"""

import re
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from pydantic import Field

from limner.checkpoint import Bundle
from limner.data.dialogues import Dialogue, read_visdial
from limner.data.scene_dialogues import scene_dialogue
from limner.data.scene_language import Scenery
from limner.data.table import Table
from limner.errors import DataError
from limner.evaluate.dialog import KS, DialogSettings, dialog_ranks, dialog_scores
from limner.evaluate.metrics import bootstrap_interval
from limner.evaluate.pictures import Progress
from limner.evaluate.tables import pictured
from limner.suite.outcome import Measure, Outcome
from limner.suite.selection import Selection

_TRUTH = ("objects", "boxes", "ground")


class DialogTaskSettings(DialogSettings):
    """What is asked about which pictures, besides what the model reads of it.

    Args:
        visdial: a file of VisDial v1.0; the keys of the table's rows end with its picture numbers. Empty: the
            table is one of scenes, and dialogues are made from its truth.
        dense: VisDial's dense annotations, for NDCG.
        options: candidates a round of dialogues about scenes.
        seed: of those dialogues and of the intervals' resampling.
    """

    visdial: str = ""
    dense: str = ""
    options: int = Field(default=20, ge=8, le=100)
    seed: int = 0


def measure(
    bundle: Bundle, selection: Selection, settings: DialogTaskSettings, progress: Progress | None
) -> Outcome:
    """Rank the candidates of the dialogues about some rows, one sample a round."""
    known = _visdial(settings) if settings.visdial else _scenes(selection, settings)
    rows = pictured(
        selection.path,
        bundle.image_spec,
        where=selection.where,
        version=selection.version,
        count=selection.count,
    )
    read = zip(rows.keys, rows.images, strict=True)
    pairs = [(key, image) for key, image in read if _id(key, known) in known]
    if not pairs:
        raise DataError(
            f"no row of {selection.path} has a dialogue",
            wanted="keys that end with the picture numbers of the VisDial file",
        )
    dialogues = [known[_id(key, known)] for key, _ in pairs]
    scores = dialog_scores(bundle, [image for _, image in pairs], dialogues, settings, progress)
    ranks = dialog_ranks(dialogues, scores)
    owner = np.repeat(np.arange(len(pairs)), [len(own) for own in scores])
    samples = _samples([key for key, _ in pairs], dialogues, scores, ranks.rank, ranks.ndcg)
    options = [len(r.options) for d in dialogues for r in d.rounds if r.options]
    chance = float(np.mean([np.mean(1 / np.arange(1, n + 1)) for n in options]))
    measures = {"mrr": _over_pictures(1 / ranks.rank, owner, settings.seed)}
    measures |= {f"r{k}": _over_pictures((ranks.rank <= k) * 1.0, owner, settings.seed) for k in KS}
    measures["mean_rank"] = _over_pictures(ranks.rank, owner, settings.seed)
    judged = ~np.isnan(ranks.ndcg)
    if judged.any():
        measures["ndcg"] = _over_pictures(ranks.ndcg[judged], owner[judged], settings.seed)
    details = {"pictures": len(pairs), "rounds": len(ranks.rank), "chance_mrr": chance}
    return Outcome(measures, samples, details, _notes(settings))


def _over_pictures(values: np.ndarray, owner: np.ndarray, seed: int) -> Measure:
    """A mean over rounds, whose interval resamples pictures: the rounds of one hang together."""
    owners = np.unique(owner)
    sums = np.array([(values[owner == o].sum(), (owner == o).sum()) for o in owners])
    low, high = bootstrap_interval(sums, seed, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))
    return Measure(float(values.mean()), low, high)


def _visdial(settings: DialogTaskSettings) -> dict[str, Dialogue]:
    return {d.image_id: d for d in read_visdial(settings.visdial, settings.dense or None)}


def _scenes(selection: Selection, settings: DialogTaskSettings) -> dict[str, Dialogue]:
    table = Table.open(selection.path, selection.version)
    if lacks := [name for name in _TRUTH if not table.has(name)]:
        raise DataError(
            f"{selection.path} has no column {lacks[0]}",
            wanted="a table of scenes, or a file of VisDial v1.0 about the table's pictures",
            hint="--set visdial=visdial_1.0_val.json",
        )
    rows = table.arrow(["key", *_TRUTH], selection.where or None).to_pylist()
    return {
        row["key"]: scene_dialogue(
            row["key"],
            Scenery.from_row(row),
            Random(f"limner dialogue {settings.seed} {row['key']}"),
            settings.options,
        )
        for row in rows
    }


def _id(key: str, known: dict[str, Dialogue]) -> str:
    """The key, or the number at its end: VisualDialog_val2018_000000000042.jpg → 42."""
    if key in known:
        return key
    digits = re.search(r"(\d+)(?:\.\w+)?$", key)
    return str(int(digits[1])) if digits else key


def _samples(
    keys: Sequence[str],
    dialogues: Sequence[Dialogue],
    scores: Sequence[Sequence[np.ndarray]],
    ranks: np.ndarray,
    gains: np.ndarray,
) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = []
    for key, dialogue, own in zip(keys, dialogues, scores, strict=True):
        asked = [(number, turn) for number, turn in enumerate(dialogue.rounds) if turn.options]
        for (number, turn), score in zip(asked, own, strict=True):
            at = len(samples)
            samples.append(
                {
                    "key": f"{key}#{number + 1}",
                    "question": turn.question,
                    "answer": turn.options[turn.right],
                    "said": turn.options[int(len(score) - 1 - np.argmax(score[::-1]))],
                    "rank": int(ranks[at]),
                    "score": float(1 / ranks[at]),
                    "ndcg": None if np.isnan(gains[at]) else float(gains[at]),
                }
            )
    return samples


def _notes(settings: DialogTaskSettings) -> tuple[str, ...]:
    notes = ["intervals resample pictures, whose rounds hang together"]
    if not settings.visdial:
        notes.append(f"dialogues about scenes with {settings.options} candidates, not VisDial's 100")
    notes.append("the paper fine-tunes on VisDial for 20 epochs; a model that was not is measured zero-shot")
    return tuple(notes)
