"""The page's addresses, asked by a test client: a whole test, bad answers, pictures."""

from typing import NamedTuple

import pytest
from fastapi.testclient import TestClient

from limner.errors import DataError
from limner.serve.human import human_app


class Next(NamedTuple):
    shots: int
    key: str
    done: int
    total: int


class Few:
    """Two pictures, one part."""

    title, classes = "few", ("cat", "dog")

    def __init__(self, picture: bytes) -> None:
        self.data, self.said = picture, []

    def examples(self, shots: int) -> dict[str, list[str]]:
        return {"cat": ["c"][:shots], "dog": ["d"][:shots]}

    def next(self, person: str) -> Next | None:
        if not person.strip():
            raise DataError("no name", wanted="a name")
        done = len(self.said)
        return Next(0, f"p{done}", done, 2) if done < 2 else None

    def answer(self, person: str, shots: int, key: str, said: str | None) -> None:
        if said == "cow":
            raise DataError("'cow' is not asked")
        self.said.append((person, shots, key, said))

    def picture(self, key: str) -> bytes:
        if key != "p0":
            raise DataError(f"no picture {key!r}")
        return self.data


@pytest.fixture
def test_of(tmp_path) -> Few:
    from PIL import Image

    Image.new("RGB", (6, 4), "red").save(tmp_path / "x.tif")
    return Few((tmp_path / "x.tif").read_bytes())


def test_a_whole_test(test_of: Few):
    client = TestClient(human_app(test_of))
    assert "What is in these pictures?" in client.get("/").text
    assert client.get("/api/test").json() == {"title": "few", "classes": ["cat", "dog"]}
    assert client.get("/api/examples/1").json() == {"cat": ["c"], "dog": ["d"]}
    asked = client.get("/api/next", params={"person": "ann"}).json()
    for said in ("cat", None):
        answer = {"person": "ann", "shots": asked["shots"], "key": asked["key"], "said": said}
        asked = client.post("/api/answer", json=answer).json()
    assert asked == {"finished": True}
    assert test_of.said == [("ann", 0, "p0", "cat"), ("ann", 0, "p1", None)]


def test_pictures_come_as_browsers_know_them(test_of: Few):
    client = TestClient(human_app(test_of))
    assert client.get("/picture", params={"key": "p0"}).content[:4] == b"\x89PNG"
    assert client.get("/picture", params={"key": "p9"}).status_code == 400


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"person": "ann", "shots": 0, "key": "p0", "said": "cow"}, 400),
        ({"person": "ann", "shots": "many", "key": "p0"}, 422),
        ({"key": "p0"}, 422),
    ],
)
def test_a_wrong_answer_is_refused_and_not_kept(test_of: Few, answer: dict, status: int):
    client = TestClient(human_app(test_of))
    assert client.post("/api/answer", json=answer).status_code == status
    assert client.get("/api/next", params={"person": " "}).json()["error"].startswith("no name")
    assert test_of.said == []
