"""BLIP's and ALBEF's JSON lists: `{image, caption}` for captions, `{image, question, answer}` for VQA.

Rows of one picture become one item with several captions and questions.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from limner.data.sources.beside import Pictures, Place, split_in
from limner.data.sources.item import Guess, ImportOptions, Item, Question, fields_of
from limner.data.sources.jsonfile import objects, read_json, text_of
from limner.errors import DataError

_IMAGE: Final = ("image", "file_name", "filepath", "file_path", "image_path", "img_path", "img", "path")
_CAPTION: Final = ("caption", "captions", "text", "texts", "sentence", "title", "description")
_ROWS_LOOKED_AT: Final = 100


class _Names(NamedTuple):
    image: str
    caption: str | None


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a JSON list of objects that name pictures for BLIP's lists.

    Raises: DataError for pairs of pictures (NLVR2), web addresses, or when no picture is found.
    """
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    found = read_json(path)
    rows = objects(found)
    if not rows:
        return None
    _refuse_pairs(path, rows[:_ROWS_LOOKED_AT])
    names = _choose(path, rows[:_ROWS_LOOKED_AT], options)
    named = [row for row in rows if text_of(row.get(names.image))]
    if not named:
        return None
    _refuse_addresses(path, named[:_ROWS_LOOKED_AT], names)
    pictures = Pictures(path, [_spellings(row, names) for row in named], options)
    texts = sum(len(_texts(row, names)) for row in named)
    questions = sum("question" in row for row in named)
    broken = len(found) - len(named)
    split = split_in(path.name)
    lines = [
        f"BLIP list: {len(named):,} rows, {texts:,} captions, {questions:,} questions",
        f"pictures by {names.image!r}, captions in {names.caption!r}"
        if names.caption
        else f"pictures by {names.image!r}",
        pictures.line,
        f"split: {split}, from the file's name" if split else "split: the name tells none",
        "keys: the picture's path; rows of one path become one picture",
        *([f"not read: {broken} rows that name no picture"] if broken else []),
    ]
    items = partial(_items, path, named, names, pictures)
    count = len({row[names.image] for row in named if isinstance(row[names.image], str)})
    return Guess(str(path), "blip", tuple(lines), tuple(islice(items(), 3)), count, items)


def _choose(path: Place, rows: Sequence[dict[str, Any]], options: ImportOptions) -> _Names:
    """Which names mean the picture and the caption."""
    there = {name for row in rows for name in row}
    for asked in (options.picture_column, options.caption_column):
        if asked is not None and asked not in there:
            raise DataError(f"no row of {path} has {asked!r}", wanted=", ".join(sorted(there)))
    image = options.picture_column or next((name for name in _IMAGE if name in there), "image")
    caption = options.caption_column or next((name for name in _CAPTION if name in there), None)
    return _Names(image, caption)


def _refuse_pairs(path: Place, rows: Sequence[dict[str, Any]]) -> None:
    if any(isinstance(row.get("images"), list) and "sentence" in row for row in rows):
        raise DataError(
            f"{path} holds statements about pairs of pictures, as NLVR2 does",
            wanted="one picture a row: a pairs table has no place for two",
            hint=f"limner import the folder of its pictures, then: limner table TABLE --statements {path}",
        )


def _refuse_addresses(path: Place, rows: Sequence[dict[str, Any]], names: _Names) -> None:
    values = [str(row[names.image]) for row in rows]
    if all(value.startswith(("http://", "https://")) for value in values):
        raise DataError(
            f"{names.image!r} in {path} holds web addresses",
            wanted="files on this machine",
            hint="download them first, with img2dataset for instance",
        )


def _spellings(row: dict[str, Any], names: _Names) -> Sequence[str]:
    """Where a picture may be: at its path, below the folder of its data set, or by its bare name."""
    path = str(row[names.image]).strip().replace("\\", "/")
    dataset = text_of(row.get("dataset"))
    bare = path.rpartition("/")[2] or path
    return (path, f"{dataset}/{path}" if dataset else path, bare)


def _texts(row: dict[str, Any], names: _Names) -> tuple[Any, ...]:
    if names.caption is None or names.caption not in row:
        return ()
    value = row[names.caption]
    return tuple(value) if isinstance(value, list) else (value,)


def _question(row: dict[str, Any]) -> tuple[Question, ...]:
    """The question of a row with its answers, none where the list keeps them back."""
    question = text_of(row.get("question"))
    if question is None:
        return ()
    answer = row.get("answer", row.get("answers"))
    answers = answer if isinstance(answer, list) else [answer]
    return ((question, tuple(text for one in answers if (text := text_of(one)))),)


def _items(path: Place, rows: Sequence[dict[str, Any]], names: _Names, pictures: Pictures) -> Iterator[Item]:
    """One item for each picture, in the order in which the rows first name them."""
    joined: dict[str, Item] = {}
    split = split_in(path.name)
    for row in rows:
        spellings = _spellings(row, names)
        item = joined.get(spellings[0])
        if item is None:
            own = {"split": split} | fields_of(row)
            own |= {"texts": (), "questions": own.get("questions", ()), "key": spellings[0]}
            item = Item(
                **{"origin": f"{path.name}: {spellings[0]}", "picture": pictures.place(spellings)} | own
            )
        texts = tuple(text for text in _texts(row, names) if text not in item.texts)
        item = item._replace(texts=item.texts + texts, questions=item.questions + _question(row))
        joined[spellings[0]] = item
    yield from joined.values()
