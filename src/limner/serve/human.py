"""The page on which people take CLIP's test, and the few addresses behind it.

Everything a person needs comes from this process: one HTML file, pictures, and the next question. Answers are
kept as they come in (`limner.suite.human`); what each address takes and gives is in the signatures below.
"""

from typing import Any, Protocol

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

from limner.serve.local import as_png, local_app


class Asking(Protocol):
    """What is asked; `limner.suite.human` has one."""

    @property
    def title(self) -> str:
        """Name of the test."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names to choose from."""
        ...

    def examples(self, shots: int) -> dict[str, list[str]]:
        """Keys of the examples shown of each class."""
        ...

    def next(self, person: str) -> Any:
        """What a person is asked next: shots, key, done, total; None at the end."""
        ...

    def answer(self, person: str, shots: int, key: str, said: str | None) -> Any:
        """Keep an answer."""
        ...

    def picture(self, key: str) -> bytes:
        """An encoded picture."""
        ...


class Answered(BaseModel):
    """What the page sends."""

    person: str
    shots: int
    key: str
    said: str | None = None


def human_app(test: Asking) -> FastAPI:
    """The test as a web application.

    Args:
        test: what is asked.
    """
    app = local_app("human")

    @app.get("/api/test")
    def about() -> dict[str, Any]:
        return {"title": test.title, "classes": test.classes}

    @app.get("/api/examples/{shots}")
    def examples(shots: int) -> dict[str, list[str]]:
        return test.examples(shots)

    @app.get("/api/next")
    def following(person: str) -> dict[str, Any]:
        found = test.next(person)
        return {"finished": True} if found is None else {"finished": False, **found._asdict()}

    @app.post("/api/answer")
    def answer(given: Answered) -> dict[str, Any]:
        test.answer(given.person, given.shots, given.key, given.said)
        return following(given.person)

    @app.get("/picture")
    def picture(key: str) -> Response:
        return as_png(test.picture(key))

    return app
