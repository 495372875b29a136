"""Texts that class names are written into: OpenAI's published sets by kind of data, or one's own file.

The sets are those of `data/prompts.md` and of the ImageNet notebook of github.com/openai/CLIP (MIT License).
Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), section 3.1.4.
"""

import json
from functools import cache
from pathlib import Path
from typing import Final

from limner.checkpoint import ASSETS
from limner.errors import ConfigError

LABEL_ALONE: Final = ("{}",)
ONE: Final = ("a photo of a {}.",)


@cache
def template_sets() -> dict[str, tuple[str, ...]]:
    """Name → templates, with "{}" where a class name goes."""
    held = json.loads((ASSETS / "templates.json").read_text(encoding="utf-8"))
    return {name: tuple(templates) for name, templates in held.items()}


def templates_of(told: str) -> tuple[str, ...]:
    """Templates by the name of a set, by a file with one a line, or one that is written out.

    Args:
        told: "imagenet", "my_templates.txt" or "a photo of a {}."
    Raises: ConfigError when it is none of these, or a line of the file has no place for a name.
    """
    if told in template_sets():
        return template_sets()[told]
    if "{}" in told:
        return (told,)
    if not Path(told).is_file():
        raise ConfigError(
            f"the templates {told!r}",
            wanted="one of "
            + ", ".join(template_sets())
            + ", a file with one template a line, or a template",
            hint='--set templates="a photo of a {}."',
        )
    lines = [line.strip() for line in Path(told).read_text(encoding="utf-8").splitlines() if line.strip()]
    wrong = [line for line in lines if "{}" not in line]
    if wrong or not lines:
        given = f"the line {wrong[0]!r} of {told}" if wrong else f"{told}, which is empty"
        raise ConfigError(given, wanted='"{}" where the class name goes', hint='"a photo of a {}."')
    return tuple(lines)
