"""What pages share."""

import socket

import pytest
from fastapi.testclient import TestClient

from limner.errors import ConfigError, DataError
from limner.serve.local import local_app, local_server, run_server


def test_errors_of_users_are_json():
    app = local_app("human")

    @app.get("/bad")
    def bad() -> None:
        raise DataError("a thing", wanted="another")

    reply = TestClient(app).get("/bad")
    assert reply.status_code == 400
    assert "a thing" in reply.json()["error"]
    assert TestClient(app).get("/").text.startswith("<!doctype html>")


def test_a_port_that_is_taken_is_told(caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port + 1}"):
            run_server(local_server(local_app("human"), "127.0.0.1", port))


@pytest.mark.parametrize("name", ["human", "review"])
def test_a_page_holds_what_pages_share(name):
    page = TestClient(local_app(name)).get("/").text
    assert page.count("--paper:") == 2
    assert page.count("async function call(") == 1
    assert "local." not in page
