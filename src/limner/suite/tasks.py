"""The tasks of the suite by name: one file a task in this folder, one line a task in `TASKS`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from limner.checkpoint import Bundle
from limner.config import Config
from limner.evaluate.pictures import Progress
from limner.suite import (
    bias,
    captioning,
    classification,
    corruptions,
    detection,
    dialog,
    fewshot,
    probe,
    reasoning,
    retrieval,
    robustness,
    scenes,
    segmentation,
    shape_bias,
    video,
    vqa,
    zeroshot,
)
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


TASKS: dict[str, Entry] = {
    "classification": Entry(
        "top-1 and top-5 of a model's own classifier: one view, ten crops, many scales",
        classification.ClassificationSettings,
        classification.measure,
    ),
    "zeroshot": Entry(
        "classes from their names: label alone, one template, an ensemble; superclasses, none of these",
        zeroshot.ZeroShotSettings,
        zeroshot.measure,
    ),
    "probe": Entry(
        "logistic regression on frozen features, its strength swept on validation",
        probe.ProbeSettings,
        probe.measure,
    ),
    "fewshot": Entry(
        "curves over 1 to 16 labels a class, zero-shot beside them, and how many labels that is worth",
        fewshot.FewShotSettings,
        fewshot.measure,
    ),
    "retrieval": Entry(
        "texts of pictures and pictures of texts: R@1, 5, 10, MRR, median rank; re-ranked by ITM with top_k",
        retrieval.RetrievalSettings,
        retrieval.measure,
    ),
    "captioning": Entry(
        "captions by BLEU, ROUGE-L, CIDEr-D, and by what else is there",
        captioning.CaptioningSettings,
        captioning.measure,
    ),
    "vqa": Entry("answers to questions about pictures", vqa.VQASettings, vqa.measure),
    "reasoning": Entry(
        "statements about two pictures, true or false", reasoning.ReasoningSettings, reasoning.measure
    ),
    "dialog": Entry(
        "candidate answers of a visual dialogue ranked: MRR, R@k, NDCG",
        dialog.DialogTaskSettings,
        dialog.measure,
    ),
    "video": Entry(
        "texts and videos find each other, questions about videos, by frames",
        video.VideoSettings,
        video.measure,
        reads_table=False,
    ),
    "scenes": Entry(
        "exact captions, counting, questions and matching on made scenes",
        scenes.ScenesSettings,
        scenes.measure,
        reads_table=False,
    ),
    "detection": Entry("COCO's AP of a detector", detection.DetectionTask, detection.run),
    "segmentation": Entry(
        "mIoU of a linear head on frozen features: on made scenes, or on masks of a table",
        segmentation.SegmentationTask,
        segmentation.run,
        reads_table=False,
    ),
    "robustness": Entry("accuracy in several domains of one task", robustness.RobustnessTask, robustness.run),
    "corruptions": Entry(
        "accuracy on noisy, blurred, compressed pictures", corruptions.CorruptionsTask, corruptions.run
    ),
    "shape_bias": Entry(
        "outline against surface on cue conflicts, made of emoji",
        shape_bias.ShapeBiasTask,
        shape_bias.run,
        reads_table=False,
    ),
    "bias": Entry("labels and words by group", bias.BiasTask, bias.run),
}
"""Name → task, in the order of the docs."""
