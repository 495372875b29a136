"""Text and JSON of a tokenizer's folder, with the errors that a user can act on."""

import gzip
import json
from pathlib import Path
from typing import Any, Final

from limner.errors import DataError

_GZIP: Final = b"\x1f\x8b"
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a vocabulary, unpacked; those of CLIP and BERT have 3 MB at most."""


def read_text(path: Path) -> str:
    """The text of a vocabulary file, unpacked when it is gzip.

    Raises: DataError when it cannot be read, is no UTF-8, or is far larger than a vocabulary.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise DataError(f"{path} has more than {LARGEST:,} bytes", wanted="a vocabulary")
        return data.decode("utf-8")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", wanted="a vocabulary in UTF-8") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a tokenizer's file.

    Raises: DataError when there is none.
    """
    try:
        values = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}", wanted="a file that transformers wrote") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no JSON object", wanted="a file that transformers wrote")
    return values
