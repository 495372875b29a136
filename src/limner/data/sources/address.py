"""Addresses as people type them: braces, wildcards, `a::b`, and places elsewhere such as `s3://bucket/set`."""

from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from limner.data.sources.beside import Place
from limner.errors import DataError

_WILD = frozenset("*?[")


def places_of(source: Any) -> list[Place]:
    """The places that an address means, in the order given; those of a wildcard by name.

    Args:
        source: a path, `shard-{000..012}.tar`, `set/*.parquet`, several of them with `::` between, or a
            remote address of a protocol that fsspec knows. A file that has such a name is that file.
    Returns: paths; `upath.UPath` for remote ones.
    Raises: DataError when braces do not close, a wildcard meets nothing, or the protocol has no package here.
    """
    if not isinstance(source, str):
        return [source]
    if _exists(source):
        return [Path(source)]
    try:
        addresses = [one for part in source.split("::") for one in braceexpand(part, escape=False) if one]
    except ValueError as error:
        raise DataError(
            f"the braces of {source} do not close", wanted="such as 'shard-{000..012}.tar'"
        ) from error
    return [place for address in addresses for place in _matches(_place(address), source)]


def is_remote(place: Place) -> bool:
    """Whether a place is elsewhere."""
    return "://" in str(place)


def _exists(source: str) -> bool:
    try:
        return Path(source).exists()
    except (OSError, ValueError):
        return False


def _place(address: str) -> Place:
    protocol, mark, rest = address.partition("://")
    if not mark or protocol == "file":
        return Path(rest if mark else address)
    try:
        from upath import UPath
    except ImportError as error:
        raise DataError(
            f"{address} is elsewhere, and the package that reads remote addresses is not installed",
            hint="pip install 'limner[remote]'",
        ) from error
    try:
        place = UPath(address)
        place.exists()
    except (ImportError, ValueError) as error:
        raise DataError(
            f"{protocol}:// cannot be read: {error}", hint="install the package of this protocol"
        ) from error
    except Exception as error:  # whatever a store raises for a name, a right or a network that is wrong
        raise DataError(f"{address} cannot be reached: {type(error).__name__}: {error}") from error
    return place


def _matches(place: Place, source: str) -> list[Place]:
    """The places that a wildcard meets, or the place itself."""
    parts = place.parts
    wild = next((i for i, part in enumerate(parts) if _WILD & set(part)), None)
    if wild is None or place.exists():
        return [place]
    home = place
    for _ in parts[wild:]:
        home = home.parent
    found = sorted(home.glob("/".join(parts[wild:])), key=str)
    if not found:
        raise DataError(f"nothing is there that {source} could mean", wanted=f"a file below {home}")
    return found
