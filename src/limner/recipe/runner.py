"""From a recipe to a trained model: compose the objects it speaks of, and give them to the loop."""

import json
import platform
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import limner
from limner.checkpoint import Bundle, save_bundle
from limner.config import Config, build, to_toml
from limner.convert.opening import digest_of, open_bundle
from limner.data.loader import Loader, Pairs
from limner.data.rows import Mixture
from limner.data.table import Table
from limner.data.tokenizers import WordPiece
from limner.errors import ConfigError
from limner.evaluate.scenes import scenes_suite
from limner.models import entry
from limner.models.blip import BLIP, BLIPConfig
from limner.recipe.schema import Recipe, read
from limner.recipe.sources import Source, TableSource
from limner.record import Recorder
from limner.shapes import ImageSpec
from limner.train.loop import Evaluator, Job, train
from limner.train.steps import BLIPStep, start_blip
from limner.train.watch import Report, silent


class RunResult(NamedTuple):
    """How a run ended, and what to do next.

    Args:
        out: the run folder.
        digest: of the recipe.
        step: optimiser steps taken.
        steps: of the whole run.
        reason: "finished", or why it stopped before: "SIGINT", "SIGTERM", "max_minutes".
        model: the bundle, when the run has finished.
        measures: the last evaluation, `evaluator/name` → value.
        seconds: of training, over all its parts.
        hint: what to type next.
    """

    out: Path
    digest: str
    step: int
    steps: int
    reason: str
    model: Path | None
    measures: dict[str, float]
    seconds: float
    hint: str


class Composed(NamedTuple):
    """A recipe turned into objects.

    Args:
        job: what the loop trains.
        name: key of `MODELS`.
        config: sizes of the model.
        spec: preprocessing of the model.
        tokenizer: of the model.
        derived: quantities that follow from the recipe.
    """

    job: Job
    name: str
    config: Config
    spec: ImageSpec
    tokenizer: WordPiece
    derived: dict[str, float]


def run(
    recipe: Recipe, out: str | Path, *, resume: bool = False, report: Report = silent, card: str = ""
) -> RunResult:
    """Train what a recipe says; leaves recipe.toml, records.jsonl, checkpoints/ and, at its end, model/.

    Args:
        recipe: what to do.
        out: the run folder.
        resume: go on in a folder that this recipe was started in.
        report: takes lines for the user.
        card: Markdown that goes into the model's README.md.
    Raises: ConfigError when the folder is in use by another run, or by this one and `resume` is False.
    """
    recipe, out = resolve(recipe), Path(out)
    _require_free(out, recipe, resume)
    if recipe.machine.threads:
        torch.set_num_threads(recipe.machine.threads)
    made = compose(recipe, report)
    _write_recipe(out / "recipe.toml", recipe)
    Recorder(out / "records.jsonl").write(
        "run", digest=recipe.digest, recipe=_plain(recipe), derived=made.derived, machine=_machine()
    )
    report(
        "  ".join([f"run {recipe.digest}", *(f"{name} {value:,}" for name, value in made.derived.items())])
    )
    ended = train(made.job, out, resume=resume, report=report)
    finished, model = ended.reason == "finished", out / "model"
    if finished:
        parts = (model, ended.model, made.name, made.config, made.spec, made.tokenizer)
        save_bundle(*parts, recipe=_plain(recipe), card=card)
    return RunResult(
        out=out,
        digest=recipe.digest,
        step=ended.step,
        steps=recipe.train.steps,
        reason=ended.reason,
        model=model if finished else None,
        measures=ended.measures,
        seconds=ended.seconds,
        hint=f"limner caption PATH --model {out}" if finished else _resume_hint(out),
    )


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with what was left open filled in: the version of each table, the weights it starts from.

    Raises: ConfigError when the start's weights are not those the recipe names.
    """
    model, sources = recipe.model, tuple(map(_pinned, recipe.data.sources))
    if model.start:
        found = digest_of(model.start)
        if model.start_digest not in ("", found):
            raise ConfigError(
                f"model.start {model.start} has the weights {found}",
                wanted=model.start_digest,
                hint='--set model.start_digest="" takes them as they are, in a new --out',
            )
        model = model.model_copy(update={"start_digest": found})
    data = recipe.data.model_copy(update={"sources": sources})
    return recipe.model_copy(update={"model": model, "data": data})


def _pinned(source: Source) -> Source:
    if not isinstance(source, TableSource):
        return source
    return source.model_copy(update={"version": Table.open(source.path, source.version).version})


def compose(recipe: Recipe, report: Report = silent) -> Composed:
    """Make the objects a recipe speaks of. Seeds torch."""
    torch.manual_seed(recipe.train.seed)
    start = open_bundle(recipe.model.start) if recipe.model.start else None
    tokenizer = start.blip()[1] if start else _grow_tokenizer(recipe, report)
    name, spec, config, model = _model(recipe, start, tokenizer)
    if not isinstance(model, BLIP):
        raise ConfigError(f"model.name = {name!r}", wanted="a BLIP", hint='--set model.name="limner_tiny"')
    settings = recipe.train
    parts = [(source.rows(spec, settings.seed), source.weight) for source in recipe.data.sources]
    samples = sum(len(rows) for rows, _ in parts)
    device = _device(recipe.machine.device)
    model.to(device)
    job = Job(
        model=model,
        state=start_blip(model, recipe.objective, settings.seed),
        step=BLIPStep(recipe.objective, spec),
        loader=Loader(
            Mixture(parts, settings.seed, samples),
            Pairs(tokenizer, recipe.data.max_tokens),
            settings.batch_size,
            settings.seed,
            workers=recipe.machine.workers_are,
            num_workers=recipe.machine.workers,
            pin_memory=device.type == "cuda",
            bucket_batches=recipe.data.bucket_batches,
            stall_s=recipe.machine.stall_s,
            say=report if report is not silent else None,
        ),
        optim=recipe.optim,
        settings=settings,
        machine=recipe.machine,
        evaluators=_evaluators(recipe, name, spec, tokenizer),
    )
    derived = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": tokenizer.vocab_size,
        "rows": samples,
        "samples": settings.steps * settings.batch_size,
        "epochs": round(settings.steps * settings.batch_size / samples, 3),
    }
    return Composed(job, name, config, spec, tokenizer, derived)


def _grow_tokenizer(recipe: Recipe, report: Report) -> WordPiece:
    report("growing the vocabulary from the sources' texts")
    each = (islice(source.texts(), recipe.tokenizer.texts) for source in recipe.data.sources)
    return WordPiece.from_texts(chain.from_iterable(each), recipe.tokenizer.vocab_size)


def _model(
    recipe: Recipe, start: Bundle | None, tokenizer: WordPiece
) -> tuple[str, ImageSpec, Config, nn.Module]:
    """Name, preprocessing, config and module of the model to train."""
    if start is not None:
        config: Config = start.model.config  # type: ignore[assignment]
        return start.name, start.image_spec, config, start.model
    found = entry(recipe.model.name)
    values = _merged(found.config.model_dump(), recipe.model.settings)
    if isinstance(found.config, BLIPConfig):
        values["text"]["vocab_size"] = tokenizer.vocab_size
        values |= {
            f"{token}_id": getattr(tokenizer, f"{token}_id") for token in ("pad", "cls", "sep", "dec", "enc")
        }
    config = build(values, type(found.config), "model.settings")
    return recipe.model.name, found.image_spec, config, found.build(config)


def _merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` laid over them, section by section."""
    result = dict(values)
    for key, change in changes.items():
        section = isinstance(change, Mapping) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], change) if section else change
    return result


def _evaluators(recipe: Recipe, name: str, spec: ImageSpec, tokenizer: WordPiece) -> dict[str, Evaluator]:
    settings = recipe.evaluate
    if not settings.count:
        return {}

    def scenes(model: nn.Module) -> Iterable[tuple[str, float]]:
        bundle = Bundle(name, model, spec, tokenizer, {}, "", Path())
        return scenes_suite(bundle, settings.scenes, settings.start, settings.count, settings.suite).items()

    return {"scenes": scenes}


def _device(name: str) -> torch.device:
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def _require_free(out: Path, recipe: Recipe, resume: bool) -> None:
    """Check that a folder is free for this run.

    Raises: ConfigError when it holds anything else, or this very run and `resume` is False.
    """
    path = out / "recipe.toml"
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise ConfigError(
                f"{out} is not empty and holds no run", wanted="a new or empty folder", hint="--out runs/NEW"
            )
        return
    other = read(path).digest
    if other != recipe.digest:
        raise ConfigError(
            f"{out} holds run {other}, and this recipe is {recipe.digest}",
            wanted="a new folder, or the recipe the run was started with",
            hint=f"--out {out}-{recipe.digest}, or {_resume_hint(out)}",
        )
    if not resume:
        raise ConfigError(f"{out} holds this very run", wanted="a new folder", hint=_resume_hint(out))


def _resume_hint(out: Path) -> str:
    return f"limner train {out / 'recipe.toml'} --out {out} --resume"


def _write_recipe(path: Path, recipe: Recipe) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(
        f"# run {recipe.digest}, limner {limner.__version__}\n{to_toml(recipe)}", encoding="utf-8"
    )
    partial.replace(path)


def _plain(recipe: Recipe) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(recipe.model_dump_json())
    return values


def _machine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "limner": limner.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else "CPU",
    }
