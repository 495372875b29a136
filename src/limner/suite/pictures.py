"""Pictures of rows by their keys, for pages."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from limner.data.table import Table
from limner.errors import DataError


def pictures_of(
    places: Iterable[tuple[str, str]], versions: Mapping[str, int | None]
) -> dict[tuple[str, str], bytes]:
    """Encoded pictures of some rows; those of tables or rows that are gone are left out.

    Args:
        places: path of the table and key of the row; of a key such as "k#2" the row is "k" where no row has
            the whole.
        versions: of each table; None is the newest.
    """
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for path, key in places:
        wanted[path].add(key)
    found: dict[tuple[str, str], bytes] = {}
    for path, keys in wanted.items():
        try:
            table = Table.open(path, versions.get(path))
        except DataError:
            continue
        position = {key: place for place, key in enumerate(table.column("key"))}
        rows = {key: position.get(key, position.get(key.rpartition("#")[0])) for key in sorted(keys)}
        known = {key: place for key, place in rows.items() if place is not None}
        read = table.rows(list(known.values()), ["image"])
        found |= {(path, key): row["image"] for key, row in zip(known, read, strict=True)}
    return found
