"""COCO's JSON files: captions, instances (boxes), and questions with answers as in VQA v2.

The files of one folder that name the same split and year, or none, are joined by the id of the picture;
other splits may use the same ids. Files of other tasks (keypoints, panoptic, stuff) are left out, by name.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any, Final

from limner.data.sources.beside import Pictures, Place, files_in, folders_in, split_in
from limner.data.sources.item import Box, Guess, ImportOptions, Item, fields_of
from limner.data.sources.jsonfile import objects, read_json, text_of
from limner.errors import DataError

_RELEVANT: Final = re.compile(r"caption|instance|question|annotation|answer|coco|image_info", re.IGNORECASE)
_OTHER_TASKS: Final = re.compile(r"keypoints|panoptic|stuff|densepose", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d{4,}")
_MOST_FILES: Final = 50
_ABSENT: Final = "annotations name a picture that is not listed"
_CROWDS: Final = "boxes of crowds"
_BAD_BOXES: Final = "boxes without four numbers or an area"
_BROKEN: Final = "entries that are no objects or have no id"


_Id = tuple[str, str]
"""Group of files, and id in it."""


@dataclass
class _Found:
    """What the files say of one picture.

    Args:
        image: its entry in `images`.
        split: from the name of the file that lists it.
        home: that file.
    """

    image: dict[str, Any]
    split: str | None
    home: Place
    licence: str | None = None
    texts: list[Any] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    questions: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a JSON file, or those of a folder, for COCO's.

    Raises: DataError when a file is cut short or nested otherwise, when no annotation fits a picture, or when
        no picture is found.
    """
    files = _files(path)
    parts = [(file, part) for file in files if (part := _part(file)) is not None]
    if not parts:
        return None
    kinds = [kind for _, (kind, _) in parts]
    if "questions" not in kinds and "images" not in kinds:
        raise DataError(
            f"{path} holds answers without their questions", hint="put the file of questions beside it"
        )
    work = _Work()
    for kind in ("images", "questions", "answers"):
        for file, (own, found) in parts:
            if own == kind:
                work.read(kind, file, found)
    work.join()
    if not work.pictures:
        raise DataError(f"{path} names no pictures", wanted="`images` with an `id` and a `file_name` each")
    homes = {found.home for found in work.pictures.values()}
    places = {home: _pictures(home, work, options) for home in sorted(homes, key=str)}
    items = partial(_items, work, places)
    lines = _lines(path, [file for file, _ in parts], work, places)
    return Guess(str(path), "coco", tuple(lines), tuple(islice(items(), 3)), len(work.pictures), items)


# ---- files


def _files(path: Place) -> list[Place]:
    """The JSON files that a path means: itself and what answers it, or those of a folder."""
    if path.is_file():
        if path.suffix.lower() != ".json":
            return []
        return [path, *_counterparts(path)]
    if not path.is_dir():
        return []
    listed = _json_in(path)
    if not listed:
        below = folders_in(path)
        own = [one for one in below if one.name == "annotations"]
        listed = [file for one in own for file in _json_in(one)]
        marked = [one / "_annotations.coco.json" for one in below]
        listed = listed or [file for file in marked if file.is_file()]
    return listed


def _is_relevant(name: str) -> bool:
    return name.lower().endswith(".json") and not name.startswith(".") and bool(_RELEVANT.search(name))


def _json_in(folder: Place) -> list[Place]:
    relevant = files_in(folder, _is_relevant)
    return relevant if len(relevant) <= _MOST_FILES else []


def _counterparts(path: Place) -> list[Place]:
    """Files beside a file of questions, or of answers, that may be the other half of it."""
    if not re.search(r"question|annotation|answer", path.name, re.IGNORECASE):
        return []
    own = _which(path.name)
    beside = [one for one in _json_in(path.parent) if one.name != path.name and _which(one.name) == own]
    return [one for one in beside if re.search(r"question|annotation|answer", one.name, re.IGNORECASE)]


def _which(name: str) -> str:
    """What files of the same pictures have in common: split and year."""
    return " ".join([split_in(name) or "", *_NUMBER.findall(name)])


def _group(file: Place) -> str:
    """Where ids mean the same pictures."""
    return f"{file.parent} {_which(file.name)}"


def _part(file: Place) -> tuple[str, dict[str, Any]] | None:
    """What a JSON file holds: "images", "questions" or "answers"; None for anything else."""
    if _OTHER_TASKS.search(file.name):
        return None
    found = read_json(file)
    if not isinstance(found, dict):
        return None
    if "questions" in found:
        _require_list(file, found, "questions")
        return "questions", found
    if "images" in found:
        if any("sentences" in image for image in objects(found["images"])[:100]):
            return None
        if "annotations" in found or any("file_name" in one for one in objects(found["images"])[:100]):
            _require_list(file, found, "images")
            return "images", found
        return None
    if any("question_id" in one for one in objects(found.get("annotations"))[:100]):
        return "answers", found
    return None


def _require_list(file: Place, found: dict[str, Any], name: str) -> None:
    if not isinstance(found[name], list) or not isinstance(found.get("annotations", []), list):
        raise DataError(
            f"{name!r} or 'annotations' in {file} is no list",
            wanted='{"images": [{"id", "file_name"}], "annotations": [{"image_id", …}]}',
        )


# ---- joining


class _Work:
    """What has been read so far; a picture is known by its group of files and its id."""

    def __init__(self) -> None:
        self.pictures: dict[_Id, _Found] = {}
        self.left_out: Counter[str] = Counter()
        self.used: Counter[str] = Counter()
        self._pending: list[tuple[_Id, dict[str, Any], dict[str, str]]] = []
        self._questions: dict[_Id, tuple[Place, dict[str, Any]]] = {}
        self._answers: dict[_Id, tuple[str, ...]] = {}

    def read(self, kind: str, file: Place, found: dict[str, Any]) -> None:
        """Take in one file; pictures first, then questions, then answers."""
        if kind == "images":
            self._read_images(file, found)
        elif kind == "questions":
            for number, one in enumerate(objects(found["questions"])):
                key = str(one.get("question_id", one.get("question_index", f"number {number}")))
                self._questions[_group(file), key] = (file, one)
        else:
            for one in self._listed(found.get("annotations"), "question_id"):
                self._answers[_group(file), str(one["question_id"])] = _answers(one)

    def join(self) -> None:
        """Give the pictures their captions, boxes and questions.

        Raises: DataError when none of many annotations fits.
        """
        for key, annotation, categories in self._pending:
            self._annotate(key, annotation, categories)
        self._pending.clear()
        listed = {group for group, _ in self.pictures}
        for key, (file, one) in self._questions.items():
            self._ask(key, file, one, key[0] in listed)
        if self.left_out[_ABSENT] and not self.used:
            raise DataError(
                f"none of {self.left_out[_ABSENT]:,} annotations names a listed picture",
                wanted="`image_id` of annotations among the `id` of images",
            )

    def _read_images(self, file: Place, found: dict[str, Any]) -> None:
        licences = {str(one.get("id")): text_of(one.get("name")) for one in objects(found.get("licenses"))}
        split = split_in(file.name) or (split_in(file.parent.name) if "coco" in file.name.lower() else None)
        for image in self._listed(found["images"], "id"):
            licence = licences.get(str(image.get("license")))
            key = (_group(file), str(image["id"]))
            known = self.pictures.get(key)
            if known is None:
                self.pictures[key] = _Found(image, split, file, licence)
            else:
                known.image = image | known.image
        categories = {
            str(one.get("id")): text_of(one.get("name")) or str(one.get("id"))
            for one in objects(found.get("categories"))
        }
        for annotation in self._listed(found.get("annotations", []), "image_id"):
            self._pending.append(((_group(file), str(annotation["image_id"])), annotation, categories))

    def _listed(self, value: Any, needed: str) -> list[dict[str, Any]]:
        """Objects of a list that have an id; the others are counted."""
        found = [one for one in objects(value) if text_of(one.get(needed)) is not None]
        self.left_out[_BROKEN] += (len(value) if isinstance(value, list) else 0) - len(found)
        return found

    def _annotate(self, key: _Id, annotation: dict[str, Any], categories: dict[str, str]) -> None:
        picture = self.pictures.get(key)
        if picture is None:
            self.left_out[_ABSENT] += 1
            return
        if "caption" in annotation:
            picture.texts.append(annotation["caption"])
            self.used["captions"] += 1
        elif "bbox" in annotation:
            self._add_box(picture, annotation, categories)

    def _add_box(self, picture: _Found, annotation: dict[str, Any], categories: dict[str, str]) -> None:
        sides = _sides(annotation["bbox"])
        if annotation.get("iscrowd") == 1:
            self.left_out[_CROWDS] += 1
        elif sides is None:
            self.left_out[_BAD_BOXES] += 1
        else:
            category = str(annotation.get("category_id"))
            picture.boxes.append((*sides, categories.get(category, category)))
            self.used["boxes"] += 1

    def _ask(self, key: _Id, file: Place, one: dict[str, Any], listed: bool) -> None:
        """Give a question to its picture; a set of questions alone names its pictures by their ids."""
        image_id = text_of(one.get("image_id")) or text_of(one.get("image_filename"))
        question = text_of(one.get("question"))
        if image_id is None or question is None:
            self.left_out[_BROKEN] += 1
            return
        picture = self.pictures.get((key[0], image_id))
        if picture is None and listed:
            self.left_out[_ABSENT] += 1
            return
        if picture is None:
            image = {"id": one.get("image_id", image_id), "file_name": one.get("image_filename")}
            picture = self.pictures[key[0], image_id] = _Found(image, split_in(file.name), file)
        answers = self._answers.get(key, _answers(one))
        picture.questions.append((question, answers))
        self.used["questions"] += 1
        self.used["answered questions"] += bool(answers)


def _answers(one: dict[str, Any]) -> tuple[str, ...]:
    """Answers in an entry: VQA v2's list of objects, a list of texts, or one text."""
    value = one.get("answers", one.get("answer", one.get("multiple_choice_answer")))
    values = value if isinstance(value, list) else [value]
    texts = [text_of(each.get("answer") if isinstance(each, dict) else each) for each in values]
    return tuple(text for text in texts if text is not None)


def _sides(bbox: Any) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of a box given as left, top, width and height."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    if any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in bbox):
        return None
    try:
        x, y, width, height = map(float, bbox)
    except OverflowError:
        return None
    if not all(map(isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        return None
    return x, y, x + width, y + height


# ---- items


def _names(found: _Found) -> Sequence[str]:
    """What a picture may be called: its file name, that of its address, or its id as COCO writes ids."""
    stem, address = text_of(found.image.get("file_name")), text_of(found.image.get("coco_url"))
    if stem is not None:
        path = stem.replace("\\", "/")
        return (path, path.rpartition("/")[2] or path)
    if address is not None and not address.endswith("/"):
        return (address.rpartition("/")[2],)
    number = str(found.image["id"])
    years = _NUMBER.findall(found.home.name)
    padded = number.zfill(12)
    folder = f"{found.split or 'train'}{years[-1] if years else '2014'}"
    return (f"COCO_{folder}_{padded}.jpg", f"{padded}.jpg", f"{number}.jpg", f"{padded}.png", f"{number}.png")


def _pictures(home: Place, work: _Work, options: ImportOptions) -> Pictures:
    return Pictures(home, [_names(found) for found in work.pictures.values() if found.home == home], options)


def _items(work: _Work, places: dict[Place, Pictures]) -> Iterator[Item]:
    for found in work.pictures.values():
        names = _names(found)
        own = fields_of(found.image)
        picture = places[found.home].place(names)
        rest = {
            "key": names[0] if found.image.get("file_name") else str(picture.name),
            "texts": tuple(found.texts),
            "split": found.split,
            "licence": found.licence,
            "questions": tuple(found.questions),
            "boxes": tuple(found.boxes),
        }
        yield Item(**{"origin": f"{found.home.name}: {names[0]}", "picture": picture} | rest | own)


def _lines(path: Place, files: Sequence[Place], work: _Work, places: dict[Place, Pictures]) -> Iterator[str]:
    yield f"COCO: {', '.join(str(file.name) for file in files)}"
    said = ", ".join(f"{count:,} {name}" for name, count in work.used.items() if count)
    yield f"{len(work.pictures):,} pictures, {said or 'without captions, boxes or questions'}"
    yield from dict.fromkeys(place.line for place in places.values())
    splits = Counter(found.split or "without a split" for found in work.pictures.values())
    yield f"splits by the files' names: {', '.join(f'{n:,} {name}' for name, n in splits.items())}"
    yield "keys: the file name"
    if work.used["questions"] and not work.used["answered questions"]:
        yield "answers: none beside the questions"
    for what, count in work.left_out.items():
        if count:
            yield f"left out: {count:,} {what}"
    if path.is_dir():
        folder = files[0].parent
        others = files_in(folder, lambda name: bool(_OTHER_TASKS.search(name)))
        if others:
            yield f"not read: {', '.join(str(one.name) for one in others)}"
