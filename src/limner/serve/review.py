"""The review queue as a page, and the few addresses behind it; see `limner.capfilt.review`."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

from limner.capfilt.review import Review
from limner.serve.local import as_png, local_app


class Judged(BaseModel):
    """What the page sends."""

    person: str
    key: str
    text: str
    decision: str
    written: str | None = None


class Person(BaseModel):
    """Who sends it."""

    person: str


def review_app(review: Review, end: Callable[[], None]) -> FastAPI:
    """The review as a web application.

    Args:
        review: what is asked and kept.
        end: called when somebody ends the review for all.
    """
    app = local_app("review")

    def standing(person: str) -> dict[str, Any]:
        found = review.next(person)
        agreement = review.agreement().values()
        return {
            "finished": found.key is None,
            **found._asdict(),
            "filter": agreement,
            "people": len(review.people),
        }

    @app.get("/api/review")
    def about() -> dict[str, Any]:
        return {"title": review.title, "pairs": len(review.queue)}

    @app.get("/api/next")
    def following(person: str) -> dict[str, Any]:
        return standing(person)

    @app.post("/api/judge")
    def judge(given: Judged) -> dict[str, Any]:
        review.judge(given.person, given.key, given.text, given.decision, given.written)
        return standing(given.person)

    @app.post("/api/undo")
    def undo(given: Person) -> dict[str, Any]:
        review.undo(given.person)
        return standing(given.person)

    @app.post("/api/end")
    def ended() -> dict[str, Any]:
        end()
        return {"ended": True}

    @app.get("/picture")
    def picture(key: str) -> Response:
        return as_png(review.picture(key))

    return app
