"""`limner human` draws a test, serves it, and reports."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def labelled(limner, tmp_path: Path) -> Path:
    for label, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        (tmp_path / "colours" / label).mkdir(parents=True)
        for number in range(4):
            shade = tuple(max(0, c - 6 * number) for c in colour)
            Image.new("RGB", (20, 20), shade).save(tmp_path / "colours" / label / f"{number}.png")
    assert limner("import", tmp_path / "colours", "--out", tmp_path / "colours.lance").exit_code == 0
    return tmp_path / "colours.lance"


def test_a_study_is_drawn_and_goes_on(limner, labelled: Path):
    told = json.loads(limner("human", labelled, "--per-class", "2", "--dry-run", "--json").stdout)
    assert (told["classes"], told["pictures"], told["questions"], told["answers"]) == (2, 4, 12, 0)
    study = labelled.with_name("colours.people")
    assert told["study"] == str(study)
    assert "4 pictures of 2 classes" in limner("human", study, "--dry-run").stdout


def test_a_report_beside_a_model(limner, labelled: Path, model_folder: Path):
    assert limner("human", labelled, "--per-class", "2", "--shots", "0", "--dry-run").exit_code == 0
    study = labelled.with_name("colours.people")
    held = json.loads((study / "study.json").read_text())
    lines = [
        json.dumps({"kind": "answer", "person": "ann", "shots": 0, "key": key, "said": label})
        for key, label in held["asked"].items()
    ]
    (study / "answers.jsonl").write_text("\n".join(lines) + "\n")
    result = limner("human", study, "--report", "--model", model_folder, "--json")
    found = json.loads(result.stdout)
    assert found["parts"][0]["scores"]["accuracy"] == 1.0
    assert found["models"][0]["name"] == str(model_folder)
    assert found["parts"][0]["consistency"] is None
    assert Path(found["page"]).read_text().startswith("<!doctype html>")
    shown = limner("human", study, "--report").stdout
    assert "people, 0 examples" in shown
    assert "1.000" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shots", "0,one"], "--shots 0,1,2"),
        (["--shots", "0,4"], "has 4 pictures"),
        (["--where", "label = 'red'"], "1 classes"),
    ],
)
def test_what_cannot_be_asked_is_told(limner, labelled: Path, options: list[str], message: str):
    result = limner("human", labelled, "--dry-run", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not labelled.with_name("colours.people").exists()


def test_the_page_is_served_until_ctrl_c(limner, labelled: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "limner",
        "human",
        str(labelled),
        "--per-class",
        "1",
        "--port",
        str(port),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            page = _read(f"http://127.0.0.1:{port}/")
            assert "What is in these pictures?" in page
            assert json.loads(_read(f"http://127.0.0.1:{port}/api/next?person=ann"))["total"] == 6
            taken = limner("human", labelled, "--per-class", "1", "--port", port)
            assert taken.exit_code == 2
            assert f"--port {port + 1}" in taken.stderr
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
        assert "answers are kept" in server.stderr.read()


def _read(address: str, patience_s: float = 60) -> str:
    begun = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(address) as reply:
                return reply.read().decode()
        except urllib.error.URLError:
            if time.monotonic() - begun > patience_s:
                raise
            time.sleep(0.2)
