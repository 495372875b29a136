"""Held-out measures of a run, by the kind of its objective: what the loop calls while it trains."""

from collections.abc import Callable, Iterable
from pathlib import Path

from torch import nn

from limner.checkpoint import Bundle
from limner.data.question_rows import QuestionRows
from limner.data.statement_rows import StatementRows
from limner.evaluate.captioning import caption_quality, captions
from limner.evaluate.classification import classification
from limner.evaluate.detection import BoxedRows, boxed_rows, coco_ap, detections
from limner.evaluate.reasoning import reasoning_quality, verdicts
from limner.evaluate.retrieval import retrieval
from limner.evaluate.scenes import scenes_suite
from limner.evaluate.tables import Pictured, pictured
from limner.evaluate.vqa import answers_quality
from limner.evaluate.vqa_answers import replies
from limner.models.blip import BLIP
from limner.models.detector import Detector
from limner.recipe.prior_measures import OWN_LOSS, held_out
from limner.recipe.schema import EvaluatedTable, EvaluateSettings
from limner.recipe.sources import Unit
from limner.recipe.task import Task
from limner.train.run import Evaluator
from limner.train.steps import ICMLMStep


def evaluators(settings: EvaluateSettings, task: Task) -> dict[str, Evaluator]:
    """Name → measure; tables are read when they are first measured on, and kept."""
    found: dict[str, Evaluator] = {}
    if settings.count and isinstance(task.model, BLIP):
        found["scenes"] = lambda model: scenes_suite(
            _bundle(task, model), settings.scenes, settings.start, settings.count, settings.suite
        ).items()
    kinds: dict[Unit, Callable[[EvaluatedTable, Task], Evaluator]] = {
        "questions": _Answered,
        "statements": _Judged,
    }
    for table in settings.tables:
        usual = _MeasuredBoxes if isinstance(task.model, Detector) else _Measured
        found[table.name or Path(table.path).stem] = kinds.get(task.unit, usual)(table, task)
    return found


class _Measured:
    """Measures on the rows of one table.

    Args:
        table: which rows.
        task: what is trained.
    """

    def __init__(self, table: EvaluatedTable, task: Task) -> None:
        self.table, self.task = table, task
        self.rows: Pictured | None = None

    def __call__(self, model: nn.Module) -> Iterable[tuple[str, float]]:
        """Measure the model: classes where it has any, else what its heads can do."""
        task, rows = self.task, self._read()
        if isinstance(task.step, OWN_LOSS):
            yield from held_out(task, model, rows).items()
            return
        if task.labels:
            yield from classification(model, task.spec, rows.images, rows.labels, task.labels).items()
            return
        bundle = _bundle(task, model)
        heads = model.config.heads if isinstance(model, BLIP) else ("itc",)
        if "itc" in heads:
            texts, owners = rows.pairs()
            yield from retrieval(bundle, rows.images, texts, owners, top_k=self.table.rerank).items()
        if "lm" in heads and self.table.captions:
            found = captions(bundle, rows.images, prompt=task.prompt)
            yield from caption_quality(found, rows.texts).items()

    def _read(self) -> Pictured:
        if self.rows is None:
            table, task = self.table, self.task
            classes = set() if isinstance(task.step, ICMLMStep) else set(task.labels)  # its labels are words
            self.rows = pictured(
                table.path,
                task.spec,
                where=table.where,
                count=table.count,
                version=table.version,
                texts_column=table.texts_column,
                needed=lambda texts, label: label in classes if classes else bool(texts),
            )
        return self.rows


class _Answered:
    """Answers the questions of one table; see `_Measured`."""

    def __init__(self, table: EvaluatedTable, task: Task) -> None:
        self.table, self.task = table, task
        self.rows: QuestionRows | None = None

    def __call__(self, model: nn.Module) -> Iterable[tuple[str, float]]:
        """Ask the model: VQA accuracy where each question has ten answers, else exact."""
        table = self.table
        self.rows = self.rows or QuestionRows(
            table.path, self.task.spec, 0, version=table.version, where=table.where or None
        )
        found = replies(_bundle(self.task, model), self.rows, table.count)
        yield from answers_quality(
            [reply.said for reply in found], [reply.accepted for reply in found]
        ).items()


class _Judged:
    """Judges the statements of one table; see `_Measured`."""

    def __init__(self, table: EvaluatedTable, task: Task) -> None:
        self.table, self.task = table, task
        self.rows: StatementRows | None = None

    def __call__(self, model: nn.Module) -> Iterable[tuple[str, float]]:
        """Let the model judge them."""
        table = self.table
        self.rows = self.rows or StatementRows(
            table.path, self.task.spec, 0, version=table.version, where=table.where or None
        )
        yield from reasoning_quality(verdicts(_bundle(self.task, model), self.rows, table.count)).items()


class _MeasuredBoxes:
    """Measures a detector on the boxes of one table.

    Args:
        table: which rows.
        task: what is trained.
    """

    def __init__(self, table: EvaluatedTable, task: Task) -> None:
        self.table, self.task = table, task
        self.rows: BoxedRows | None = None

    def __call__(self, model: nn.Module) -> Iterable[tuple[str, float]]:
        """COCO's numbers."""
        assert isinstance(model, Detector)
        task, table = self.task, self.table
        if self.rows is None:
            self.rows = boxed_rows(
                table.path,
                task.spec,
                task.labels,
                where=table.where,
                count=table.count,
                version=table.version,
            )
        found = detections(model, task.spec, self.rows)
        values = coco_ap(self.rows.truth, found, len(task.labels))
        return [(name, value) for name, value in values.items() if value == value]


def _bundle(task: Task, model: nn.Module) -> Bundle:
    return Bundle(task.name, model, task.spec, task.tokenizer, {}, "", Path(), labels=task.labels)
