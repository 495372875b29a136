"""Hugging Face's imagefolder: pictures, and a `metadata.jsonl`, `.csv` or `.parquet` in their folders.

Each line names a picture by `file_name`, from the folder of that file. A folder for each split tells the
splits, as `datasets` reads them.
"""

from limner.data.sources.beside import SPLITS, Place, folders_in
from limner.data.sources.item import Guess, ImportOptions
from limner.data.sources.rowfiles import open_rowfile
from limner.data.sources.rows import Sheet, guess_rows

_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a folder, or such a file itself, for an imagefolder.

    Raises: DataError when the metadata cannot be read or none of its pictures is there.
    """
    if path.is_file():
        files = [path] if path.name in _NAMES else []
    else:
        files = _metadata_in(path, 2) if path.is_dir() else []
    if not files:
        return None
    top = path if path.is_dir() else path.parent
    sheets = [_sheet(file, top, options) for file in files]
    if options.picture_column is None and "file_name" in sheets[0].file.columns:
        options = options.model_copy(update={"picture_column": "file_name"})
    return guess_rows(sheets, options, str(path), "imagefolder")


def _metadata_in(folder: Place, deeper: int) -> list[Place]:
    """The metadata of a folder, or of the folders in it where it has none."""
    own = [folder / name for name in _NAMES if (folder / name).is_file()]
    if own or not deeper:
        return own[:1]
    return [file for one in folders_in(folder) for file in _metadata_in(one, deeper - 1)]


def _sheet(file: Place, top: Place, options: ImportOptions) -> Sheet:
    """A file of metadata; its pictures start in its own folder, and are named from the topmost one."""
    home = file.parent
    below = home.relative_to(top).as_posix() if home != top else ""
    names = [name for name in below.split("/") if name.lower() in SPLITS]
    split = SPLITS[names[0].lower()] if names else None
    opened = open_rowfile(file, options.separator, options.encoding)
    return Sheet(opened, split, f"{below}/" if below else "", home)
