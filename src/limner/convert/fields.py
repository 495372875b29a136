"""Fields of the JSON beside a checkpoint, read strictly: a wrong value is an error that names its field."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from limner.errors import CheckpointError
from limner.shapes import ImageSpec

SQUARE: Final = ("height", "width")
RESAMPLE: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def table(config: Mapping[str, Any], field: str, origin: str) -> Mapping[str, Any]:
    """Return the table inside a table; an empty one where it is absent or null."""
    value = config.get(field)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refused(origin, field, value, "a table of named values")
    return value


def one_of(config: Mapping[str, Any], field: str, default: str, allowed: Iterable[str], origin: str) -> str:
    """Return a word out of the allowed ones; the default where the field is absent or null."""
    value = config.get(field)
    value = default if value is None else value
    words = tuple(allowed)
    if value not in words:
        raise refused(origin, field, value, ", ".join(words))
    return str(value)


def resampling(value: Any, field: str, origin: str) -> str:
    """Return Pillow's name of a filter, given its name or its number."""
    name = RESAMPLE.get(value) if isinstance(value, int) else value
    if name not in RESAMPLE.values():
        raise refused(origin, field, value, ", ".join(RESAMPLE.values()))
    return str(name)


def side(value: Any, field: str, origin: str) -> int:
    """Return one side of a square, given a number or a list of equal numbers."""
    if isinstance(value, (list, tuple)) and value and all(item == value[0] for item in value):
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise refused(origin, field, value, "one whole number of pixels")
    return value


def square_or_short(value: Any, square: bool, origin: str, field: str = "size") -> dict[str, int]:
    """Either {"height": …, "width": …} or {"shortest_edge": …}, from what old files hold as well."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        value = dict(zip(SQUARE, value, strict=True))
    if isinstance(value, int):
        value = dict.fromkeys(SQUARE, value) if square else {"shortest_edge": value}
    told = (
        {key: item for key, item in value.items() if item is not None} if isinstance(value, Mapping) else {}
    )
    if set(told) not in ({*SQUARE}, {"shortest_edge"}) or told.get("height") != told.get("width"):
        raise refused(origin, field, value, "a square, or the shortest edge alone")
    return {key: side(item, field, origin) for key, item in told.items()}


def number(config: Mapping[str, Any], field: str, default: float, origin: str) -> float | int:
    """Return a finite number; the default where the field is absent or null."""
    value = config.get(field)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise refused(origin, field, value, "a number")
    return value


def numbers(
    config: Mapping[str, Any], field: str, default: tuple[float | int, ...], origin: str, count: int = 3
) -> tuple[Any, ...]:
    """Return so many numbers; one number stands for all of them."""
    value = config.get(field)
    value = default if value is None else value
    value = (value,) * count if isinstance(value, (int, float)) else value
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise refused(origin, field, value, f"{count} numbers")
    return tuple(number({field: item}, field, 0.0, origin) for item in value)


def image_spec(fields: dict[str, Any], origin: str) -> ImageSpec:
    """Return the spec of these fields, or an error in words of the file."""
    try:
        return ImageSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "resize_px"
        raise CheckpointError(
            f"{origin}: {field}: {first['msg']}", wanted="a picture size limner reads"
        ) from error


def refused(origin: str, field: str, value: object, wanted: str) -> CheckpointError:
    """Return the error for a value that cannot be honoured."""
    return CheckpointError(
        f"{origin}: {field} is {value!r}, which limner cannot prepare pictures by",
        wanted=f"{field}: {wanted}",
    )
