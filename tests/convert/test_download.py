"""Downloads from a server of this machine: resumed, checked, and never half there."""

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from limner.convert import download as module
from limner.convert.download import download, offline
from limner.errors import CheckpointError

DATA = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one file, in the way a test asks for.

    `cut` bytes are sent before the connection breaks, once; `ranges` tells whether parts can be asked for.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.cut, self.ranges, self.status = DATA, 0, True, 200
        self.headers: dict[str, str] = {"ETag": '"one"'}
        self.said_length = True
        self.requests: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        served, asked = self.server, self.headers.get("Range")
        served.requests.append(asked)
        if self.path == "/away":
            return self.answer(302, {"Location": served.headers["Location"]})
        if served.status != 200:
            return self.answer(served.status, {})
        start = int(re.findall(r"\d+", asked)[0]) if asked and served.ranges else 0
        total = len(served.data)
        if start and start >= total:
            return self.answer(416, {"Content-Range": f"bytes */{total}", **served.headers})
        length = {"Content-Length": str(total - start)} if served.said_length else {}
        part = {"Content-Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        body, served.cut = served.data[start : served.cut or None], 0
        return self.answer(206 if start else 200, {**length, **part, **served.headers}, body)

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # the client may have gone
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "RETRY_WAIT_S", 0.0)
    with Server() as served:
        Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield served
        served.shutdown()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:8], DIGEST.upper(), ""])
def test_a_good_file_comes_once(tmp_path, server, digest):
    target, seen = tmp_path / "a" / "weights.pt", []
    got = download(server.url, target, digest, progress=lambda done, total: seen.append((done, total)))
    assert got.read_bytes() == DATA
    assert left(tmp_path / "a") == ["weights.pt"]
    assert seen[-1] == (len(DATA), len(DATA))
    assert download(server.url, target, digest) == got
    assert server.requests == [None]


@pytest.mark.parametrize("digest", ["0" * 64, "deadbeef"])
def test_a_wrong_hash_is_deleted_and_said(tmp_path, server, digest):
    with pytest.raises(CheckpointError, match="not the file that was published") as caught:
        download(server.url, tmp_path / "weights.pt", digest)
    assert digest[:8] in caught.value.wanted
    assert left(tmp_path) == []


def test_the_hash_that_a_store_sends_is_checked(tmp_path, server):
    server.headers["x-goog-hash"] = "crc32c=AAAAAA==,md5=" + base64.b64encode(bytes(16)).decode()
    with pytest.raises(CheckpointError, match="its md5 is"):
        download(server.url, tmp_path / "weights.pt")
    right = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    server.headers["x-goog-hash"] = f"crc32c=AAAAAA==,md5={right}"
    assert download(server.url, tmp_path / "weights.pt").is_file()


def test_a_broken_connection_is_gone_on_with(tmp_path, server):
    server.cut = 300_000
    assert download(server.url, tmp_path / "weights.pt", DIGEST).read_bytes() == DATA
    assert server.requests == [None, "bytes=300000-"]


def test_a_server_that_knows_no_ranges_sends_all_again(tmp_path, server):
    server.cut, server.ranges = 300_000, False
    assert download(server.url, tmp_path / "weights.pt", DIGEST).read_bytes() == DATA
    assert len(server.requests) == 2


def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path, server, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    server.cut = 300_000
    with pytest.raises(CheckpointError, match="ended after 300,000 of"):
        download(server.url, tmp_path / "weights.pt")
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    server.headers, server.data = {"ETag": '"two"'}, DATA[::-1]
    assert download(server.url, tmp_path / "weights.pt").read_bytes() == DATA[::-1]
    assert left(tmp_path) == ["weights.pt"]


@pytest.mark.parametrize(("digest", "resumed"), [("", False), (DIGEST, True)])
def test_a_file_that_nothing_identifies_is_resumed_only_with_a_hash(
    tmp_path, server, monkeypatch, digest, resumed
):
    server.headers = {}
    server.cut = 300_000
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(CheckpointError, match="run the same again"):
        download(server.url, tmp_path / "weights.pt", digest)
    assert download(server.url, tmp_path / "weights.pt", digest).read_bytes() == DATA
    assert server.requests[1] == ("bytes=300000-" if resumed else None)


def test_an_interrupt_leaves_what_the_next_run_goes_on_with(tmp_path, server, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 100_000)

    def interrupts(done: int, total: int | None) -> None:
        if done >= 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.url, tmp_path / "weights.pt", DIGEST, progress=interrupts)
    assert len(left(tmp_path)) == 1
    assert left(tmp_path)[0].endswith(".partial")
    assert download(server.url, tmp_path / "weights.pt", DIGEST).read_bytes() == DATA
    assert server.requests == [None, "bytes=400000-"]
    assert left(tmp_path) == ["weights.pt"]


def test_a_partial_file_that_is_whole_needs_no_bytes(tmp_path, server, monkeypatch):
    tag = hashlib.sha256(b'"one"').hexdigest()[:8]
    (tmp_path / f"weights.pt.{tag}.partial").write_bytes(DATA)
    assert download(server.url, tmp_path / "weights.pt", DIGEST).read_bytes() == DATA
    assert server.requests == [f"bytes={len(DATA)}-"]
    (tmp_path / "weights.pt").unlink()
    (tmp_path / f"weights.pt.{tag}.partial").write_bytes(DATA + b"more than there is")
    assert download(server.url, tmp_path / "weights.pt", DIGEST).read_bytes() == DATA


def test_a_range_that_cannot_be_had_is_not_taken_for_the_file(tmp_path, server, monkeypatch):
    tag = hashlib.sha256(b'"one"').hexdigest()[:8]
    (tmp_path / f"weights.pt.{tag}.partial").write_bytes(DATA[:10])
    server.status = 416
    with pytest.raises(CheckpointError, match=r"416|changed"):
        download(server.url, tmp_path / "weights.pt", DIGEST)
    assert left(tmp_path) == []


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, 4)])
def test_a_server_that_says_no(tmp_path, server, status, tries):
    server.status = status
    with pytest.raises(CheckpointError, match=f"the server says {status}") as caught:
        download(server.url, tmp_path / "weights.pt")
    assert str(tmp_path / "weights.pt") in caught.value.hint
    assert len(server.requests) == tries


def test_no_server_at_all(tmp_path, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckpointError, match="could not be downloaded"):
        download(server.url, tmp_path / "weights.pt")


@pytest.mark.parametrize("said", [True, False])
def test_a_file_that_is_too_long_is_stopped(tmp_path, server, said):
    server.said_length = said
    with pytest.raises(CheckpointError, match="longer than 1,000"):
        download(server.url, tmp_path / "weights.pt", max_bytes=1000)


def test_a_length_that_nobody_says(tmp_path, server):
    server.said_length = False
    assert download(server.url, tmp_path / "weights.pt").read_bytes() == DATA


def test_offline_says_what_to_put_where(tmp_path, server, monkeypatch):
    for name, value in (("LIMNER_OFFLINE", "1"), ("HF_HUB_OFFLINE", "true")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert offline()
            with pytest.raises(CheckpointError, match="forbids") as caught:
                download(server.url, tmp_path / "weights.pt")
            assert caught.value.wanted == str(tmp_path / "weights.pt")
            assert server.url in caught.value.hint
    assert not offline()
    assert server.requests == []
    (tmp_path / "weights.pt").write_bytes(b"put here by hand")
    monkeypatch.setenv("LIMNER_OFFLINE", "1")
    assert download(server.url, tmp_path / "weights.pt").read_bytes() == b"put here by hand"


@pytest.mark.parametrize(
    "url", ["http://example.com/a.pt", "ftp://example.com/a.pt", "file:///etc/passwd", "https:///a"]
)
def test_addresses_that_are_not_safe(tmp_path, url):
    with pytest.raises(CheckpointError, match="no safe address"):
        download(url, tmp_path / "a.pt")


def test_no_redirect_leads_out_of_https(server):
    request, headers = module.urllib.request.Request("https://example.com/a"), module.HTTPMessage()
    for place, said in (
        ("http://example.com/b", "sends us on to http://example"),
        ("https://example.com/b", ""),
    ):
        handler = module._SafeRedirects()
        if said:
            with pytest.raises(module.urllib.error.HTTPError, match=said):
                handler.redirect_request(request, None, 302, "", headers, place)
        else:
            assert handler.redirect_request(request, None, 302, "", headers, place).full_url == place
    server.headers["Location"] = server.url
    with module._open(server.url.replace("weights.pt", "away"), 0) as found:
        assert found.read() == DATA


def test_a_folder_that_cannot_be_written(tmp_path, server):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be saved") as caught:
        download(server.url, tmp_path / "file" / "weights.pt")
    assert "LIMNER_CACHE" in caught.value.hint
