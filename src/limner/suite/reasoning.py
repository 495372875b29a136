"""`limner evaluate reasoning`: statements about two pictures, true or false.

Source: Suhr et al. 2019 (NLVR2, arXiv 1811.00491); Suhr et al. 2017 (NLVR, ACL); Li et al. 2022 (BLIP),
section 5.4.
"""

from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.statement_rows import StatementRows
from limner.evaluate.pictures import Progress
from limner.evaluate.reasoning import reasoning_quality, verdicts
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection


class ReasoningSettings(Config):
    """How statements are judged.

    Args:
        batch_size: statements at a time.
        seed: of the intervals' resampling.
    """

    batch_size: int = Field(default=64, ge=1)
    seed: int = 0


def measure(
    bundle: Bundle, selection: Selection, settings: ReasoningSettings, progress: Progress | None
) -> Outcome:
    """Judge the statements of some rows, one sample each; `selection.count` counts statements."""
    where = selection.where or None
    rows = StatementRows(
        selection.path, bundle.image_spec, 0, version=selection.version, where=where, cache_bytes=2**28
    )
    found = verdicts(bundle, rows, selection.count, settings.batch_size, progress)
    right = [float(one.right) for one in found]
    told = reasoning_quality(found)
    truths = sum(one.truth for one in found) / len(found)
    measures = {
        "accuracy": mean_of(right, settings.seed),
        "consistency": Measure(told["consistency"]),
        "said_true": Measure(told["said_true"]),
        "majority_class": Measure(max(truths, 1 - truths)),
    }
    notes = ["majority_class is what one answer to all statements would score"]
    if told["said_true"] in (0.0, 1.0):
        notes.append("the model says the same of every statement: it has learnt nothing, or reads no picture")
    return Outcome(
        measures,
        [
            {
                "key": one.key,
                "statement": one.text,
                "truth": one.truth,
                "probability": round(one.probability, 6),
                "score": float(one.right),
            }
            for one in found
        ],
        {"statements": len(found), "sentences": len({one.text for one in found}), "true": truths},
        tuple(notes),
    )
