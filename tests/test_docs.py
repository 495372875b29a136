"""The pages of docs/ say what is true: every verb has a section, and its examples run."""

import csv
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from limner.cli import app
from limner.data.scenes import SceneSettings, scene

DOCS = Path(__file__).resolve().parents[1] / "docs"
README = DOCS.parent / "README.md"
VERBS = [command.name or command.callback.__name__ for command in app.registered_commands]
PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")


def examples(text: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some pictures, a CSV that captions them, and a folder a class."""
    place = tmp_path_factory.mktemp("docs")
    (place / "photos").mkdir()
    with (place / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        for number in range(8):
            made = scene(SceneSettings(seed=77), number)
            Image.fromarray(made.image).save(place / "photos" / f"{number}.png")
            rows.writerow([f"photos/{number}.png", made.captions[0]])
            kind = place / "classes" / ("one", "many")[number % 2]
            kind.mkdir(parents=True, exist_ok=True)
            Image.fromarray(made.image).save(kind / f"{number}.png")
    return place


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_section_with_an_example(verb: str):
    section = PAGE.split(f"## limner {verb}\n")[1].split("\n## ")[0]
    assert any(line.startswith(f"limner {verb} ") for line in examples(section))


@pytest.mark.slow
def test_the_examples_run_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("limner.data.emoji.drawn_emoji", lambda style: ["🦉", "🐟"])
    for line in examples(PAGE):
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
        if "--json" in line:
            assert result.stdout.lstrip()[0] in "[{", line


def test_readme_names_verbs_that_exist():
    named = set(
        re.findall(r"^limner (\w+)", "\n".join(examples(README.read_text(encoding="utf-8"))), re.MULTILINE)
    )
    assert named <= set(VERBS)
    assert {"import", "caption", "search", "capfilt", "train", "report"} <= named


@pytest.mark.parametrize("page", [README, *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
