"""A folder of pictures, each with a `.txt` of its texts, one a line, and a `.json` of what that cannot say.

A file is named by its row's key where the key is a safe relative path; other pictures are named by number,
in `by_number/`, and their `.json` has the key. Nothing is ever written outside the folder.
"""

import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from limner.data.sinks.row import OutRow, Plan

NUMBERED: Final = "by_number"
_SUFFIXES: Final = {
    ".jpg": (".jpg", ".jpeg", ".jfif"),
    ".tiff": (".tif", ".tiff"),
    ".heic": (".heic", ".heif"),
}
_NOT_IN_NAMES: Final = frozenset('<>:"|?*\\')
_DEVICES: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10)))
)
_LONGEST_NAME: Final = 200
_LONGEST_PATH: Final = 1000


def write(rows: Iterable[OutRow], folder: Path, plan: Plan) -> None:
    """Write pictures and sidecars into an empty folder."""
    names = Names()
    for row in rows:
        name = names.of(row)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row.image)
        if row.texts:
            lines = [" ".join(text.split()) if _is_broken(text) else text for text in row.texts]
            path.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        if _says_more(row, name):
            text = json.dumps(row.record, ensure_ascii=False, indent=1)
            path.with_suffix(".json").write_text(text + "\n", encoding="utf-8", newline="\n")


class Names:
    """Gives each row a file name below the folder; no two meet, even where case is ignored."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def of(self, row: OutRow) -> str:
        """Relative path of a row's picture, with `/` between its parts."""
        name = _with_suffix(row.key, row.suffix)
        if not is_safe(name) or not self._claim(name):
            name = f"{NUMBERED}/{row.number:09d}{row.suffix}"
            self._claim(name)
        return name

    def _claim(self, name: str) -> bool:
        """Take a name, with those of its sidecars, unless a file or a folder has one of them."""
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        bases = (folded, folded.rpartition(".")[0])
        files = {folded, *(base + suffix for base in bases for suffix in (".txt", ".json"))}
        parts = folded.split("/")
        folders = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if files & self._files or files & self._folders or folders & self._files:
            return False
        self._files |= files
        self._folders |= folders
        return True


def is_safe(name: str) -> bool:
    """Whether a key can be a path below a folder on every common file system."""
    parts = name.split("/")
    return (
        len(name.encode()) <= _LONGEST_PATH
        and parts[0].casefold() != NUMBERED
        and all(_is_safe_part(part) for part in parts)
    )


def _is_safe_part(part: str) -> bool:
    return (
        0 < len(part.encode()) <= _LONGEST_NAME
        and not part.startswith((".", " "))
        and not part.endswith((".", " "))
        and part.isprintable()
        and not _NOT_IN_NAMES & set(part)
        and part.partition(".")[0].casefold() not in _DEVICES
    )


def _with_suffix(key: str, suffix: str) -> str:
    return key if key.lower().endswith(_SUFFIXES.get(suffix, (suffix,))) else key + suffix


def _is_broken(text: str) -> bool:
    """Whether a text is more, or less, than one line of a .txt."""
    return text.splitlines() != [text] or text != text.strip()


def _says_more(row: OutRow, name: str) -> bool:
    """Whether the picture, its name and its .txt leave something unsaid."""
    if row.key != name or "/" in name or any(map(_is_broken, row.texts)):
        return True
    measured = ("key", "texts", "width", "height", "format", "sha256", "phash")
    return any(_is_said(value) for field, value in row.record.items() if field not in measured)


def _is_said(value: Any) -> bool:
    return value is not None and value != []
