"""From a recipe to a trained model: compose the objects it speaks of, and give them to the loop."""

import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import limner
from limner import ranks
from limner.checkpoint import save_bundle
from limner.checkpoint.mirror import Mirror
from limner.config import to_toml
from limner.convert.opening import digest_of
from limner.data.loader import Loader
from limner.data.rows import Mixture
from limner.data.table import Table
from limner.errors import ConfigError
from limner.recipe.card import card_of
from limner.recipe.detection_task import things_in
from limner.recipe.measures import evaluators
from limner.recipe.schema import ModelSettings, Recipe, read
from limner.recipe.sources import Source, TableSource
from limner.recipe.task import Task
from limner.recipe.tasks import task_of
from limner.record import Recorder
from limner.train.loop import train
from limner.train.precision import fast_precision, slow_precision
from limner.train.run import Job
from limner.train.steps import ClassificationSettings, DetectionSettings
from limner.train.watch import Report, silent


class RunResult(NamedTuple):
    """How a run ended, and what to do next.

    Args:
        out: the run folder.
        digest: of the recipe.
        step: optimiser steps taken.
        steps: of the whole run.
        reason: "finished", "no_better", or why it stopped before: "SIGINT", "SIGTERM", "max_minutes".
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
        task: what it is made of.
        derived: quantities that follow from the recipe.
    """

    job: Job
    task: Task
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
        card: Markdown for the model's README.md; made from the run's facts when empty.
    Raises: ConfigError when the folder is in use by another run, or by this one and `resume` is False.
    """
    with ranks.joined(recipe.machine.device):
        return _run(resolve(recipe), Path(out), resume, report if ranks.rank() == 0 else silent, card)


def _run(recipe: Recipe, out: Path, resume: bool, report: Report, card: str) -> RunResult:
    if ranks.rank() == 0:
        _require_free(out, recipe, resume)
        if recipe.machine.mirror:
            Mirror(recipe.machine.mirror).claim(recipe.digest, resume)
    if recipe.machine.threads:
        torch.set_num_threads(recipe.machine.threads)
    made = compose(recipe, report)
    if slow := slow_precision(recipe.train.precision, _device(recipe.machine.device)):
        report(slow)
    if ranks.rank() == 0:
        _write_recipe(out / "recipe.toml", recipe)
        Recorder(out / "records.jsonl").write(
            "run", digest=recipe.digest, recipe=_plain(recipe), derived=made.derived, machine=machine_facts()
        )
    report(
        "  ".join([f"run {recipe.digest}", *(f"{name} {value:,}" for name, value in made.derived.items())])
    )
    ended = train(made.job, out, resume=resume, report=report)
    finished, model, task = ended.reason in ("finished", "no_better"), out / "model", made.task
    if finished and ranks.rank() == 0:
        card = card or card_of(recipe, task, made.derived, ended.measures, ended.seconds, machine_facts())
        save_model(model, ended.model, recipe, task, card)
        if recipe.machine.mirror:
            Mirror(recipe.machine.mirror).ship(model)
    ranks.wait()
    return RunResult(
        out=out,
        digest=recipe.digest,
        step=ended.step,
        steps=recipe.train.steps,
        reason=ended.reason,
        model=model if finished else None,
        measures=ended.measures,
        seconds=ended.seconds,
        hint=task.hint.replace("RUN", str(out)) if finished else _resume_hint(out),
    )


def save_model(folder: Path, model: nn.Module, recipe: Recipe, task: Task, card: str) -> Path:
    """Write the bundle that a run ships.

    Args:
        folder: where to.
        model: trained.
        recipe: resolved.
        task: what was trained.
        card: Markdown for README.md.
    """
    parts = (folder, model, task.name, task.config, task.spec, task.tokenizer)
    return save_bundle(*parts, recipe=_plain(recipe), card=card, labels=task.labels, task=task.purpose)


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with what was left open filled in: versions of tables, weights it starts from, classes, the
    precision that the first process's device is fast with.

    Raises: ConfigError when the start's weights are not those the recipe names, or there is no class.
    """
    model, sources = _with_digests(recipe.model), tuple(map(_pinned, recipe.data.sources))
    data = recipe.data.model_copy(update={"sources": sources})
    if isinstance(recipe.objective, ClassificationSettings) and not data.labels:
        data = data.model_copy(update={"labels": _classes(sources)})
    if isinstance(recipe.objective, DetectionSettings) and not data.labels:
        data = data.model_copy(update={"labels": things_in(sources)})
    tables = tuple(
        table.model_copy(update={"version": Table.open(table.path, table.version).version})
        for table in recipe.evaluate.tables
    )
    evaluate, train = recipe.evaluate.model_copy(update={"tables": tables}), recipe.train
    if train.precision == "auto":
        fast = ranks.told(fast_precision(_device(recipe.machine.device)))
        train = train.model_copy(update={"precision": fast})
    return recipe.model_copy(update={"model": model, "data": data, "evaluate": evaluate, "train": train})


def _with_digests(model: ModelSettings) -> ModelSettings:
    """Name the weights of every start.

    Raises: ConfigError when they are not those the recipe names.
    """
    digests = {}
    for field in ("start", "vision_start", "text_start"):
        name, known = getattr(model, field), getattr(model, f"{field}_digest")
        found = digest_of(name) if name else known
        if known not in ("", found):
            raise ConfigError(
                f"model.{field} {name} has the weights {found}",
                wanted=known,
                hint=f'--set model.{field}_digest="" takes them as they are, in a new --out',
            )
        digests[f"{field}_digest"] = found
    return model.model_copy(update=digests)


def _pinned(source: Source) -> Source:
    if not isinstance(source, TableSource):
        return source
    return source.model_copy(update={"version": Table.open(source.path, source.version).version})


def _classes(sources: Iterable[Source]) -> tuple[str, ...]:
    """The labels of all rows that are read, sorted."""
    found: set[str] = set()
    for source in sources:
        if not isinstance(source, TableSource):
            raise ConfigError(f"a source of kind {source.kind!r} for classes", wanted='kind = "table"')
        table = Table.open(source.path, source.version)
        if table.has("label"):
            found.update(filter(None, table.column("label", source.where or None)))
    if len(found) < 2:
        raise ConfigError(
            f"{len(found)} class(es) in the label column of the sources",
            wanted="at least two",
            hint="limner import FOLDER reads folders of classes; a CSV needs a column called label",
        )
    return tuple(sorted(found))


def compose(recipe: Recipe, report: Report = silent) -> Composed:
    """Make the objects a resolved recipe speaks of. Seeds torch.

    Raises: ConfigError when its parts do not go together.
    """
    torch.manual_seed(recipe.train.seed)
    task = task_of(recipe, report)
    settings, machine = recipe.train, recipe.machine
    parts = [
        (source.rows(task.spec, settings.seed, task.unit), source.weight) for source in recipe.data.sources
    ]
    samples = sum(len(rows) for rows, _ in parts)
    device = _device(machine.device)
    task.model.to(device).to(memory_format=torch.channels_last)
    if ranks.size() > 1:
        torch.manual_seed(settings.seed + ranks.rank())  # dropout of its own
    job = Job(
        model=task.model,
        state=task.start(task.model, settings.seed),
        step=task.step,
        loader=Loader(
            Mixture(parts, settings.seed, samples),
            task.collate,
            _of_this_rank(settings.batch_size),
            settings.seed,
            workers=machine.workers_are,
            num_workers=machine.workers,
            pin_memory=device.type == "cuda",
            rank=ranks.rank(),
            world_size=ranks.size(),
            bucket_batches=recipe.data.bucket_batches,
            stall_s=machine.stall_s,
            say=report if report is not silent else None,
        ),
        optim=recipe.optim,
        settings=settings,
        machine=machine,
        evaluators=evaluators(recipe.evaluate, task),
    )
    derived = {
        "parameters": sum(parameter.numel() for parameter in task.model.parameters()),
        **({"vocabulary": task.tokenizer.vocab_size} if task.tokenizer else {}),
        **({"classes": len(task.labels)} if task.labels else {}),
        "rows": samples,
        "samples": settings.steps * settings.batch_size,
        "epochs": round(settings.steps * settings.batch_size / samples, 3),
        **({"ranks": ranks.size()} if ranks.size() > 1 else {}),
    }
    return Composed(job, task, derived)


def _of_this_rank(batch_size: int) -> int:
    """Rows of a global batch that each rank reads.

    Raises: ConfigError when it cannot be shared evenly.
    """
    if batch_size % ranks.size():
        raise ConfigError(
            f"train.batch_size {batch_size} on {ranks.size()} processes",
            wanted=f"a multiple of {ranks.size()}",
            hint=f"--set train.batch_size={max(1, batch_size // ranks.size()) * ranks.size()}",
        )
    return batch_size // ranks.size()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda", ranks.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    return torch.device(name)


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


def machine_facts() -> dict[str, Any]:
    """What a run is on: versions, threads, device."""
    cuda = torch.cuda.is_available()
    return {
        "limner": limner.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else "CPU",
    }
