"""Between a model before and after it was fine-tuned: WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903).

Fine-tuning on little data gains where it was trained and loses elsewhere. The weights in between,
(1 - alpha) * before + alpha * after, often keep most of the gain and lose less; which alpha is best is
measured.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from limner.convert.opening import open_bundle
from limner.errors import ConfigError, DataError
from limner.recipe.card import card_of
from limner.recipe.runner import compose, machine_facts, resolve, save_model
from limner.recipe.schema import EvaluatedTable, Recipe, read
from limner.train.watch import Report, silent

ALPHAS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


class Mixture(NamedTuple):
    """One mixture of two models.

    Args:
        alpha: share of the fine-tuned weights, [0, 1].
        measures: `evaluator/name` -> value.
    """

    alpha: float
    measures: dict[str, float]


class Interpolation(NamedTuple):
    """What lies between two models.

    Args:
        run: folder of the fine-tuning run.
        start: the model it began from.
        mixtures: in the order of the alphas asked for.
        model: the bundle that was written, if one was.
    """

    run: Path
    start: str
    mixtures: list[Mixture]
    model: Path | None


def interpolate(
    run: str | Path,
    alphas: Sequence[float] = ALPHAS,
    tables: Sequence[str | Path] = (),
    out: str | Path | None = None,
    report: Report = silent,
) -> Interpolation:
    """Measure mixtures of a finished run's model with the model it began from, and perhaps keep one.

    Args:
        run: folder of a run with `model.start`.
        alphas: shares of the fine-tuned weights, each in [0, 1].
        tables: to measure on, beside the recipe's own `[evaluate]`; such as data of another kind.
        out: folder for the bundle of the mixture, which must be the only one then.
        report: takes lines for the user.
    Raises: ConfigError when the run began from nothing or from a model with other classes, when there is
        nothing to measure on, or for a wrong alpha or `out`; DataError when the run is not finished.
    """
    run = Path(run)
    recipe = _read(run, tables)
    _check(alphas, None if out is None else Path(out), recipe)
    made = compose(recipe, report)
    task, model = made.task, made.job.model
    tuned = open_bundle(str(run))
    if tuple(open_bundle(recipe.model.start).labels) != tuple(task.labels):
        raise ConfigError(
            f"{recipe.model.start} does not have the {len(task.labels)} classes of {run}",
            wanted="a run whose start has its very head",
            hint="train the head alone first (optim.only), then all with --start THAT_RUN",
        )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after = {name: tensor.to(before[name].device) for name, tensor in tuned.model.state_dict().items()}
    mixtures = []
    for alpha in alphas:
        model.load_state_dict(mixed(before, after, alpha))
        model.eval()
        report(f"alpha {alpha:g}: measuring")
        with torch.inference_mode():
            found = {
                f"{name}/{measure}": float(value)
                for name, measure_all in made.job.evaluators.items()
                for measure, value in measure_all(model)
            }
        mixtures.append(Mixture(alpha, found))
    if out is not None:
        facts = (recipe, task, made.derived, mixtures[0].measures, 0.0, machine_facts())
        shares = f"(1 - {alphas[0]:g}) of `{recipe.model.start}` and {alphas[0]:g} of the run (WiSE-FT)"
        save_model(Path(out), model, recipe, task, f"{card_of(*facts)}\n## Weights\n\n{shares}.\n")
    return Interpolation(run, recipe.model.start, mixtures, None if out is None else Path(out))


def mixed(before: Mapping[str, Tensor], after: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) * before + alpha * after; the ends are exact, and whole numbers are those of after.

    Args:
        before: name -> tensor.
        after: of the same names and shapes.
        alpha: [0, 1].
    """
    return {
        name: before[name].lerp(tensor, alpha) if tensor.is_floating_point() else tensor
        for name, tensor in after.items()
    }


def _read(run: Path, tables: Sequence[str | Path]) -> Recipe:
    """The recipe of a run, with more tables to measure on."""
    if not (run / "recipe.toml").is_file() or not (run / "model").is_dir():
        raise DataError(
            f"{run} holds no finished run", wanted="a folder that limner train has made, to its end"
        )
    recipe = read(run / "recipe.toml", ["machine.workers=0", "machine.compile=false"])
    if not recipe.model.start:
        raise ConfigError(
            f"{run} began from fresh weights",
            wanted="a run that was fine-tuned from a model",
            hint="limner train RECIPE --start MODEL",
        )
    more = tuple(EvaluatedTable(path=str(path)) for path in tables)
    evaluate = recipe.evaluate.model_copy(update={"tables": recipe.evaluate.tables + more})
    return resolve(recipe.model_copy(update={"evaluate": evaluate}))


def _check(alphas: Sequence[float], out: Path | None, recipe: Recipe) -> None:
    wrong = [alpha for alpha in alphas if not 0 <= alpha <= 1]
    if wrong or not alphas:
        raise ConfigError(f"alpha {wrong[0] if wrong else 'is missing'}", wanted="0 (before) to 1 (after)")
    if out is not None and len(alphas) > 1:
        raise ConfigError(f"--out for {len(alphas)} mixtures", wanted="one", hint="--alpha 0.5 --out FOLDER")
    if out is not None and out.exists():
        raise ConfigError(f"{out} exists already", wanted="a new folder", hint="choose another --out")
    if out is None and not recipe.evaluate.tables and not recipe.evaluate.count:
        raise ConfigError(
            "the run measures on nothing", wanted="at least one table", hint="--data TABLE, more than once"
        )
