"""The review page: its addresses by a test client, its keys in a headless browser."""

import io
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from limner.capfilt.review import Review
from limner.data.table import Table
from limner.serve.local import local_server, run_server
from limner.serve.review import review_app

TEXTS = ["a <b>red</b> square", "a blue square", "a green square", "a grey square"]


@pytest.fixture
def review(tmp_path: Path) -> Review:
    pictures = []
    for colour in ("red", "blue", "green", "black"):
        buffer = io.BytesIO()
        Image.new("RGB", (24, 16), colour).save(buffer, "TIFF")
        pictures.append(buffer.getvalue())
    columns = {
        "key": [f"k{i}" for i in range(4)],
        "image": pa.array(pictures, pa.large_binary()),
        "texts": [[text] for text in TEXTS],
        "decision_web": [["keep"], ["keep"], ["keep"], ["drop"]],
    }
    table = pa.table(columns)
    return Review(Table.write(tmp_path / "squares.lance", table.to_batches(), table.schema))


def test_a_whole_review(review: Review):
    ended = []
    client = TestClient(review_app(review, lambda: ended.append(True)))
    assert "Does the text fit" in client.get("/").text
    assert client.get("/api/review").json() == {"title": "squares", "pairs": 4}
    asked = client.get("/api/next", params={"person": "ann"}).json()
    for decision, written in (("accept", None), ("reject", None), ("edit", "green"), ("reject", None)):
        said = {"person": "ann", "key": asked["key"], "text": asked["text"], "decision": decision}
        asked = client.post("/api/judge", json={**said, "written": written}).json()
    assert (asked["finished"], asked["done"], asked["total"], asked["people"]) == (True, 4, 4, 1)
    assert asked["filter"]["precision"]["value"] == pytest.approx(1 / 3)
    assert asked["filter"]["recall"]["value"] == 1.0
    asked = client.post("/api/undo", json={"person": "ann"}).json()
    assert (asked["finished"], asked["text"], asked["filter"]["judged"]) == (False, "a grey square", 3)
    assert client.post("/api/end", json={}).json() == {"ended": True}
    assert ended == [True]


def test_what_is_refused(review: Review):
    client = TestClient(review_app(review, lambda: None))
    assert client.get("/picture", params={"key": "k0"}).content[:4] == b"\x89PNG"
    assert client.get("/picture", params={"key": "k9"}).status_code == 400
    assert client.get("/api/next", params={"person": " "}).json()["error"].startswith("the name")
    bad = {"person": "ann", "key": "k0", "text": TEXTS[0], "decision": "perhaps"}
    assert client.post("/api/judge", json=bad).status_code == 400
    assert client.post("/api/judge", json={"person": "ann"}).status_code == 422
    assert client.post("/api/undo", json={"person": "ann"}).status_code == 400
    assert not review.journal.path.exists()


def test_the_page_needs_nothing_from_elsewhere(review: Review):
    page = TestClient(review_app(review, lambda: None)).get("/").text
    assert re.findall(r"https?://|@import|<link(?! rel=\"icon\" href=\"data:)", page) == []


@pytest.fixture
def served(review: Review) -> Iterator[tuple[str, threading.Thread]]:
    def end() -> None:
        server.should_exit = True

    server = local_server(review_app(review, end), "127.0.0.1", 0)
    thread = threading.Thread(target=run_server, args=(server,))
    thread.start()
    begun = time.monotonic()
    while not server.started and time.monotonic() - begun < 30:
        time.sleep(0.02)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}/", thread
    end()
    thread.join(20)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator:
    programs = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if None in programs:
        pytest.skip("no chromium with chromedriver on this machine")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


def test_keys_in_a_browser(review: Review, served: tuple[str, threading.Thread], browser):
    address, thread = served
    browser.get(address)

    def press(keys: str) -> None:
        browser.switch_to.active_element.send_keys(keys)

    def wait_for(element: str, wanted: str) -> None:
        begun, shown = time.monotonic(), None
        while time.monotonic() - begun < 20:
            shown = browser.find_element("id", element).text
            if wanted in shown:
                return
            time.sleep(0.05)
        raise AssertionError(f"{element}: {shown!r}, wanted {wanted!r}")

    wait_for("about", "4 texts")
    browser.find_element("id", "name").send_keys("ann\n")
    wait_for("text", "a <b>red</b> square")  # words, not markup
    press("a")
    wait_for("where", "Text 2 of 4")
    press("r")
    wait_for("where", "Text 3 of 4")
    press("u")
    wait_for("text", "a blue square")
    press("e")
    written = browser.find_element("id", "written")
    written.clear()
    written.send_keys("a navy square, area\n")  # a and r are letters here
    wait_for("text", "a green square")
    wait_for("precision", "50.0 %")
    assert browser.execute_script("return document.getElementById('picture').naturalWidth") == 24
    browser.find_element("id", "stop").click()
    wait_for("stop", "for everybody?")
    browser.find_element("id", "stop").click()
    wait_for("end", "Thank you")
    thread.join(20)
    assert not thread.is_alive()
    said = [(one.text, one.decision, one.written) for one in review.journal.read()]
    assert said == [(TEXTS[0], "accept", None), (TEXTS[1], "edit", "a navy square, area")]
