"""JSON files that come from anywhere: read whole, with any mark at their start, never trusted in shape."""

import json
from functools import lru_cache
from typing import Any

from limner.data.sources.beside import Place
from limner.errors import DataError


def read_json(path: Place) -> Any:
    """What a JSON file holds; None when it holds several values, one a line.

    The last file read is kept, since several kinds of source look at the same one.

    Raises: DataError when it is no JSON, or cut short.
    """
    stat = path.stat()
    return _read(path, int(stat.st_size), float(getattr(stat, "st_mtime", 0.0)))


@lru_cache(maxsize=1)
def _read(path: Place, size: int, changed: float) -> Any:
    if size == 0:
        raise DataError(f"{path} is empty", wanted="JSON")
    try:
        return _parsed(path.read_bytes())
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None
        raise DataError(
            f"{path} is no whole JSON: {error}", wanted="one JSON value", hint="copy or download it again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}", wanted="one JSON value") from error


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except UnicodeDecodeError:
        return json.loads(data.decode("latin-1"))


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a JSON list; whatever else is in it is left out, and no list is an empty one."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text_of(value: Any) -> str | None:
    """A text or a number as text; None for anything else, an empty text among it."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value) or None
