"""Dialogues about pictures: what they hold, and VisDial v1.0's files read into it.

Source: Das et al. 2017 (Visual Dialog, arXiv 1611.08669); the layout of visualdialog.org's v1.0 files.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from limner.errors import DataError


class Round(NamedTuple):
    """One question of a dialogue.

    Args:
        question: as asked.
        answer: as given; what later rounds remember.
        options: candidates to rank; empty where there is nothing to rank.
        right: which of the options is the answer.
        relevance: how right each option is, [0, 1]; empty when nobody has judged.
    """

    question: str
    answer: str
    options: tuple[str, ...] = ()
    right: int = 0
    relevance: tuple[float, ...] = ()


class Dialogue(NamedTuple):
    """Questions and answers about one picture.

    Args:
        image_id: of the picture.
        caption: said of it before the first question.
        rounds: in order.
    """

    image_id: str
    caption: str
    rounds: tuple[Round, ...]


def read_visdial(path: str | Path, dense: str | Path | None = None) -> list[Dialogue]:
    """Read a file of VisDial v1.0.

    Args:
        path: such as visdial_1.0_val.json.
        dense: such as visdial_1.0_val_dense_annotations.json.
    Returns: dialogues in the order of the file; rounds without options (as in train files) keep their words.
    Raises: DataError when a file is missing, is no JSON, or has another layout.
    """
    try:
        data = _json(path)["data"]
        judged = {} if dense is None else _judged(_json(dense))
        return [_dialogue(row, data["questions"], data["answers"], judged) for row in data["dialogs"]]
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{path} has not the layout of VisDial v1.0: {type(error).__name__} {error}",
            wanted="data.{questions,answers,dialogs}; annotations: image_id, round_id, gt_relevance",
        ) from error


def _json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", wanted="a JSON file of VisDial v1.0") from error


def _judged(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], tuple[float, ...]]:
    """Relevance by picture and round, counted from 0; val calls it gt_relevance, train relevance."""
    return {
        (str(row["image_id"]), row["round_id"] - 1): tuple(
            map(float, row["gt_relevance"] if "gt_relevance" in row else row["relevance"])
        )
        for row in rows
    }


def _dialogue(
    row: dict[str, Any],
    questions: Sequence[str],
    answers: Sequence[str],
    judged: dict[tuple[str, int], tuple[float, ...]],
) -> Dialogue:
    image_id = str(row["image_id"])
    rounds = []
    for number, said in enumerate(row["dialog"]):
        options = tuple(answers[i] for i in said.get("answer_options", ()))
        relevance = judged.get((image_id, number), ())
        right = said.get("gt_index", -1)
        if relevance and len(relevance) != len(options):
            raise DataError(
                f"picture {image_id}, round {number + 1}: {len(relevance)} of {len(options)} judged",
                wanted="one each; do the two files belong together?",
            )
        if not 0 <= right < len(options):
            options, relevance, right = (), (), 0  # nothing to rank without the truth
        answer = answers[said["answer"]] if "answer" in said else ""
        rounds.append(Round(questions[said["question"]], answer, options, right, relevance))
    return Dialogue(image_id, row["caption"], tuple(rounds))
