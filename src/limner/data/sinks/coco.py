"""COCO's JSON files beside `images/`: captions, instances (boxes) and questions with answers as in VQA v2.

`captions.json` is always written, `instances.json`, `questions.json` and `answers.json` where there is
something to say. Each entry of `images` in `captions.json` also has the row's own columns. Lists are
written piece by piece, so memory stays flat.
"""

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TextIO

from limner.data.sinks.row import OutRow, Plan

_INFO: Final = {"description": "written by limner export", "version": "1"}
_VQA: Final = {
    "info": _INFO,
    "task_type": "Open-Ended",
    "data_type": "limner",
    "data_subtype": "all",
    "license": {},
}
_LISTS: Final = ("images", "records", "captions", "instances", "questions", "answers")
UNNAMED: Final = "object"


def write(rows: Iterable[OutRow], folder: Path, plan: Plan) -> None:
    """Write pictures and JSON files into an empty folder."""
    (folder / "images").mkdir()
    with ExitStack() as open_files:
        work = _Work(folder, open_files)
        for row in rows:
            work.add(row)
    work.finish()


class _List:
    """A JSON list on disk that grows."""

    def __init__(self, path: Path, open_files: ExitStack) -> None:
        self.path = path
        self.count = 0
        self._file: TextIO = open_files.enter_context(path.open("w", encoding="utf-8", newline="\n"))

    def add(self, **entry: Any) -> None:
        self._file.write((",\n" if self.count else "") + json.dumps(entry, ensure_ascii=False))
        self.count += 1


class _Work:
    """The files of one export while they grow; every id starts at 1, since pycocotools takes 0 for none."""

    def __init__(self, folder: Path, open_files: ExitStack) -> None:
        self._folder = folder
        self._lists = {name: _List(folder / f".{name}.part", open_files) for name in _LISTS}
        self._licences: dict[str, int] = {}
        self._categories: dict[str, int] = {}

    def add(self, row: OutRow) -> None:
        image_id = row.number + 1
        name = f"{image_id:012d}{row.suffix}"
        (self._folder / "images" / name).write_bytes(row.image)
        image: dict[str, Any] = {"id": image_id, "file_name": name}
        image |= {side: row.record[side] for side in ("width", "height") if side in row.record}
        if row.record.get("licence"):
            image["license"] = _number(self._licences, row.record["licence"])
        self._lists["images"].add(**image)
        self._lists["records"].add(**(row.record | image))
        for text in row.texts:
            captions = self._lists["captions"]
            captions.add(id=captions.count + 1, image_id=image_id, caption=text)
        for box in row.record.get("boxes") or ():
            self._add_box(image_id, box)
        for question in row.record.get("questions") or ():
            self._add_question(image_id, question)

    def finish(self) -> None:
        """Put the lists together, and remove them."""
        licences = [{"id": id_, "name": name, "url": ""} for name, id_ in self._licences.items()]
        head: dict[str, Any] = {"info": _INFO, "licenses": licences}
        self._join("captions.json", head, images="records", annotations="captions")
        if self._lists["instances"].count:
            names = [{"id": i, "name": name, "supercategory": ""} for name, i in self._categories.items()]
            head = head | {"categories": names}
            self._join("instances.json", head, images="images", annotations="instances")
        if self._lists["questions"].count:
            self._join("questions.json", _VQA, questions="questions")
            self._join("answers.json", _VQA, annotations="answers")
        for part in self._lists.values():
            part.path.unlink()

    def _add_box(self, image_id: int, box: dict[str, Any]) -> None:
        width, height = box["x1"] - box["x0"], box["y1"] - box["y0"]
        self._lists["instances"].add(
            id=self._lists["instances"].count + 1,
            image_id=image_id,
            category_id=_number(self._categories, box.get("label") or UNNAMED),
            bbox=[box["x0"], box["y0"], width, height],
            area=width * height,
            iscrowd=0,
            segmentation=[],
        )

    def _add_question(self, image_id: int, question: dict[str, Any]) -> None:
        number = self._lists["questions"].count + 1
        answers = list(question["answers"] or ())
        best = Counter(answers).most_common(1)[0][0] if answers else ""
        self._lists["questions"].add(image_id=image_id, question=question["question"], question_id=number)
        self._lists["answers"].add(
            question_id=number,
            image_id=image_id,
            question_type="",
            answer_type=_answer_type(best),
            multiple_choice_answer=best,
            answers=[
                {"answer": answer, "answer_confidence": "yes", "answer_id": i}
                for i, answer in enumerate(answers, 1)
            ],
        )

    def _join(self, name: str, head: dict[str, Any], **lists: str) -> None:
        with (self._folder / name).open("w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(head, ensure_ascii=False)[:-1])
            for field, part in lists.items():
                file.write(f',\n"{field}": [\n')
                with self._lists[part].path.open(encoding="utf-8", newline="\n") as lines:
                    file.writelines(lines)
                file.write("\n]")
            file.write("}\n")


def _number(known: dict[str, int], name: str) -> int:
    return known.setdefault(name, len(known) + 1)


def _answer_type(answer: str) -> str:
    if answer.lower() in ("yes", "no"):
        return "yes/no"
    return "number" if answer.isdecimal() else "other"
