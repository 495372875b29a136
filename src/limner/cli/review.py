"""`limner review`: people judge texts on a page of this machine; what they said becomes columns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from limner.cli.terminal import Json, Seed, give, stoppable, talk

if TYPE_CHECKING:
    from limner.capfilt.review import Measured, Review
    from limner.data.table import Table


def review(
    table: Annotated[Path, typer.Argument(help="Table to review.")],
    by: Annotated[
        Literal["selected", "active", "random", "table"] | None,
        typer.Option(
            help="Order: as selected, by disagreement, by chance, as they stand.",
            show_default="selected, active, table: the first there is",
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Most pairs to ask.", show_default="all")] = None,
    texts_column: Annotated[str, typer.Option(help="Column with the web texts.")] = "texts",
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8018,
    seed: Seed = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is in the queue and how the filter stands, and end.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Judge the texts of a table on a page: accept, reject or rewrite, by keyboard.

    Whoever opens the page gives a name and goes through the queue; several people vote. Every judgement is on
    disk before the next pair is shown. The page's button or Ctrl-C ends, and writes all judgements into the
    table as one new version. Precision and recall of the filter by what people say are on the page; on a
    queue of hard pairs they are those of hard pairs: to measure, take --by random.
    """
    from limner.capfilt.claim import claimed
    from limner.capfilt.journal import Journal
    from limner.capfilt.review import Review
    from limner.data.table import Table

    opened, journal = Table.open(table), Journal(table)
    with stoppable(f"judgements are kept in {journal.path}; limner review {table} writes them and goes on"):
        if dry_run:
            _say(Review(opened, by, count, seed, texts_column), opened, as_json)
            return
        with claimed(table, "review", "open its page instead: several people can judge there"):
            if journal.path.exists():
                opened = journal.write_back()
                talk(f"judgements left by an earlier review are in version {opened.version}")
            asked = Review(opened, by, count, seed, texts_column)
            _serve(asked, host, port)
            written = journal.write_back()
        if journal.strays.exists():
            talk(f"judgements of rows that are gone from the table are in {journal.strays}")
        _say(asked, written, as_json)


def _serve(asked: "Review", host: str, port: int) -> None:
    """Serve until the page's button or Ctrl-C ends it."""
    from limner.serve.local import local_server, run_server
    from limner.serve.review import review_app

    def end() -> None:
        server.should_exit = True

    server = local_server(review_app(asked, end), host, port)
    talk(f"http://{host}:{port} asks about {len(asked.queue):,} texts. Ctrl-C ends and writes what was said")
    try:
        run_server(server)
    except KeyboardInterrupt:
        talk("")


def _say(asked: "Review", table: "Table", as_json: bool) -> None:
    said = asked.agreement()
    values: dict[str, Any] = {
        "table": str(table.path),
        "version": table.version,
        "queue": len(asked.queue),
        "people": asked.people,
        "judgements": asked.judgements,
        "filter": said.values(),
    }
    if as_json:
        give(values)
        return
    by = ", ".join(asked.people) or "nobody"
    typer.echo(
        f"{table.path}, version {table.version}: a queue of {values['queue']:,}, "
        f"{values['judgements']:,} judged by {by}"
    )
    for name, one in (("precision", said.precision), ("recall", said.recall)):
        if one is not None:
            typer.echo(f"{name} of the filter by them: {_share(one)}")


def _share(one: "Measured") -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f}, of {one.of:,} texts)"
