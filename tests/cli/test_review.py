"""`limner review` asks on a page until it is ended, and writes what was said."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from limner.capfilt.journal import Journal
from limner.capfilt.labels import judgements
from limner.data.table import Table


@pytest.fixture
def table(limner, photos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "pairs.lance"
    limner("import", photos, "--out", path, "--max-bad", 1)
    return path


def test_what_is_in_the_queue(limner, table: Path):
    told = json.loads(limner("review", table, "--dry-run", "--json").stdout)
    assert (told["queue"], told["people"], told["judgements"]) == (1, [], 0)
    assert told["filter"] == {"judged": 0, "precision": None, "recall": None}
    assert "a queue of 1, 0 judged by nobody" in limner("review", table, "--dry-run").stdout
    assert Table.open(table).version == told["version"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "selected"], "limner capfilt select"),
        (["--by", "active"], "was not cleaned"),
        (["--texts-column", "words"], "words"),
    ],
)
def test_what_cannot_be_asked_is_told(limner, table: Path, options: list[str], message: str):
    result = limner("review", table, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    missing = limner("review", table.with_name("none.lance"))
    assert (missing.exit_code, "does not exist" in missing.stderr) == (2, True)


@pytest.mark.slow
def test_a_killed_review_is_written_at_the_next_start_and_ctrl_c_ends_the_next(limner, table: Path):
    key = next(row["key"] for row in Table.open(table).rows(range(4), ["key", "texts"]) if row["texts"])
    text = "a red ball on a blue ground"
    said = {"person": "ann", "key": key, "text": text, "decision": "reject"}
    port = _free_port()
    with _server(table, port) as killed:
        assert _call(port, "judge", said)["done"] == 1
        second = limner("review", table, "--port", _free_port())
        assert second.exit_code == 2
        assert f"has a review already, by process {killed.pid}" in second.stderr
        assert limner("review", table, "--dry-run").exit_code == 0
        other = shutil.copytree(table, table.with_name("other.lance"))
        taken = limner("review", other, "--port", port)
        assert taken.exit_code == 2
        assert f"--port {port + 1}" in taken.stderr
        os.kill(killed.pid, signal.SIGKILL)
    before = Table.open(table).version
    port = _free_port()
    with _server(table, port) as server:
        assert _call(port, "judge", {**said, "person": "bob", "decision": "edit", "written": "a ball"})[
            "done"
        ]
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=30)
    assert server.returncode == 0, err
    told = json.loads(out)
    assert told["version"] == Table.open(table).version == before + 2
    assert told["people"] == ["ann", "bob"]
    assert [tuple(one)[1:] for one in judgements(Table.open(table))] == [
        (text, "reject", "ann"),
        (text, "reject", "bob"),
        ("a ball", "edit", "bob"),
    ]
    assert not Journal(table).path.exists()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _server(table: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "limner", "review", str(table), "--port", str(port), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _call(port: int, verb: str, body: dict, patience_s: float = 60) -> dict:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{verb}", json.dumps(body).encode(), headers
    )
    begun = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(request) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except urllib.error.URLError:
            if time.monotonic() - begun > patience_s:
                raise
            time.sleep(0.2)
