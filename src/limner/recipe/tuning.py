"""CapFilt's two models from one start: a captioner tuned by LM, a filter by ITC and ITM, each on its own.

Source: Li et al. 2022, BLIP (arXiv 2201.12086), section 3.3, with the settings of its COCO fine-tunings: the
recipes blip_base_coco_captioning and blip_base_coco_retrieval, laid over another table and another start.

Differs: a table of fewer than 5,120 pairs is learnt in batches of a twentieth of its pairs, and the teacher's
queue holds no more than the table; a prompt that the start's vocabulary cannot spell is left out.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from limner.capfilt.labels import good_texts, read_labels
from limner.checkpoint import Bundle
from limner.config import build, override
from limner.data.table import Table
from limner.data.table_reading import require_texts
from limner.errors import DataError
from limner.recipe.schema import EvaluatedTable, Recipe
from limner.recipe.sources import TableSource
from limner.train.settings import MachineSettings
from limner.train.steps import ObjectiveSettings

Part = Literal["captioner", "filter"]

REVIEWED: Final = "texts_reviewed"
"""Column of the texts that people call good, made for tuning."""

PAPER_SIZE: Final = 384
BASE_WIDTH: Final = 768
"""Of BLIP-base, whose settings the paper's are."""

_STEPS_AN_EPOCH: Final = 20


class Clean(NamedTuple):
    """Pairs to learn from.

    Args:
        table: at the version to read.
        column: of the texts.
        pairs: how many.
        where: SQL filter of the rows that are learnt from.
        held_out: SQL filter of rows to measure on; "" where there are none.
    """

    table: Table
    column: str
    pairs: int
    where: str
    held_out: str


def clean_pairs(table: Table, column: str = "texts", labels: str = "") -> Clean:
    """The pairs of a clean table, or those of any table that people call good.

    Good texts are written to the column `texts_reviewed`, as one new version. A table with splits is learnt
    from its train rows and measured on its val rows.

    Args:
        table: to learn from.
        column: of its texts, unless there are labels.
        labels: as `read_labels` takes them; "" where every text is good.
    Raises: DataError when there are fewer than 8 pairs; nothing is written then.
    """
    require_texts(table.path, table.schema, column)
    texts = good_texts(table, read_labels(table, labels, column)) if labels else table.column(column)
    splits = table.column("split") if table.has("split") else [""] * len(texts)
    divided = {"train", "val"} <= set(splits)
    counted: Counter[str] = Counter()
    for row, split in zip(texts, splits, strict=True):
        counted[split if divided else ""] += sum(bool(text and text.strip()) for text in row or ())
    pairs = counted["train" if divided else ""]
    if pairs < 8:
        elsewhere = (
            f", and {counted.total() - pairs} in rows that are not of the split 'train'" if divided else ""
        )
        raise DataError(
            f"{pairs} pairs to tune on in {labels or column!r} of {table.path}{elsewhere}",
            wanted="8 or more; 200 to 2,000 checked by hand, or a clean table",
            hint=f"limner capfilt select {table.path} --out labels.csv chooses which to check",
        )
    if labels:
        columns, column = pa.table({REVIEWED: pa.array(texts, pa.list_(pa.string()))}), REVIEWED
        table = table.add_columns(columns, f"{counted.total()} texts that people call good")
    where, held_out = ("split = 'train'", "split = 'val'" if counted["val"] else "") if divided else ("", "")
    return Clean(table, column, pairs, where, held_out)


def tuned(
    part: Part,
    paper: Recipe,
    start: str,
    bundle: Bundle,
    clean: Clean,
    *,
    seed: int = 0,
    overrides: Iterable[str] = (),
) -> Recipe:
    """The recipe of one of the two.

    Args:
        part: which.
        paper: its fine-tuning on COCO.
        start: name of the model that both go on from.
        bundle: that model.
        clean: pairs to learn from.
        seed: of order, dropout and negatives.
        overrides: `section.key=value`, with the last word.
    Raises: ConfigError when a value does not fit.
    """
    model, tokenizer = bundle.blip()
    batch = min(paper.train.batch_size, max(8, clean.pairs // _STEPS_AN_EPOCH))
    an_epoch = int(np.ceil(clean.pairs / batch))
    epochs = paper.train.steps // paper.optim.stair_steps
    large = model.config.vision.width >= BASE_WIDTH and bundle.image_spec.size < PAPER_SIZE
    spelled = tokenizer.unk_id not in tokenizer.encode(_objective(paper).prompt, max_tokens=16)
    source = TableSource(
        kind="table",
        path=str(clean.table.path),
        texts_column=clean.column,
        version=clean.table.version,
        augment="blip_finetune",
        captions="all",
        where=clean.where,
    )
    recipe = Recipe(
        model=paper.model.model_copy(
            update={
                "name": bundle.name or paper.model.name,
                "start": start,
                "image_size": PAPER_SIZE if large else 0,
            }
        ),
        data=paper.data.model_copy(
            update={
                "sources": (source,),
                "max_tokens": min(paper.data.max_tokens, model.config.text.max_positions),
            }
        ),
        objective=_fitted(_objective(paper), batch, an_epoch, clean.pairs, spelled),
        optim=paper.optim.model_copy(update={"stair_steps": an_epoch}),
        train=paper.train.model_copy(
            update={
                "steps": epochs * an_epoch,
                "batch_size": batch,
                "seed": seed,
                "precision": "auto",
                "evaluate_every": an_epoch,
                "checkpoint_every": an_epoch,
                "best": paper.train.best if clean.held_out else "",
            }
        ),
        evaluate=paper.evaluate.model_copy(update={"tables": _measured(part, clean)}),
        machine=MachineSettings(),
    )
    return build(override(recipe.model_dump(mode="json"), overrides), Recipe, "limner capfilt tune")


def _objective(recipe: Recipe) -> ObjectiveSettings:
    assert isinstance(recipe.objective, ObjectiveSettings)
    return recipe.objective


def _fitted(
    settings: ObjectiveSettings, batch: int, an_epoch: int, pairs: int, spelled: bool
) -> ObjectiveSettings:
    queue = min(settings.queue_size, pairs) // batch * batch
    return settings.model_copy(
        update={
            "queue_size": queue,
            "alpha_steps": min(settings.alpha_steps, an_epoch),
            "prompt": settings.prompt if spelled else "",
        }
    )


def _measured(part: Part, clean: Clean) -> Sequence[EvaluatedTable]:
    if not clean.held_out:
        return ()
    return (
        EvaluatedTable(
            path=str(clean.table.path),
            name="val",
            where=clean.held_out,
            texts_column=clean.column,
            version=clean.table.version,
            captions=part == "captioner",
        ),
    )
