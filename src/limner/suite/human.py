"""CLIP's test of people on any labelled table: which pictures are asked, what was answered, what it says.

Implements: zero, one and two examples a class, the same pictures in each part in another order, classes and
    "I don't know" to choose from; any number of people. Answers are appended to a file as they are given, so
    that nothing is lost and any number of people can take part at once.
Differs: the paper asks for every picture of Oxford Pets' test split; here the pictures of each class are as
    many as the study says. Examples are never asked.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), section 4.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

from limner.capfilt.labels import named
from limner.checkpoint.files import read_json, write_json
from limner.config import Config, build
from limner.data.table import Table
from limner.errors import ConfigError, DataError
from limner.evaluate.human import DONT_KNOW, NOT_ASKED
from limner.record import Recorder, read_records

STUDY, ANSWERS = "study.json", "answers.jsonl"


class HumanSettings(Config):
    """What people are asked.

    Args:
        path: a labelled table.
        where: only rows this SQL filter holds for, such as "split = 'test'".
        version: of the table; None is the newest.
        per_class: pictures asked of each class; a class with fewer gives what it has.
        shots: examples a class shown in each part, in this order.
        seed: of the pictures and their order.
    """

    path: str
    where: str = ""
    version: int | None = None
    per_class: int = Field(default=5, ge=1)
    shots: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    seed: int = 0

    @model_validator(mode="after")
    def _parts_differ(self) -> "HumanSettings":
        if len(set(self.shots)) < len(self.shots) or min(self.shots) < 0 or max(self.shots) > 9:
            raise ValueError(f"shots {self.shots}: each part another number of examples, from 0 to 9")
        return self


class Asked(NamedTuple):
    """What a person is asked next.

    Args:
        shots: examples a class in this part.
        key: of the picture.
        done: pictures this person has answered in all parts.
        total: that there are.
    """

    shots: int
    key: str
    done: int
    total: int


class Study(NamedTuple):
    """One test, as everybody gets it.

    Args:
        folder: holds `study.json` and `answers.jsonl`.
        settings: of the test, the version of the table filled in.
        classes: names to choose from, sorted.
        asked: key of each picture that is asked → its class.
        shown: class → keys of its examples, as many as the largest part has.
    """

    folder: Path
    settings: HumanSettings
    classes: tuple[str, ...]
    asked: dict[str, str]
    shown: dict[str, tuple[str, ...]]

    @property
    def title(self) -> str:
        """Name of the table."""
        return Path(self.settings.path).stem

    def examples(self, shots: int) -> dict[str, list[str]]:
        """Keys of the examples of each class that a part shows."""
        return {label: list(keys[:shots]) for label, keys in self.shown.items()}

    def order(self, person: str, shots: int) -> list[str]:
        """Keys in the order in which a person sees them in one part."""
        told = f"limner human {self.settings.seed} {person} {shots}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(told).digest()[:8]))
        keys: list[str] = rng.permutation(sorted(self.asked)).tolist()
        return keys

    def picture(self, key: str) -> bytes:
        """The encoded picture of a row that is asked or an example.

        Raises: DataError when it is neither.
        """
        return self.pictures([key])[0]

    def pictures(self, keys: Sequence[str]) -> list[bytes]:
        """The encoded pictures of rows that are asked or examples, read together.

        Raises: DataError when one of them is neither.
        """
        known = set(self.asked).union(*self.shown.values())
        for key in keys:
            if key not in known:
                raise DataError(
                    f"no picture {key!r} in this study", wanted="a key that is asked or an example"
                )
        table = Table.open(self.settings.path, self.settings.version)
        named = ", ".join("'{}'".format(key.replace("'", "''")) for key in keys)
        places = table.positions(f"key in ({named})").tolist() if keys else []
        found = {row["key"]: row["image"] for row in table.rows(places, ["key", "image"])}
        return [found[key] for key in keys]

    def next(self, person: str) -> Asked | None:
        """The first picture that a person has not answered, part by part; None at the end.

        Raises: DataError for a name that is none.
        """
        name = named(person)
        said = {(row["shots"], row["key"]) for row in answers_of(self) if row["person"] == name}
        total = len(self.asked) * len(self.settings.shots)
        for shots in self.settings.shots:
            for key in self.order(name, shots):
                if (shots, key) not in said:
                    return Asked(shots, key, len(said), total)
        return None

    def answer(self, person: str, shots: int, key: str, said: str | None) -> None:
        """Keep one answer.

        Args:
            person: who; any name.
            shots: the part.
            key: of the picture.
            said: the class; None is "I don't know".
        Raises: DataError for a picture, part or class that is not asked, or a name that is none.
        """
        for given, known in ((key, self.asked), (shots, self.settings.shots), (said, (None, *self.classes))):
            if given not in known:
                raise DataError(
                    f"{given!r} is not asked in this study", wanted="a picture, part and class of it"
                )
        Recorder(self.folder / ANSWERS).write("answer", person=named(person), shots=shots, key=key, said=said)


def open_study(folder: str | Path, settings: HumanSettings | None = None) -> Study:
    """Open a study, or begin one.

    Args:
        folder: its folder; made when it is not there.
        settings: what is asked, when it begins; when it is there already they must be the same, or None.
    Raises: DataError when there is no study and no settings, or the table has no two classes with enough
        pictures; ConfigError when the study that is there asks something else.
    """
    folder = Path(folder)
    if (folder / STUDY).exists():
        return _opened(folder, settings)
    if settings is None:
        raise DataError(
            f"{folder} holds no study", wanted="the folder of one", hint=f"limner human TABLE --out {folder}"
        )
    settings = settings.model_copy(update={"version": Table.open(settings.path, settings.version).version})
    asked, examples = _drawn(settings)
    study = Study(folder, settings, tuple(sorted(examples)), asked, examples)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{STUDY}.partial"
    write_json(
        partial,
        {"settings": settings.model_dump(mode="json"), "asked": study.asked, "shown": study.shown},
    )
    partial.replace(folder / STUDY)
    return study


def _opened(folder: Path, settings: HumanSettings | None) -> Study:
    held = read_json(folder / STUDY)
    known = build(held["settings"], HumanSettings, str(folder / STUDY))
    if settings is not None:
        asked = settings.model_copy(update={"version": settings.version or known.version})
        if asked != known:
            raise ConfigError(
                f"{folder} holds another study, of {known.path}",
                wanted="its own settings, or a new folder",
                hint=f"limner human {known.path} --out {folder}-2",
            )
    examples = {label: tuple(keys) for label, keys in held["shown"].items()}
    return Study(folder, known, tuple(sorted(examples)), held["asked"], examples)


def _drawn(settings: HumanSettings) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The pictures that are asked and the examples, by class."""
    table = Table.open(settings.path, settings.version)
    found = table.arrow(["key", "label"], settings.where or None)
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for key, label in zip(found["key"].to_pylist(), found["label"].to_pylist(), strict=True):
        if label:
            keys[label].append(key)
    shown, rng = max(settings.shots), np.random.default_rng(settings.seed)
    drawn = {label: rng.permutation(sorted(keys[label])).tolist() for label in sorted(keys)}
    short = [label for label, held in drawn.items() if len(held) <= shown]
    if len(drawn) < 2 or short:
        given = (
            f"class {short[0]!r} has {len(drawn[short[0]])} pictures" if short else f"{len(drawn)} classes"
        )
        raise DataError(
            f"{settings.path}: {given}",
            wanted=f"two classes or more, each with {shown} examples and a picture to ask",
            hint="fewer --shots, or --where that leaves small classes out",
        )
    asked = {key: label for label, held in drawn.items() for key in held[shown : shown + settings.per_class]}
    return asked, {label: tuple(held[:shown]) for label, held in drawn.items()}


def answers_of(study: Study) -> list[dict[str, Any]]:
    """All answers; the last one counts where a person gave two to one picture."""
    if not (study.folder / ANSWERS).exists():
        return []
    kept = {
        (row["person"], row["shots"], row["key"]): row
        for row in read_records(study.folder / ANSWERS, "answer")
    }
    return list(kept.values())


class Part(NamedTuple):
    """The answers of one part as numbers.

    Args:
        people: names, one a row.
        keys: of the pictures, one a column.
        answers: class of each, `DONT_KNOW` or `NOT_ASKED`.
        truth: class of each picture.
    """

    people: tuple[str, ...]
    keys: tuple[str, ...]
    answers: Int[np.ndarray, "p n"]
    truth: Int[np.ndarray, " n"]


def answered(study: Study, shots: int) -> Part:
    """The answers of one part, people by pictures."""
    rows = [row for row in answers_of(study) if row["shots"] == shots]
    people = tuple(sorted({row["person"] for row in rows}))
    keys, number = tuple(sorted(study.asked)), {label: n for n, label in enumerate(study.classes)}
    column = {key: n for n, key in enumerate(keys)}
    answers = np.full((len(people), len(keys)), NOT_ASKED)
    for row in rows:
        said = number.get(row["said"], DONT_KNOW)
        answers[people.index(row["person"]), column[row["key"]]] = said
    return Part(people, keys, answers, np.array([number[study.asked[key]] for key in keys]))
