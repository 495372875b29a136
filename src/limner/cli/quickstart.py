"""`limner quickstart`: the main job on generated pictures, with everything it found in one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.terminal import Bar, Json, Model, Seed, give, stoppable, talk

if TYPE_CHECKING:
    from limner.quickstart.flow import QuickstartResult

NEXT = """
Next, on your own pictures (PHOTOS is a folder of them):
  limner import PHOTOS --out pairs.lance            every picture is looked at; broken ones are set aside
  limner caption PHOTOS                             a caption for each
  limner search "two red apples" --data PHOTOS      the nearest pictures
  limner capfilt pairs.lance                        which captions fit, which should go
  limner train limner_tiny --data pairs.lance --out runs/mine
The default model has only ever seen emoji-like pictures. Try it on some first,
  limner search "a red apple" --data {emoji}
and train on your own pairs before you trust it with photos."""


def quickstart(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for tables, runs, records and report.")
    ] = Path("limner-quickstart"),
    seed: Seed = 0,
    rows: Annotated[int, typer.Option(min=64, help="Pictures in the noisy table.")] = 2000,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each of the two fine-tunings.")] = 200,
    model: Model = "limner_tiny",
    force: Annotated[bool, typer.Option("--force", help="Do every stage again.")] = False,
    as_json: Json = False,
) -> None:
    """Start here: the main job on generated pictures.

    Makes noisy pairs, cleans them with CapFilt, trains on both and shows what cleaning was worth. Needs no
    data and no network. Stop it whenever you like: the same command goes on, and reuses what is valid.
    """
    from limner.quickstart.flow import QuickstartSettings, run

    settings = QuickstartSettings(seed=seed, rows=rows, steps=steps, model=model)
    advice = f"finished stages are safe in {out}; the same command goes on from there"
    with stoppable(advice):
        result = run(settings, out, Terminal(), force=force)
    if as_json:
        give(result_values(result))
        return
    for line in summary(result):
        typer.echo(line)
    talk(NEXT.format(emoji=out / "tables" / "emoji.lance"))


class Terminal:
    """Tells the person at the terminal how far the quickstart is."""

    say = staticmethod(talk)
    bar = Bar


def summary(result: "QuickstartResult") -> list[str]:
    """The numbers to remember, as people read them."""
    ledger, audit = result.ledger, result.audit
    before, after = audit["pictures_correct_before"], audit["pictures_correct_after"]
    lines = [
        "",
        f"CapFilt on {ledger['rows']:,} pictures",
        f"  kept {ledger['kept']:,} · replaced {ledger['replaced']:,} · dropped {ledger['dropped']:,}",
        f"  AUROC of the match score {_number(audit['auroc_swapped'])} (right against swapped captions)",
        f"  dropping: precision {_share(audit['drop_precision'])}, recall {_share(audit['drop_recall'])}",
        f"  pictures with a correct caption: {_share(before)} → {_share(after)}",
        f"  synthetic captions with every count, colour and place right: {_share(audit['synthetic_correct'])}"
        f", of those kept {_share(audit['synthetic_correct_kept'])}",
        "",
        "Held-out pictures   " + "".join(f"{NAMES[name]:>10}" for name in NAMES),
    ]
    for model, measures in result.held_out.items():
        lines.append(f"  {model:<18}" + "".join(f"{measures[name]['value']:>10.3f}" for name in NAMES))
    gains = {comparison["measure"]: comparison for comparison in result.comparisons}
    lines.append("  cleaned − raw     " + "".join(f"{gains[name]['gain']:>+10.3f}" for name in NAMES))
    lines += [
        f"  {NAMES[name]}: {gain['verdict']} (95 % interval {gain['low']:+.3f} to {gain['high']:+.3f})"
        for name, gain in gains.items()
    ]
    return [*lines, "", f"report: {result.page}"]


NAMES = {"i2t_r1": "i→t R@1", "t2i_r1": "t→i R@1", "cider_d": "CIDEr-D", "loss": "loss"}
"""Measures of the held-out table as a terminal has room for."""


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def result_values(result: "QuickstartResult") -> dict[str, Any]:
    """What came out, as plain values."""
    return result._asdict() | {"out": str(result.out), "page": str(result.page)}
