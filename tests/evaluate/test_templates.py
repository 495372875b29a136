"""Templates by name, by file, written out."""

from pathlib import Path

import pytest

from limner.errors import ConfigError
from limner.evaluate.templates import template_sets, templates_of


def test_openai_has_as_many_as_the_paper_says() -> None:
    counts = {name: len(templates) for name, templates in template_sets().items()}
    assert len(counts) == 27
    expected = {
        "imagenet": 80, "cifar10": 18, "cifar100": 18, "caltech101": 34, "country211": 5, "textures": 8,
        "eurosat": 3, "aircraft": 2, "fer2013": 6, "kinetics": 28, "resisc45": 18, "cars": 8, "ucf101": 48,
    }  # fmt: skip
    assert {name: counts[name] for name in expected} == expected
    assert all("{}" in template for templates in template_sets().values() for template in templates)


def test_a_file_or_a_template_does_too(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("a {} on a plate\n\nmy {}\n")
    assert templates_of(str(tmp_path / "own.txt")) == ("a {} on a plate", "my {}")
    assert templates_of("one {}") == ("one {}",)


@pytest.mark.parametrize("text", ["no place\n", "\n"])
def test_a_file_without_a_place_for_the_name_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.txt").write_text(text)
    with pytest.raises(ConfigError):
        templates_of(str(tmp_path / "own.txt"))


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="'imagnet'"):
        templates_of("imagnet")
