"""Which rows of which table a task measures on."""

from pydantic import Field

from limner.config import Config


class Selection(Config):
    """Rows of a pairs table.

    Args:
        path: the table.
        where: only rows this SQL filter holds for.
        count: the first so many of them; 0 is all.
        version: of the table; None is the newest.
        texts_column: where captions are.
    """

    path: str
    where: str = ""
    count: int = Field(default=0, ge=0)
    version: int | None = None
    texts_column: str = "texts"
