"""`limner search`: words in, pictures out."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.terminal import Bar, Json, Model, give, open_model, stoppable, talk

if TYPE_CHECKING:
    from limner.data.table import Table
    from limner.search.index import Hit


def search(
    text: Annotated[str, typer.Argument(help="What to look for.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", "-d", help="Table, or folder of pictures.")] = Path(
        "pairs.lance"
    ),
    count: Annotated[int, typer.Option("-k", min=1, help="How many pictures to give.")] = 5,
    model: Model = "limner_tiny",
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="Let the match head order the best hits.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Find the pictures that fit some words best.

    Each picture is embedded once; its vector stays in the table. A folder is imported to a table in limner's
    cache, and again only when its files have changed.
    """
    from limner.search import index
    from limner.search.rerank import rerank as order

    bundle = open_model(model)
    with stoppable("the table is as it was; the same command starts again"), Bar("embed") as progress:
        table = find_table(data)
        hits = index.search(table, bundle, text, max(count, RERANKED) if rerank else count, progress)
    if rerank:
        hits = order(bundle, text, hits)
    hits = hits[:count]
    if as_json:
        give([hit_values(hit) for hit in hits])
        return
    for hit in hits:
        typer.echo(f"{_score(hit):.3f}  {place(hit)}" + (f"  {hit.texts[0]}" if hit.texts else ""))


RERANKED = 32
"""Hits by cosine that the match head looks at again."""


def find_table(data: Path) -> "Table":
    """Open a table; make one in the cache of a folder of pictures, unless it is there and still true."""
    from limner.data.importing import ImportOptions, ImportRules, import_source
    from limner.data.sprites import cache_folder
    from limner.data.table import Table

    if not data.is_dir() or (data / "_versions").is_dir():
        return Table.open(data)
    place = cache_folder() / "folders"
    name = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]
    table, state = place / f"{name}.lance", place / f"{name}.sha256"
    now = listing_digest(data)
    if table.is_dir() and state.is_file() and state.read_text() == now:
        return Table.open(table)
    with Bar("import") as progress:
        options, rules = ImportOptions(max_bad=1), ImportRules(prune=True)
        result = import_source(data.resolve(), table, options, rules, progress=progress)
    state.write_text(now)
    if result.refused:
        talk("left out: " + ", ".join(f"{count} {reason}" for reason, count in result.refused.items()))
    return result.table


def listing_digest(folder: Path) -> str:
    """Changes when a file below the folder comes, goes or changes."""
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            stat = path.stat()
            hasher.update(f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}\n".encode())
    return hasher.hexdigest()


def hit_values(hit: "Hit") -> dict[str, Any]:
    """One hit as plain values, without its picture."""
    return {
        "key": hit.key,
        "place": place(hit),
        "texts": hit.texts,
        "cosine": round(hit.cosine, 4),
        "matched": None if hit.matched is None else round(hit.matched, 4),
    }


def place(hit: "Hit") -> str:
    """Where the picture lies, if its file is still there; else its key."""
    path = Path(hit.source or "") / hit.key
    return str(path) if path.is_file() else hit.key


def _score(hit: "Hit") -> float:
    return hit.cosine if hit.matched is None else hit.matched
