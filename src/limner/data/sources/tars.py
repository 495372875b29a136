"""WebDataset tars, streamed: nothing is extracted to disk, and a member's name is only a name.

Members in a row that share a key, the path up to the first dot of the base name, are one sample, as in the
`webdataset` package. A shard that breaks off gives what it has and one refusal; a file that is no tar is an
error before any work.
"""

import gzip
import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from limner.data.sources.beside import Place, files_in, guess_of
from limner.data.sources.item import Guess, ImportOptions, Item, fields_of
from limner.data.sources.rowfiles import PICTURE_SUFFIXES, is_picture_path
from limner.errors import DataError, PictureError

SUFFIXES: Final = (".tar", ".tar.gz", ".tgz")
TEXT_ENDINGS: Final = ("txt", "caption", "text", "captions")
LABEL_ENDINGS: Final = ("cls", "label")
_CAPTION_NAMES: Final = ("caption", "captions", "text", "title", "alt_text", "alt", "description")
_LONGEST_TEXT: Final = 2**24
_LONGEST_HEADER: Final = 2**20
_LOOKED_AT: Final = 100


class Sample(NamedTuple):
    """Members of a tar that share a key.

    Args:
        key: of all of them.
        members: ending in lower case, such as "jpg", to bytes; a `PictureError` for one that is too large.
        broken: why the shard ends in the middle of this sample.
    """

    key: str
    members: dict[str, bytes | PictureError]
    broken: str | None = None


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a tar, or a folder of them, for WebDataset shards.

    Raises: DataError when a shard is no tar, or there is no picture in the first samples.
    """
    shards = shards_in(path)
    return recognise_all(shards, options, str(path)) if shards else None


def recognise_all(shards: Sequence[Place], options: ImportOptions, source: str) -> Guess:
    """Take tars for the shards of one source.

    Raises: DataError as `recognise` does.
    """
    empty = check_shards(shards)
    items = partial(_items, shards, options)
    first = next((s for s in shards if s not in empty), shards[0])
    samples = list(islice(read_samples(first, options), _LOOKED_AT))
    endings = dict.fromkeys(ending for sample in samples for ending in sample.members)
    if not any(picture_of(sample) is not None for sample in samples):
        raise DataError(
            f"no pictures in the first {len(samples)} samples of {first}",
            wanted="members that end in .jpg, .png, .webp …",
            hint=f"its members end in {', '.join(endings)}" if endings else "the tar is empty",
        )
    lines = [
        f"WebDataset: {len(shards)} shard{'s' * (len(shards) > 1)}, {first.name}" + " …" * (len(shards) > 1),
        f"members of a sample: {', '.join(endings)}",
        f"pictures: {_picture_ending(endings)}",
        f"captions: {_captions(endings)}",
        "keys: the member's path up to its first dot"
        + ("; one that an earlier shard has gets the shard's name before it" if len(shards) > 1 else ""),
        *([f"empty: {len(empty)} shards, such as {empty[0].name}"] if empty else []),
    ]
    return guess_of(source, "webdataset", lines, items)


def shards_in(path: Place) -> list[Place]:
    """The tars that a path means: itself, or those right in a folder that holds no pictures, by name."""
    if path.is_file():
        return [path] if path.name.lower().endswith(SUFFIXES) else []
    if not path.is_dir():
        return []
    seen = files_in(path, lambda name: not name.startswith(".") and _is_tar_or_picture(name))
    return [] if any(is_picture_path(one.name) for one in seen) else seen


def _is_tar_or_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) or is_picture_path(name)


def check_shards(shards: Sequence[Place]) -> list[Place]:
    """Shards without a byte.

    Raises: DataError naming those that begin as no tar does.
    """
    empty, wrong = [], []
    for shard in shards:
        start = _start(shard)
        if not start:
            empty.append(shard)
        elif not _is_tar(start):
            wrong.append(f"{shard.name} begins with {start[:12]!r}")
    if wrong or len(empty) == len(shards):
        given = "; ".join(wrong[:5]) if wrong else f"{shards[0]} is empty"
        count = f"{len(wrong)} of {len(shards)} shards are no tars: " if wrong else ""
        raise DataError(
            count + given, wanted="tar files", hint="download or copy them again, or take them away"
        )
    return empty


def _start(shard: Place) -> bytes:
    """The first block of a tar, unpacked when it is compressed."""
    with shard.open("rb") as file:
        start: bytes = file.read(512)
        if not start.startswith(b"\x1f\x8b"):
            return start
        file.seek(0)
        try:
            with gzip.open(file) as unpacked:
                return unpacked.read(512) or bytes(512)
        except (OSError, EOFError, zlib.error):
            return start


def _is_tar(start: bytes) -> bool:
    """Whether a first block is a header with the right sum, or the end mark of a tar without members."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return True
    except tarfile.TarError:
        return start.startswith((b"BZh", b"\xfd7zXZ"))
    return True


# ---- samples


class _Header(tarfile.TarInfo):
    """A member's header; where the tar breaks off or is damaged, that is an error and no silent end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        try:
            made = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"no end mark: {error}") from error
        if made.type in b"LKxgX" and made.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {made.size:,} bytes")
        return made


def read_samples(shard: Place, options: ImportOptions) -> Iterator[Sample]:
    """Samples of one tar, in order; the last one says so when the tar breaks off in it."""
    key: str | None = None
    members: dict[str, bytes | PictureError] = {}
    try:
        for name, data in _members(shard, options.limits.max_bytes):
            of, ending = key_and_ending(name)
            if of is None:
                continue
            if key is not None and (of != key or ending in members):
                yield Sample(key, members)
                members = {}
            key = of
            members[ending] = data
    except (
        tarfile.TarError,
        EOFError,
        OSError,
        zlib.error,
        lzma.LZMAError,
        ValueError,
        RecursionError,
    ) as error:
        yield Sample(key or shard.name, members, str(error) or type(error).__name__)
        return
    if key is not None:
        yield Sample(key, members)


def key_and_ending(name: str) -> tuple[str | None, str]:
    """Cut a member's name at the first dot of its base name; no key for names that WebDataset passes over."""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    hidden = name.startswith("__") and name.split("/")[0].endswith("__")
    if not stem or not dot or hidden:
        return None, ""
    return folder + slash + stem, ending.lower()


def _members(shard: Place, max_bytes: int) -> Iterator[tuple[str, bytes | PictureError]]:
    with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=_Header) as tar:
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]
            if not member.isreg() or member.issparse():
                continue
            ending = key_and_ending(member.name)[1]
            if _is_picture(ending) and member.size > max_bytes:
                given = f"more bytes than allowed: {member.size:,} bytes"
                yield member.name, PictureError(given, reason="too_large", wanted=f"at most {max_bytes:,}")
            elif _is_picture(ending) or (_is_read(ending) and member.size <= _LONGEST_TEXT):
                content = tar.extractfile(member)
                yield member.name, content.read() if content else b""
            else:
                yield member.name, b""


def _is_picture(ending: str) -> bool:
    return f".{ending.rpartition('.')[2]}" in PICTURE_SUFFIXES


def _is_read(ending: str) -> bool:
    return ending in (*TEXT_ENDINGS, *LABEL_ENDINGS, "json")


def _picture_ending(endings: Sequence[str] | dict[str, Any]) -> str | None:
    """The picture of a sample: the plain `jpg` before `seg.png`, then the first."""
    pictures = [ending for ending in endings if _is_picture(ending)]
    return next((ending for ending in pictures if "." not in ending), next(iter(pictures), None))


def _captions(endings: Sequence[str] | dict[str, Any]) -> str:
    found = [ending for ending in endings if ending in TEXT_ENDINGS or ending == "json"]
    return ", ".join(found) if found else "none"


# ---- items


def picture_of(sample: Sample) -> bytes | PictureError | None:
    """The picture of a sample, or why it is refused."""
    ending = _picture_ending(sample.members)
    return None if ending is None else sample.members[ending]


def _items(shards: Sequence[Place], options: ImportOptions) -> Iterator[Item]:
    earlier: set[str] = set()
    for shard in shards:
        own: set[str] = set()
        for sample in read_samples(shard, options):
            item = item_of(sample, shard.name)
            if item.key in earlier:
                item = item._replace(key=f"{shard.name}/{item.key}")
            own.add(item.key)
            yield item
        earlier |= own


def item_of(sample: Sample, shard: str) -> Item:
    """A sample as an item.

    Args:
        sample: of a tar.
        shard: name of that tar.
    """
    origin = f"{shard}: {sample.key}"
    picture = picture_of(sample)
    record = _record(sample.members.get("json"))
    fields = fields_of(record)
    if "texts" not in fields:
        fields["texts"] = _texts(sample.members, record)
    if "label" not in fields:
        fields["label"] = _label(sample.members, record)
    item = Item(**{"key": sample.key, "origin": origin, "picture": None} | fields)
    if sample.broken is not None:
        given = f"broken or cut short: {shard} breaks off in or after {sample.key!r}: {sample.broken}"
        return item._replace(refused=PictureError(given, reason="truncated", hint="download the shard again"))
    if isinstance(picture, PictureError):
        return item._replace(refused=picture)
    if picture is None:
        found = ", ".join(sample.members)
        given = f"no picture among the members of {sample.key!r} in {shard}: {found}"
        return item._replace(refused=PictureError(given, reason="missing"))
    return item._replace(picture=picture)


def _record(data: bytes | PictureError | None) -> dict[str, Any]:
    """The JSON object of a sample; another JSON value is its caption."""
    if not isinstance(data, bytes) or not data:
        return {}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {"caption": found}


def _texts(members: dict[str, bytes | PictureError], record: dict[str, Any]) -> tuple[Any, ...]:
    """A text member, else the caption in the record."""
    for ending in TEXT_ENDINGS:
        data = members.get(ending)
        if isinstance(data, bytes):
            return (decoded(data),)
    found = next((record[name] for name in _CAPTION_NAMES if record.get(name)), None)
    if found is None:
        return ("",) if "json" in members and not record else ()
    return tuple(found) if isinstance(found, list) else (found,)


def _label(members: dict[str, bytes | PictureError], record: dict[str, Any]) -> str | None:
    for ending in LABEL_ENDINGS:
        data = members.get(ending)
        if isinstance(data, bytes) and data:
            return decoded(data).strip() or None
    label = record.get("label")
    return str(label) if isinstance(label, int) and not isinstance(label, bool) else None


def decoded(data: bytes) -> str:
    """Bytes as text: UTF-8, and Latin-1 where they are not."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
