"""Brings a file here whole: streamed, resumed after a break, checked before it gets its name.

An unfinished download is `<name>.<what identifies it on the server>.partial`; the next try goes on with it
if the server still has the same file. Nothing is fetched when LIMNER_OFFLINE or HF_HUB_OFFLINE is 1.
"""

import base64
import hashlib
import ipaddress
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from io import BufferedWriter
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import limner
from limner.errors import CheckpointError

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes there are, None when the server does not say."""

_Response = HTTPResponse | urllib.error.HTTPError

MAX_BYTES = 20 << 30
ATTEMPTS = 4
RETRY_WAIT_S = 1.0
_TIMEOUT_S = 60.0
_CHUNK = 1 << 20


class _Answer(NamedTuple):
    """What a server says of a file before it sends it.

    Args:
        start: the byte it begins with.
        total: bytes of the whole file.
        tag: names this state of the file; "" when the server names none.
        md5: of the whole file, hex; "" when the server gives none.
    """

    start: int
    total: int | None
    tag: str
    md5: str


class _BrokenOff(Exception):
    """The connection ended early; what came is kept."""


def offline() -> bool:
    """Whether the user forbade the network."""
    said = (os.environ.get(name, "").strip().upper() for name in ("LIMNER_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value in ("1", "ON", "YES", "TRUE") for value in said)


def download(
    url: str,
    target: Path,
    sha256: str = "",
    *,
    max_bytes: int = MAX_BYTES,
    progress: Progress | None = None,
) -> Path:
    """Fetch a file, unless it is there already.

    Args:
        url: https, or http to this machine or with a hash.
        target: what it is to be called; its folder is made.
        sha256: 64 hex digits, or the first 8; "" when nobody published one.
        max_bytes: a longer file is refused.
        progress: called now and then.
    Returns: the target.
    Raises: CheckpointError when the file cannot be had, is too long, or is not the one the hash is of.
    """
    if target.is_file():
        return target
    _check_url(url, sha256)
    if offline():
        raise CheckpointError(
            f"{url} is not on this machine, and LIMNER_OFFLINE or HF_HUB_OFFLINE forbids fetching it",
            wanted=str(target),
            hint=f"download it elsewhere and put it there, or unset the variable: curl -L -o {target} {url}",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial, md5 = _fetch_all(url, target, sha256, max_bytes, progress)
    except OSError as error:
        raise CheckpointError(
            f"{url} cannot be saved to {target.parent}: {error}",
            wanted="a folder that can be written, with room for it",
            hint="set LIMNER_CACHE to another folder",
        ) from error
    _check_hash(partial, url, "sha256", sha256)
    _check_hash(partial, url, "md5", md5)
    partial.replace(target)
    return target


def _fetch_all(
    url: str, target: Path, sha256: str, max_bytes: int, progress: Progress | None
) -> tuple[Path, str]:
    """Go on until the file is whole, through a few broken connections."""
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(RETRY_WAIT_S * attempt)
        try:
            return _fetch(url, target, bool(sha256), max_bytes, progress)
        except urllib.error.HTTPError as error:
            problem = f"the server says {error.code} {error.reason}"
            if error.code < 500:
                break
        except (_BrokenOff, urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
    raise CheckpointError(
        f"{url} could not be downloaded: {problem}",
        wanted="the whole file",
        hint=f"run the same again, which goes on where it stopped; or put the file at {target} yourself",
    )


def _fetch(
    url: str, target: Path, hashed: bool, max_bytes: int, progress: Progress | None
) -> tuple[Path, str]:
    """One connection: ask for what is missing, and write it.

    Raises: _BrokenOff when it ended early.
    """
    begun = _begun(target, hashed)
    have = begun.stat().st_size if begun else 0
    with _open(url, have) as response:
        answer = _read_answer(response)
        partial = target.with_name(f"{target.name}.{answer.tag or 'whole'}.partial")
        if begun and (answer.start != have or partial != begun):  # another file by now, or no resuming here
            begun.unlink()
            if answer.start:
                raise _BrokenOff("the file has changed on the server")
        if max(answer.total or 0, answer.start) > max_bytes:
            raise _too_long(url, max_bytes)
        if answer.start < (answer.total or answer.start + 1):
            with partial.open("ab" if answer.start else "wb") as file:
                _copy(response, file, answer, url, max_bytes, progress)
    size = partial.stat().st_size
    if answer.total is not None and size != answer.total:
        if size > answer.total:
            partial.unlink()
        raise _BrokenOff(f"the connection ended after {size:,} of {answer.total:,} bytes")
    return partial, answer.md5


def _begun(target: Path, hashed: bool) -> Path | None:
    """An unfinished download that can be gone on with; one that nothing identifies is started anew."""
    found = [p for p in target.parent.glob("*.partial") if p.name.startswith(f"{target.name}.")]
    keep = [p for p in found if hashed or not p.name.endswith(".whole.partial")][:1]
    for path in found:
        if path not in keep:
            path.unlink()
    return keep[0] if keep else None


def _copy(
    response: _Response,
    file: BufferedWriter,
    answer: _Answer,
    url: str,
    max_bytes: int,
    progress: Progress | None,
) -> None:
    done = answer.start
    while chunk := response.read(_CHUNK):
        done += len(chunk)
        if done > max_bytes:
            raise _too_long(url, max_bytes)
        file.write(chunk)
        if progress is not None:
            progress(done, answer.total)


def _too_long(url: str, max_bytes: int) -> CheckpointError:
    return CheckpointError(
        f"{url} is longer than {max_bytes:,} bytes",
        wanted="a weight file",
        hint="download it yourself and give its path",
    )


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: Any,
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.HTTPError(req.full_url, code, f"sends us on to {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, have: int) -> _Response:
    headers = {"User-Agent": f"limner/{limner.__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    opener = urllib.request.build_opener(_SafeRedirects())
    try:
        return cast(
            HTTPResponse, opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)
        )
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        return error  # everything is here already, or the file has shrunk


def _read_answer(response: _Response) -> _Answer:
    headers, total, start = response.headers, None, 0
    ranged = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", headers.get("Content-Range", "").strip())
    if response.status in (206, 416) and ranged:
        total = int(ranged[2])
        start = int(ranged[1]) if ranged[1] else total
    elif response.status == 416:
        start = -1  # no byte of the file comes
    elif response.status == 200 and (headers.get("Content-Length") or "").isdigit():
        total = int(headers["Content-Length"])
    stamp = headers.get("ETag") or headers.get("Last-Modified") or ""
    tag = hashlib.sha256(stamp.encode()).hexdigest()[:8] if stamp else ""
    return _Answer(start, total, tag, _md5(headers))


def _md5(headers: Message) -> str:
    """The hash that Google's storage sends along."""
    found = re.search(r"md5=([A-Za-z0-9+/]{22}==)", ",".join(headers.get_all("x-goog-hash") or []))
    return base64.b64decode(found[1]).hex() if found else ""


def _check_url(url: str, sha256: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname and (sha256 or _is_here(parts.hostname)):
        return
    raise CheckpointError(
        f"{url} is no safe address",
        wanted="https://…, or http:// with a SHA-256 behind it: http://…#sha256=…",
        hint="give the https address, or download the file and give its path",
    )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_hash(partial: Path, url: str, kind: str, wanted: str) -> None:
    """Delete what is not what was wanted."""
    if not wanted:
        return
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if not found.startswith(wanted.lower()):
        partial.unlink()
        raise CheckpointError(
            f"{url} is not the file that was published: its {kind} is {found[:16]}…; it was deleted",
            wanted=f"{wanted[:16]}{'…' if len(wanted) > 16 else ''}",
            hint="run it again once; if it happens again, the file was changed or the hash is of another one",
        )
