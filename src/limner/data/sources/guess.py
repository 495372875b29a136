"""What a source of pictures is taken for, said aloud before any work is done.

Each kind of source has a file with a `recognise`; they are asked in order, and the first that knows a
source reads it.
"""

from collections.abc import Callable
from typing import Any, Final

from limner.data.sources import (
    blip_json,
    coco,
    flickr8k,
    folder,
    idx,
    imagefolder,
    img2dataset,
    karpathy,
    rows,
    tables,
    tars,
)
from limner.data.sources.address import places_of
from limner.data.sources.beside import Place
from limner.data.sources.item import Guess, ImportOptions
from limner.data.sources.rowfiles import SUFFIXES
from limner.errors import DataError

KINDS: Final = {
    "table": "another table",
    "img2dataset": "what img2dataset writes, tars or folders",
    "webdataset": "WebDataset tars",
    "idx": "IDX files, as MNIST has them",
    "flickr8k": "a Flickr token file",
    "coco": "COCO's JSON files and VQA v2's",
    "karpathy": "a Karpathy split",
    "blip": "a JSON list as BLIP has them",
    "imagefolder": "a folder of pictures with a metadata.jsonl, .csv or .parquet",
    "rows": "CSV, TSV, JSON lines or Parquet, a file or a folder of Parquet files",
    "classes": "a folder of class folders",
    "folder": "a folder of pictures",
}
"""Every kind of source, in words."""

_KEEPING: Final = ("table", "imagefolder", "rows")
"""Kinds whose further columns can come along."""

_RECOGNISERS: Final[dict[str, Callable[[Place, ImportOptions], Guess | None]]] = {
    "table": tables.recognise,
    "img2dataset": img2dataset.recognise,
    "webdataset": tars.recognise,
    "idx": idx.recognise,
    "flickr8k": flickr8k.recognise,
    "coco": coco.recognise,
    "karpathy": karpathy.recognise,
    "blip": blip_json.recognise,
    "imagefolder": imagefolder.recognise,
    "rows": rows.recognise,
    "classes": folder.recognise,
    "folder": folder.recognise,
}


def guess_source(source: Any, options: ImportOptions | None = None) -> Guess:
    """Look at a source and say what it is taken for; nothing is written and no picture opened.

    Args:
        source: a path or an address, see `places_of`; several tars or files of rows together are one source.
        options: override the guess.
    Raises: DataError when there is nothing to import, or the columns cannot be told.
    """
    options = options or ImportOptions()
    guess = _guess(source, options)
    if options.keep and guess.kind not in _KEEPING:
        raise DataError(
            f"--keep {options.keep[0]}: {guess.source} is {KINDS[guess.kind]}, which has no further columns",
            wanted=f"a source of kind {', '.join(_KEEPING)}",
        )
    return guess


def _guess(source: Any, options: ImportOptions) -> Guess:
    if options.kind is not None and options.kind not in KINDS:
        raise DataError(f"no source is of kind {options.kind!r}", wanted=", ".join(KINDS))
    places = places_of(source)
    if len(places) > 1:
        return _guess_together(places, str(source), options)
    place = places[0]
    if not place.exists():
        raise DataError(f"{place} does not exist", wanted="a folder of pictures or a file of rows")
    for kind in (options.kind,) if options.kind else _RECOGNISERS:
        guess = _RECOGNISERS[kind](place, options)
        if guess is not None:
            return guess
    if options.kind:
        raise DataError(
            f"{place} is not {KINDS[options.kind]}", hint="leave out --kind to see what it is taken for"
        )
    raise DataError(
        f"{place} is of no kind that can be imported",
        wanted=f"a folder, or {', '.join((*SUFFIXES, *tars.SUFFIXES, '.json'))}",
    )


def _guess_together(places: list[Place], source: str, options: ImportOptions) -> Guess:
    """Shards of tars, or files of rows with the same columns, as one source."""
    absent = [str(place) for place in places if not place.is_file()]
    if absent:
        raise DataError(
            f"{len(absent)} of the {len(places)} files of {source} are not there: {', '.join(absent[:5])}"
        )
    if all(place.name.lower().endswith(tars.SUFFIXES) for place in places):
        return tars.recognise_all(places, options, source)
    if all(place.suffix.lower() in SUFFIXES for place in places):
        return rows.recognise_all(places, options, source)
    raise DataError(
        f"{source} means {len(places)} files that are neither all tars nor all files of rows",
        hint="give each as a SOURCE of its own",
    )
