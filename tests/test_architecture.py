"""The import law of docs/architecture.md, read from the page itself."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "limner"
PAGE = ROOT / "docs" / "architecture.md"
BANNED_NAMES = {"utils", "helpers", "common", "misc", "base", "manager", "factory", "registry"}
PEERS = {"timm", "transformers", "open_clip", "clip", "lavis"}
ROW = re.compile(r"^\| (\d) \| `(\w+)` \| [^|]+\|([^|]*)\|$")


class Room(NamedTuple):
    floor: int
    sideways: frozenset[str]


class Import(NamedTuple):
    path: Path
    line: int
    module: str
    local: bool


def floors(text: str) -> dict[str, Room]:
    rows = [m for m in map(ROW.match, text.splitlines()) if m]
    return {m[2]: Room(int(m[1]), frozenset(re.findall(r"`(\w+)`", m[3]))) for m in rows}


def imports(path: Path) -> list[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = (
                [node.module or ""] if node.module != "limner" else [f"limner.{a.name}" for a in node.names]
            )
        else:
            continue
        found += [Import(path, node.lineno, name, id(node) in inside) for name in names]
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def violations(found: list[Import], rooms: dict[str, Room], source: Path) -> list[str]:
    wrong = []
    for item in found:
        if not item.module.startswith("limner"):
            continue
        relative = item.path.relative_to(source)
        here = relative.parts[0].removesuffix(".py")
        there = room_of(item.module)
        if here in ("__init__", "__main__") or there == here or not there or there.startswith("__"):
            continue
        a, b = rooms[here], rooms[there]
        if b.floor > a.floor or (b.floor == a.floor and there not in a.sideways):
            wrong.append(
                f"{relative}:{item.line}: {here} (floor {a.floor}) imports {there} (floor {b.floor})"
            )
    return wrong


ROOMS = floors(PAGE.read_text(encoding="utf-8"))
FILES = sorted(SOURCE.rglob("*.py"))
IMPORTS = [item for path in FILES for item in imports(path)]


def where(item: Import) -> str:
    return f"{item.path.relative_to(SOURCE)}:{item.line}: {item.module}"


def test_every_room_stands_in_the_table():
    inside = [p for p in SOURCE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    rooms = {p.name.removesuffix(".py") for p in inside}
    assert rooms - {"__init__", "__main__"} == set(ROOMS)


def test_imports_go_down():
    assert violations(IMPORTS, ROOMS, SOURCE) == []


def test_the_law_catches_an_upward_import(tmp_path):
    bad = tmp_path / "objectives" / "x.py"
    bad.parent.mkdir()
    bad.write_text("import limner.train.loop\nfrom limner.models import vit\nfrom limner import errors\n")
    assert [line.split(": ")[0] for line in violations(imports(bad), ROOMS, tmp_path)] == [
        "objectives/x.py:1",
        "objectives/x.py:2",
    ]


def test_local_imports_of_limner_only_in_cli():
    wrong = [i for i in IMPORTS if i.local and i.module.startswith("limner") and "cli" not in i.path.parts]
    assert [where(i) for i in wrong] == []


def test_peers_are_never_imported():
    assert [where(i) for i in IMPORTS if i.module.split(".")[0] in PEERS] == []


@pytest.mark.parametrize(
    "room", ["report", "record.py", "config.py", "errors.py", "shapes.py", "__init__.py"]
)
def test_no_torch_where_reports_are_made(room):
    inside = [i for i in IMPORTS if i.path.relative_to(SOURCE).parts[0] == room]
    assert [where(i) for i in inside if i.module.split(".")[0] in {"torch", "torchvision"}] == []


def test_file_names_say_something():
    assert [str(p) for p in FILES if p.stem in BANNED_NAMES] == []


def test_every_source_file_has_its_test():
    named = [p.relative_to(SOURCE) for p in FILES if not p.stem.startswith("__")]
    mirrors = [ROOT / "tests" / p.parent / f"test_{p.stem}.py" for p in named]
    assert [str(m.relative_to(ROOT)) for m in mirrors if not m.exists()] == []


def test_no_pickle_is_read():
    calls = (
        r"pickle\.loads?\(",
        r"torch\.(load|save)\(",
        r"joblib\.",
        "allow_pickle=True",
        "weights_only=False",
    )
    call = re.compile("|".join(calls))
    wrong = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if call.search(line)
    ]
    assert wrong == []
