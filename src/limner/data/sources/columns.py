"""Which column of a file of rows means what: names that people use first, then the values.

A column that holds encoded pictures comes before one of paths, and a name is believed only where its
values fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from limner.data.sources.item import ImportOptions
from limner.data.sources.rowfiles import Row, RowFile, is_picture_path
from limner.data.table import SCHEMA
from limner.errors import DataError

PICTURE_COLUMNS: Final = (
    *("filepath", "file_path", "file_name", "filename", "image_path", "img_path", "image", "img", "picture"),
    *("photo", "path", "file", "bytes", "jpg", "png", "webp", "jpeg", "image_name", "image_file", "img_name"),
)
CAPTION_COLUMNS: Final = (
    *("caption", "captions", "text", "texts", "sentence", "sentences", "title", "description", "alt_text"),
    *("alt", "comment", "prompt"),
)
KEY_COLUMNS: Final = ("key", "id", "uid")
LABEL_COLUMNS: Final = ("label", "class", "class_name", "label_name", "category")
SPLIT_COLUMNS: Final = ("split", "subset", "partition")
LICENCE_COLUMNS: Final = ("licence", "license")
ANSWER_COLUMNS: Final = ("answer", "answers")
OWN_COLUMNS: Final = ("texts", "source", "questions", "answers", "vqa", "boxes")


@dataclass(frozen=True)
class Columns:
    """Which column of a file of rows means what; None where there is none.

    Args:
        picture: paths, or encoded pictures.
        embedded: whether pictures are encoded in the rows.
        caption: a text or a list of texts.
        key: unique names.
        label: class names.
        split: names of splits.
        licence: of the picture.
        question: a question about the picture.
        answer: its answer, or a list of answers.
        own: columns named and shaped as the table's own.
        keep: further columns that come along.
    """

    picture: str
    embedded: bool
    caption: str | None
    key: str | None
    label: str | None
    split: str | None
    licence: str | None
    question: str | None
    answer: str | None
    own: tuple[str, ...]
    keep: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """All columns to read, each once."""
        chosen = (self.picture, self.caption, self.key, self.label, self.split, self.licence)
        named = (*chosen, self.question, self.answer, *self.own, *self.keep)
        return list(dict.fromkeys(name for name in named if name))


def choose_columns(file: RowFile, sample: Sequence[Row], options: ImportOptions) -> Columns:
    """Tell the columns of a file apart.

    Args:
        file: of rows.
        sample: its first rows.
        options: `*_column` are taken as they are.
    Raises: DataError when a column asked for is not there, or none seems to hold pictures on this machine.
    """
    asked = {
        "picture": options.picture_column,
        "caption": options.caption_column,
        "key": options.key_column,
        "label": options.label_column,
        "split": options.split_column,
    }
    for what, name in asked.items():
        if name is not None and name not in file.columns:
            wanted = ", ".join(file.columns)
            raise DataError(f"{file.path} has no column {name!r}", wanted=wanted, hint=f"--{what}-column")
    check_kept(options.keep, file.columns, str(file.path))
    picture = asked["picture"] or _picture_column(file, sample)
    if picture is None:
        raise DataError(
            f"no column of {file.path} seems to hold pictures",
            wanted=f"paths or encoded bytes in one of {', '.join(file.columns)}",
            hint="name it: --picture-column",
        )
    _refuse_addresses(file, sample, picture)
    embedded = _share(sample, picture, _is_embedded) > 0
    taken = {name for name in (picture, *asked.values()) if name}
    key = asked["key"] or _distinct(file, _known(file, KEY_COLUMNS, taken))
    if key is None and embedded:
        key = _distinct(file, _file_names(file, sample))
    label = asked["label"] or _known(file, LABEL_COLUMNS, taken)
    split = asked["split"] or _known(file, SPLIT_COLUMNS, taken)
    question = _known(file, ("question",), taken)
    taken |= {name for name in (key, label, split, question) if name}
    return Columns(
        picture=picture,
        embedded=embedded,
        caption=asked["caption"] or _caption_column(file, sample, taken),
        key=key,
        label=label,
        split=split,
        licence=_known(file, LICENCE_COLUMNS, taken),
        question=question,
        answer=_known(file, ANSWER_COLUMNS, taken) if question else None,
        own=tuple(name for name in OWN_COLUMNS if name in file.columns and name not in taken),
        keep=options.keep,
    )


def check_kept(keep: Sequence[str], columns: Sequence[str], place: str) -> None:
    """Refuse columns that cannot come along.

    Raises: DataError when a column is not there, or has the name of one that every table has.
    """
    for name in keep:
        if name in SCHEMA.names:
            raise DataError(
                f"--keep {name}: every table has a column of that name",
                wanted="a column of another name",
                hint="--caption-column, --key-column, --label-column and --split-column fill these",
            )
        if name not in columns:
            raise DataError(f"{place} has no column {name!r}", wanted=", ".join(columns), hint="--keep")


def embedded_bytes(value: Any) -> bytes | None:
    """Encoded bytes as a column may hold them: plain, or in the struct Hugging Face's `datasets` writes."""
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else None


def _picture_column(file: RowFile, sample: Sequence[Row]) -> str | None:
    """Bytes in a column of a usual name, bytes in any, paths in a usual one, paths in any, a usual name."""
    usual = [name for name in (_known(file, (one,)) for one in PICTURE_COLUMNS) if name]
    for fits in (_is_embedded, _is_path):
        likely = (name for name in (*usual, *file.columns) if _share(sample, name, fits) > 0.5)
        found = next(likely, None)
        if found is not None:
            return found
    return usual[0] if usual else None


def _caption_column(file: RowFile, sample: Sequence[Row], taken: set[str]) -> str | None:
    """The table's own lists of texts, a column of a usual name, or the one with the most words."""
    if "texts" in file.columns and any(isinstance(row["texts"], list) for row in sample):
        return "texts"
    rest = [name for name in file.columns if name not in taken]
    wordy = max(rest, key=lambda name: _mean_words(sample, name), default=None)
    if wordy is not None and _mean_words(sample, wordy) < 1.5:
        wordy = None
    return _known(file, CAPTION_COLUMNS, taken) or wordy


def _distinct(file: RowFile, name: str | None) -> str | None:
    """A column that is called as keys are, if each of its values stands once; others are no keys."""
    if name is None:
        return None
    values = [row[name] for _, row in file.rows([name]) if row is not None and row[name] is not None]
    return name if len(set(map(str, values))) == len(values) else None


def _file_names(file: RowFile, sample: Sequence[Row]) -> str | None:
    """Beside embedded pictures, a column of file names, each of which stands once in the sample."""
    for name in file.columns:
        values = {row[name] for row in sample if isinstance(row[name], str) and is_picture_path(row[name])}
        if values and len(values) == len(sample):
            return name
    return None


def _refuse_addresses(file: RowFile, sample: Sequence[Row], picture: str) -> None:
    values = [row[picture] for row in sample if row[picture] is not None]
    if values and all(isinstance(v, str) and v.startswith(("http://", "https://")) for v in values):
        raise DataError(
            f"column {picture!r} of {file.path} holds web addresses",
            wanted="files on this machine",
            hint="download them first, with img2dataset for instance",
        )


def _known(file: RowFile, names: Sequence[str], but: set[str] | None = None) -> str | None:
    """The first column whose name people use for this, whatever its case."""
    spelt = {column.lower(): column for column in reversed(file.columns) if column not in (but or ())}
    return next((spelt[name] for name in names if name in spelt), None)


def _is_embedded(value: Any) -> bool:
    return embedded_bytes(value) is not None


def _is_path(value: Any) -> bool:
    path = value.get("path") if isinstance(value, dict) else value
    return isinstance(path, str) and is_picture_path(path)


def _share(sample: Sequence[Row], name: str, fits: Any) -> float:
    """Share of the values that are there which fit; 0 when none is there."""
    values = [row[name] for row in sample if row[name] is not None]
    return sum(map(fits, values)) / len(values) if values else 0.0


def _mean_words(sample: Sequence[Row], name: str) -> float:
    texts = [row[name] for row in sample if isinstance(row[name], str) and not is_picture_path(row[name])]
    return sum(len(text.split()) for text in texts) / max(1, len(sample))
