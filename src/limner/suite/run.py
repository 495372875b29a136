"""Models × tables × tasks: each measured, recorded with all that names it, and reused where nothing changed.

A folder of results holds `records.jsonl`, one line of the kind "measure" a result and of the kind "failed" a
refusal, and `samples/ID.jsonl`, one line a sample. The last line of an id is the one that counts.
"""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

import limner
from limner.checkpoint import Bundle
from limner.config import Config, build, override
from limner.convert.opening import open_bundle
from limner.data.table import Table
from limner.errors import ConfigError, DataError, LimnerError
from limner.evaluate.pictures import Progress
from limner.record import Recorder, read_records
from limner.suite.features import holds_features, open_features
from limner.suite.outcome import Measure, Outcome
from limner.suite.rows import rows_digest
from limner.suite.selection import Selection
from limner.suite.tasks import TASKS

RECORDS, SAMPLES = "records.jsonl", "samples"


class Asked(NamedTuple):
    """What to measure.

    Args:
        tasks: keys of `TASKS`.
        models: names that `limner.load` takes, or files of vectors.
        selections: rows of one table each.
        settings: `name=value` for the tasks that have such a setting, `task.name=value` for one.
        force: measure again what is there.
    """

    tasks: Sequence[str]
    models: Sequence[str]
    selections: Sequence[Selection]
    settings: Sequence[str] = ()
    force: bool = False


class Finished(NamedTuple):
    """One task of one model on one table.

    Args:
        record: as written; its kind is "measure" or "failed".
        reused: it was there already.
    """

    record: dict[str, Any]
    reused: bool = False

    @property
    def failed(self) -> bool:
        """Whether it was refused."""
        return bool(self.record["kind"] == "failed")


Bars = Callable[[str], Progress]
"""Gives something that shows the progress of a titled job."""


def evaluate(asked: Asked, folder: str | Path, bars: Bars | None = None) -> Iterator[Finished]:
    """Measure everything that is asked, one result after the other; a refusal does not stop the others.

    Args:
        asked: what.
        folder: of the results; made when missing, added to when it is there.
        bars: shows progress.
    Raises: ConfigError, before any work, for a task or a setting that does not exist.
    """
    settings = settings_of(asked.tasks, asked.settings)
    return _evaluate(asked, settings, Path(folder), bars)


def settings_of(tasks: Sequence[str], assignments: Sequence[str]) -> dict[str, Config]:
    """The settings of each task.

    Raises: ConfigError for a task that does not exist, or a setting that none of them has or that is wrong.
    """
    for name in tasks:
        if name not in TASKS:
            raise ConfigError(f"the task {name!r}", wanted=", ".join(TASKS), hint="limner evaluate --list")
    given: dict[str, dict[str, Any]] = {name: {} for name in tasks}
    for assignment in assignments:
        name = assignment.partition("=")[0].strip().replace("-", "_")
        task, dot, field = name.rpartition(".")
        takers = [one for one in tasks if (not dot or one == task) and field in _fields(one)]
        if not takers:
            known = sorted({field for one in tasks for field in _fields(one)})
            raise ConfigError(f"--set {assignment!r}", wanted=f"one of {', '.join(known)}")
        for one in takers:
            given[one] |= _value(one, field, assignment.partition("=")[2])
    return {name: build(values, TASKS[name].settings, f"--set of {name}") for name, values in given.items()}


def open_model(name: str) -> Bundle:
    """A model, or a file of vectors of pictures in the place of one."""
    return open_features(Path(name)) if holds_features(Path(name)) else open_bundle(name)


def results(folder: str | Path) -> list[dict[str, Any]]:
    """The records of the kind "measure" in a folder of results; the newest of each id.

    Raises: DataError when there are none.
    """
    found = {record["id"]: record for record in read_records(Path(folder) / RECORDS, "measure")}
    if not found:
        raise DataError(
            f"{folder} holds no results", wanted="a folder of them", hint="limner evaluate TASK --out FOLDER"
        )
    return list(found.values())


def samples_of(folder: str | Path, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The samples of a result, one plain dict each."""
    lines = (Path(folder) / record["samples"]).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _value(task: str, field: str, text: str) -> dict[str, Any]:
    """A setting as its field has it: texts as they are written, all else as TOML."""
    if TASKS[task].settings.model_fields[field].annotation is str:
        return {field: text}
    return override({}, [f"{field}={text}"])


def _fields(task: str) -> set[str]:
    return set(TASKS[task].settings.model_fields)


def _evaluate(
    asked: Asked, settings: dict[str, Config], folder: Path, bars: Bars | None
) -> Iterator[Finished]:
    recorder = Recorder(folder / RECORDS)
    known = {} if asked.force else _known(folder)
    jobs = _jobs(asked)
    tables = {selection: _table_facts(selection) for selection, _ in jobs}
    for name in asked.models:
        try:
            bundle: Bundle | LimnerError = open_model(name)
        except LimnerError as error:
            bundle = error
        model = {"model": name}
        if isinstance(bundle, Bundle):
            model |= {"digest": bundle.digest, "prepared": _prepared(bundle)}
        for selection, task in jobs:
            table = tables[selection]
            facts: dict[str, Any] = {"task": task, **model, "table": selection.path}
            wrong = next((one for one in (bundle, table) if isinstance(one, LimnerError)), None)
            if wrong:
                yield _refused(recorder, facts, wrong)
                continue
            assert isinstance(table, dict)
            assert isinstance(bundle, Bundle)
            facts |= table | {"settings": _plain(settings[task])}
            identity = _identity(facts)
            if identity in known:
                yield Finished(known[identity], reused=True)
                continue
            bar = bars(f"{task} of {name}{_on(selection)}") if bars else None
            yield _measured(recorder, identity, facts, bundle, selection, settings[task], bar)


def _jobs(asked: Asked) -> list[tuple[Selection, str]]:
    """What is measured on what: each task on each table, or once where it makes its own data."""
    read = [(rows, task) for rows in asked.selections for task in asked.tasks if TASKS[task].reads_table]
    count = asked.selections[0].count if asked.selections else 0
    made = [(Selection(path="", count=count), task) for task in asked.tasks if not TASKS[task].reads_table]
    return read + made


def _on(selection: Selection) -> str:
    return f" on {Path(selection.path).name}" if selection.path else ""


def _known(folder: Path) -> dict[str, dict[str, Any]]:
    """Results that are there, with their samples, by id."""
    if not (folder / RECORDS).is_file():
        return {}
    found = {record["id"]: record for record in read_records(folder / RECORDS, "measure")}
    return {name: record for name, record in found.items() if (folder / record["samples"]).is_file()}


def _measured(
    recorder: Recorder,
    identity: str,
    facts: dict[str, Any],
    bundle: Bundle,
    selection: Selection,
    settings: Config,
    bar: Progress | None,
) -> Finished:
    began = time.perf_counter()
    try:
        outcome = TASKS[facts["task"]].run(bundle, selection, settings, bar)
    except LimnerError as error:
        return _refused(recorder, facts, error)
    samples = f"{SAMPLES}/{identity}.jsonl"
    _write_samples(recorder.path.parent / samples, outcome)
    record = recorder.write(
        "measure",
        id=identity,
        **facts,
        measures={name: _interval(measure) for name, measure in outcome.measures.items()},
        notes=list(outcome.notes),
        details=dict(outcome.details),
        samples=samples,
        seconds=round(time.perf_counter() - began, 3),
        machine=machine_facts(),
    )
    return Finished(record)


def _refused(recorder: Recorder, facts: dict[str, Any], error: LimnerError) -> Finished:
    return Finished(recorder.write("failed", **facts, error=str(error)))


def _table_facts(selection: Selection) -> dict[str, Any] | LimnerError:
    """Version and digest of the rows, the error when there are none; the count where no table is read."""
    if not selection.path:
        return {"count": selection.count}
    try:
        version = Table.open(selection.path, selection.version).version
        return {
            "version": version,
            "where": selection.where,
            "count": selection.count,
            "texts_column": selection.texts_column,
            "rows": rows_digest(selection),
        }
    except LimnerError as error:
        return error


def _prepared(bundle: Bundle) -> str:
    """Digest of all but the weights that changes what a model says: preprocessing, vocabulary, labels."""
    words = bundle.tokenizer.to_json() if bundle.tokenizer else ""
    told = json.dumps([bundle.image_spec.model_dump(mode="json"), words, bundle.labels], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _identity(facts: dict[str, Any]) -> str:
    """The id of a result: what is measured by which limner, wherever model and table lie."""
    named = {name: value for name, value in facts.items() if name not in ("model", "table")}
    told = named | {"limner": limner.__version__, "files": _files_digest(facts["settings"])}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _files_digest(settings: dict[str, Any]) -> dict[str, Any]:
    """Tables and files that settings name, as they are now."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        path = Path(value) if isinstance(value, str) and value else None
        if path and (path / "_versions").is_dir():
            found[name] = Table.open(path).version
        elif path and path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _plain(settings: Config) -> dict[str, Any]:
    values: dict[str, Any] = settings.model_dump(mode="json")
    return values


def _interval(measure: Measure) -> dict[str, float]:
    return {name: value for name, value in measure._asdict().items() if value is not None}


def _write_samples(path: Path, outcome: Outcome) -> None:
    """One line a sample; appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for sample in outcome.samples:
            file.write(json.dumps(sample, ensure_ascii=False, default=_number) + "\n")
    partial.replace(path)


def _number(value: Any) -> Any:
    """What numpy holds, as Python does."""
    return value.tolist()


_CORES: Final = os.cpu_count()


def machine_facts() -> dict[str, Any]:
    """What a reader needs to judge the seconds."""
    facts = {
        "limner": limner.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": _CORES,
        "threads": torch.get_num_threads(),
    }
    return facts | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})
