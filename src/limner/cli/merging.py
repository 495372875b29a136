"""What verbs with `--merge` share: the option, and what it costs, said before the work begins."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.terminal import talk
from limner.errors import ConfigError

if TYPE_CHECKING:
    from limner.capfilt.bulk import BulkSettings
    from limner.capfilt.measure import Job
    from limner.checkpoint import Bundle


def _counted(count: int) -> int:
    """A number of tokens; how many are too many only a model can say."""
    if count < 0:
        raise ConfigError(
            f"--merge {count}", wanted="0 for none, or tokens that go in each block", hint="--merge 1"
        )
    return count


Merge = Annotated[
    int,
    typer.Option(
        "--merge",
        metavar="N",
        callback=_counted,
        help="Faster: merge N alike tokens in each block of the encoder.",
    ),
]


def compare_captions(
    whole: "Bundle", quick: "Bundle", settings: "BulkSettings", sources: Sequence[Path]
) -> None:
    """Say how far captions with merged tokens agree with those without."""
    from limner.capfilt.fewer import agreement, first_pictures

    if images := first_pictures(whole, sources):
        talk(f"merging: {agreement(whole, quick, images, settings).said}")


def compare_measured(job: "Job", force: bool) -> None:
    """Say how far captions and decisions with merged tokens agree with those without.

    Args:
        job: with the whole models.
        force: also when the table holds all that is to be measured, and no model would run.
    """
    from limner.capfilt.fewer import job_agreement, merged
    from limner.capfilt.pipeline import is_measured

    quick = merged(job)
    if force or not is_measured(quick):
        for one in job_agreement(job, quick) or ():
            talk(f"merging: {one.said}")
