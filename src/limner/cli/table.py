"""`limner table`: what a table holds; back a version, compact, statements, a sheet of augmented samples."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.terminal import Json, Seed, give, stoppable, talk

if TYPE_CHECKING:
    from limner.data.table import Table
    from limner.data.table_summary import TableSummary

_WIDE = 100


def table(
    place: Annotated[Path, typer.Argument(help="Table to look at.", metavar="TABLE", show_default=False)],
    where: Annotated[
        str | None,
        typer.Option(help="SQL filter of the rows counted, such as \"split = 'train'\".", show_default="all"),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Look at an older version.", show_default="newest")
    ] = None,
    restore: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="VERSION", help="Go back to this version, by a new one.", show_default=False
        ),
    ] = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Join small files; rows and values stay as they are.")
    ] = False,
    keep_versions: Annotated[
        int | None,
        typer.Option(min=1, help="With --compact: remove all but the newest.", show_default="all"),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(help="Draw samples as this recipe changes them, to --out.", show_default=False),
    ] = None,
    statements: Annotated[
        Path | None,
        typer.Option(
            help="Add statements about two pictures: NLVR2's JSON lines, or BLIP's list.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture of --augment.")] = Path("augmented.png"),
    size: Annotated[int, typer.Option(min=8, max=4096, help="Pixels a side in --augment.")] = 224,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Show what a table holds, and what it held before.

    --restore goes back to a version and --compact tidies the files; both can be undone by --restore, but not
    past versions that --keep-versions removed. --augment draws a sheet of samples; --statements adds those
    of NLVR2 to a table of its pictures, as one more version.
    """
    from limner.data.table import Table

    asked = sum((restore is not None, compact, augment is not None, statements is not None))
    _one_of(asked, augment is None and asked > 0, version, where, keep_versions if not compact else None)
    opened = Table.open(place, version)
    with stoppable("the table is as it was; the same command starts again"):
        if restore is not None:
            said, values = _restore(opened, restore)
        elif compact:
            said, values = _compact(opened, keep_versions)
        elif augment is not None:
            said, values = _augment(opened, augment, out, size, seed, where)
        elif statements is not None:
            said, values = _statements(opened, statements)
        else:
            said, values = _look(opened, where)
    if as_json:
        give(values)
    else:
        for line in said:
            typer.echo(line)


def _one_of(asked: int, changes: bool, version: int | None, where: str | None, keep: int | None) -> None:
    """Refuse options that do not go together."""
    if asked > 1:
        raise typer.BadParameter(
            "--restore, --compact, --augment and --statements are four commands: give one"
        )
    if changes and (version or where):
        raise typer.BadParameter(
            "--restore, --compact and --statements change the whole table: leave out --version, --where"
        )
    if keep:
        raise typer.BadParameter("--keep-versions goes with --compact")


def _restore(opened: "Table", version: int) -> tuple[list[str], dict[str, Any]]:
    after = opened.restore(version)
    values = {
        "table": str(opened.path),
        "restored": version,
        "version": after.version,
        "before": opened.version,
        "rows": after.num_rows,
    }
    talk(f"undo: limner table {opened.path} --restore {opened.version}")
    line = f"{opened.path}: version {after.version} is as version {version} was, {after.num_rows:,} rows"
    return [line], values


def _compact(opened: "Table", keep_versions: int | None) -> tuple[list[str], dict[str, Any]]:
    done = opened.compact(keep_versions)
    files = f"{done['files_removed']:,} files became {done['files_added']:,}"
    freed = done["bytes_freed"]
    change = f"{freed / 1e6:,.1f} MB freed" if freed >= 0 else f"{-freed / 1e6:,.1f} MB more on disk"
    lines = [
        f"{opened.path}: version {opened.version}, {files}, "
        f"{done['versions_removed']:,} old versions removed, {change}"
    ]
    if keep_versions is None and done["files_removed"]:
        talk("older versions keep their files; --keep-versions 1 removes them")
    return lines, {"table": str(opened.path), "version": opened.version, **done}


def _statements(opened: "Table", path: Path) -> tuple[list[str], dict[str, Any]]:
    from limner.data.statements import add_statements, stated

    after = add_statements(opened, path)
    count = len(stated(after))
    values = {"table": str(after.path), "version": after.version, "statements": count}
    talk(f"undo: limner table {opened.path} --restore {opened.version}")
    return [f"{after.path}: version {after.version}, {count:,} statements about two pictures"], values


def _augment(
    opened: "Table", name: str, out: Path, size: int, seed: int, where: str | None
) -> tuple[list[str], dict[str, Any]]:
    import numpy as np

    from limner.data.augment_sheet import augment_sheet
    from limner.errors import DataError
    from limner.shapes import ImageSpec

    kinds = (".png", ".jpg", ".jpeg", ".webp")
    if out.suffix.lower() not in kinds:
        raise typer.BadParameter(f"--out {out}: a picture that ends in {' or '.join(kinds)} is wanted")
    positions = opened.positions(where)
    if len(positions) == 0:
        raise DataError(f"{opened.path} has no row" + (f" where {where}" if where else ""))
    chosen = np.random.default_rng(seed).permutation(len(positions))[:6]
    rows = sorted(positions[chosen].tolist())
    sheet = augment_sheet(opened, name, ImageSpec(size=size), seed, rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    keys = [row["key"] for row in opened.rows(rows, ["key"])]
    line = f"{out}: {len(rows)} pictures as evaluated (left) and as {name} draws them"
    return [line], {"out": str(out), "recipe": name, "keys": keys, "size": size, "seed": seed}


def _look(opened: "Table", where: str | None) -> tuple[list[str], dict[str, Any]]:
    from limner.data.table_summary import summarise, summary_values

    summary = summarise(opened, where)
    return list(_lines(summary)), summary_values(summary)


def _lines(summary: "TableSummary") -> Iterator[str]:
    """A summary for people."""
    fit = f", {summary.matched:,} where {summary.where}" if summary.where else ""
    yield f"{summary.path}: version {summary.version}, {summary.rows:,} rows{fit}, {summary.texts:,} texts"
    yield f"on disk: {_size(summary.bytes)}, all versions together"
    yield ""
    header = ("column", "type", "filled", "on disk")
    rows = [
        (c.name, _cut(c.type, 40), f"{_share(c.filled, summary.matched)}", _size(c.bytes))
        for c in summary.columns
    ]
    yield from _aligned([header, *rows])
    for name, found in summary.counts.items():
        if summary.distinct[name]:
            shown = ", ".join(f"{_value(value)} {count:,}" for value, count in found)
            more = summary.distinct[name] - sum(value is not None for value, _ in found)
            yield _cut(f"{name}: {shown}", 3 * _WIDE) + (f" and {more:,} more" if more else "")
    yield ""
    yield "versions"
    for version in summary.versions:
        record = f"  {json.dumps(version.record, ensure_ascii=False)}" if version.record else ""
        mark = "*" if version.version == summary.version else " "
        yield _cut(f"{mark} {version.version:>3}  {version.time}  {version.note}{record}", 2 * _WIDE)
    yield ""
    yield f"{len(summary.samples)} rows of {summary.matched:,}"
    yield from (_cut(_sample(row), _WIDE) for row in summary.samples)


def _sample(row: dict[str, Any]) -> str:
    size = f"{row.get('width')}x{row.get('height')} {row.get('format')}" if row.get("width") else row["image"]
    texts = row.get("texts") or []
    rest = [row.get("split"), row.get("label"), repr(texts[0]) if texts else None]
    more = f"and {len(texts) - 1} texts more" if len(texts) > 1 else None
    return "  ".join(str(part) for part in (row["key"], size, *rest, more) if part)


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(w) if i < 2 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _share(filled: int, rows: int) -> str:
    return f"{filled:,} ({filled / rows:.0%})" if rows else "0"


def _size(count: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count} B"


def _value(value: str | None) -> str:
    return "(none)" if value is None else value


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
