"""Pictures that a list names and that lie somewhere beside it, and what else the lists have in common."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from limner.data.sources.item import Guess, ImportOptions, Item
from limner.errors import DataError

Place = Any
"""A `pathlib.Path`, or a `upath.UPath` where the files are remote."""

SPLITS: Final = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "minival": "val",
    "test": "test",
    "testing": "test",
    "t10k": "test",
    "restval": "train",
}
"""How others spell a split; Karpathy's `restval` is trained on, as the papers do."""
_SPLIT_WORD: Final = re.compile(
    r"(?<![a-z])(" + "|".join(sorted(SPLITS, key=len, reverse=True)) + r")(?![a-z])"
)
_USUAL_FOLDERS: Final = (
    *("", "images", "Images", "image", "img", "imgs", "pictures", "photos", "data"),
    *("train2014", "val2014", "test2014", "test2015", "train2017", "val2017", "test2017"),
    *("Flicker8k_Dataset", "Flickr8k_Dataset", "flickr8k-images", "flickr30k-images", "flickr30k_images"),
    *("coco", "train", "val", "valid", "test"),
)
_SAMPLE: Final = 50


def split_in(name: str) -> str | None:
    """The split that a name tells: `captions_val2017.json` is "val"; None when it tells none or two."""
    found = {SPLITS[word] for word in _SPLIT_WORD.findall(name.lower().replace("test-dev", "test"))}
    return found.pop() if len(found) == 1 else None


def files_in(folder: Place, wanted: Callable[[str], bool]) -> list[Place]:
    """What lies right in a folder under a wanted name, by name; a path is made of nothing else, since
    folders hold millions."""
    local = isinstance(folder, Path)
    names = os.listdir(folder) if local else [str(one.name) for one in folder.iterdir()]
    return [folder / name for name in sorted(filter(wanted, names))]


def folders_in(folder: Place) -> list[Place]:
    """The folders right in a folder, by name, hidden ones left out."""
    if isinstance(folder, Path):
        with os.scandir(folder) as inside:
            names = [one.name for one in inside if one.is_dir()]
    else:
        names = [str(one.name) for one in folder.iterdir() if one.is_dir()]
    return [folder / name for name in sorted(names) if not name.startswith(".")]


def guess_of(path: Place, kind: str, lines: Sequence[str], items: Callable[[], Iterator[Item]]) -> Guess:
    """A guess whose number of items is not known before they are read."""
    return Guess(str(path), kind, tuple(lines), tuple(islice(items(), 3)), None, items)


def counted(counts: Counter[str]) -> str:
    """Counts in words, the largest first: "5 train, 2 val"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())


class Pictures:
    """Finds pictures by name in the folders around a list.

    Which folders hold them is told from a sample of the names; with one such folder no other file is asked
    for, and a picture that is not there is left for the intake to refuse.

    Args:
        list_path: the file that names them.
        names: for each of some pictures, the names it may have, most likely first.
        options: `base` is looked in first, and alone with the folders below it.
    Raises: DataError when none of the sample is anywhere.
    """

    def __init__(self, list_path: Place, names: Sequence[Sequence[str]], options: ImportOptions) -> None:
        homes = [options.base] if options.base else [list_path.parent, list_path.parent.parent]
        usual = _USUAL_FOLDERS
        tried = [home / name if name else home for home in homes for name in usual]
        nested = [home / "images" / name for home in homes for name in usual if name]
        places = [place for place in dict.fromkeys([*tried, *nested]) if place.is_dir()]
        step = max(1, len(names) // _SAMPLE)
        votes: Counter[tuple[int, int]] = Counter()
        for spellings in names[::step]:
            where = _first_there(places, spellings)
            votes.update([where] if where else [])
        if not votes:
            raise DataError(
                f"none of the pictures that {list_path} names was found, such as {_example(names)}",
                wanted=f"in {_shown(places, homes)}",
                hint="name the folder they are in: --base FOLDER",
            )
        self._ways = [(places[place], spelling) for (place, spelling), _ in votes.most_common()]
        self.found, self.sampled = votes.total(), len(names[::step])

    @property
    def line(self) -> str:
        """Where the pictures are, for a guess."""
        folders = dict.fromkeys(str(folder) for folder, _ in self._ways)
        missing = self.sampled - self.found
        said = f"; {missing} of {self.sampled} looked for are not there" if missing else ""
        return f"pictures: in {', '.join(folders)}{said}"

    def place(self, spellings: Sequence[str]) -> Place:
        """Where a picture is, or would be if it were there."""
        ways = [(folder, spellings[way]) for folder, way in self._ways if way < len(spellings)]
        ways = ways or [(self._ways[0][0], spellings[0])]
        if len(ways) == 1:
            return ways[0][0] / ways[0][1]
        return next((f / name for f, name in ways if _is_file(f / name)), ways[0][0] / ways[0][1])


def _first_there(places: Sequence[Place], spellings: Sequence[str]) -> tuple[int, int] | None:
    ways = ((p, s) for s in range(len(spellings)) for p in range(len(places)))
    return next(((p, s) for p, s in ways if _is_file(places[p] / spellings[s])), None)


def _is_file(path: Place) -> bool:
    """Whether there is such a file; a name that no file can have, with a null byte for instance, is none."""
    try:
        return bool(path.is_file())
    except (OSError, ValueError):
        return False


def _example(names: Sequence[Sequence[str]]) -> str:
    return repr(names[0][0]) if names and names[0] else "none at all"


def _shown(places: Sequence[Place], homes: Sequence[Place]) -> str:
    return ", ".join(str(place) for place in (places or homes)[:6])
