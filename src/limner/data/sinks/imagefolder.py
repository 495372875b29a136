"""Hugging Face's imagefolder: pictures named by number, and a `metadata.jsonl` beside them.

Each line has `file_name`, `text` (the first text) and the table's own columns. Where rows have splits each
split has a folder, `train/`, `validation/` and `test/` by these names; other splits, and rows without one
(`unsplit/`), are named in a `README.md`, without which `datasets` would not look there. A null text is "",
since `datasets` refuses splits whose columns differ in type.
"""

import json
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TextIO

from limner.data.sinks.row import OutRow, Plan, typed

_KNOWN: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
UNSPLIT: Final = "unsplit"


def write(rows: Iterable[OutRow], folder: Path, plan: Plan) -> None:
    """Write the folders of all splits into an empty folder."""
    places = split_folders(plan.splits)
    with ExitStack() as open_files:
        files: dict[str, TextIO] = {}
        for place in sorted(set(places.values())):
            (folder / place).mkdir(exist_ok=True)
            path = folder / place / "metadata.jsonl"
            files[place] = open_files.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        for row in rows:
            place = places[row.record.get("split") or None]
            name = f"{row.number:09d}{row.suffix}"
            (folder / place / name).write_bytes(row.image)
            line = {"file_name": name, "text": row.texts[0] if row.texts else ""}
            line |= typed(row.record, plan.schema)
            files[place].write(json.dumps(line, ensure_ascii=False) + "\n")
    if set(places.values()) - {"", *_KNOWN.values()}:
        (folder / "README.md").write_text(_card(sorted(set(places.values()))), encoding="utf-8")


def split_folders(splits: Iterable[str | None]) -> dict[str | None, str]:
    """The folder of each split, "" being the top, where all rows lie when none has a split."""
    splits = tuple(splits)
    if not any(splits):
        return dict.fromkeys(splits, "")
    places: dict[str | None, str] = {}
    for split in splits:
        name = _KNOWN.get(split.casefold()) if split else UNSPLIT
        places[split] = name or _free(re.sub(r"\W+", "_", split or "", flags=re.ASCII).lower(), places)
    return places


def _free(name: str, places: dict[str | None, str]) -> str:
    """A folder name that no other split has."""
    taken = {*places.values(), *_KNOWN.values(), UNSPLIT, "", "_"}
    while name in taken:
        name += "_2"
    return name


def _card(places: list[str]) -> str:
    lines = [f'  - split: {place}\n    path: "{place}/*"' for place in places]
    return "---\nconfigs:\n- config_name: default\n  data_files:\n" + "\n".join(lines) + "\n---\n"
