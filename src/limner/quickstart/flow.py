"""The quickstart: noisy pairs of known truth, CapFilt, two trainings, one page. Safe to stop, cheap to
repeat.

OUT/tables/{emoji,scenes,heldout}.lance   OUT/runs/{raw,cleaned}/   OUT/records.jsonl   OUT/report.html
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import Field

from limner import recipe as recipes
from limner.capfilt.audit import audit
from limner.capfilt.pipeline import run as run_capfilt
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import DEFAULT, Bundle, load
from limner.config import Config
from limner.data.table import Table
from limner.errors import CheckpointError, ConfigError, DataError
from limner.quickstart.heldout import compare, measure, measures_of, read_held_out
from limner.quickstart.stages import Facts, Stages, Teller, environment
from limner.quickstart.tables import is_correct, make_tables, tables_stand, with_truth_of_synthetic
from limner.record import Recorder, read_records
from limner.report.page import PAGE_NAME, write_page
from limner.train.optim import OptimSettings
from limner.train.settings import TrainSettings
from limner.train.steps import ObjectiveSettings

FOLDERS: Final = ("tables", "runs")
"""What a quickstart keeps beside its records."""


class QuickstartSettings(Config):
    """What the quickstart does.

    Args:
        seed: of pictures, noise, captions and training.
        rows: pictures of the noisy table.
        held_out: pictures of the clean table that models are measured on.
        steps: of each fine-tuning.
        batch_size: of each fine-tuning.
        model: the start of both, the captioner and the filter.
    """

    seed: int = Field(default=0, ge=0)
    rows: int = Field(default=2000, ge=64)
    held_out: int = Field(default=400, ge=100)
    steps: int = Field(default=200, ge=1)
    batch_size: int = Field(default=32, ge=2)
    model: str = DEFAULT


class QuickstartResult(NamedTuple):
    """What came out; every number is a record too.

    Args:
        out: the folder.
        page: the report.
        ledger: of CapFilt.
        audit: CapFilt against the truth.
        held_out: model → measure → value and interval.
        comparisons: cleaned − raw, one entry a measure.
        seconds: of this command, by stage; 0 where an earlier run was reused.
    """

    out: Path
    page: Path
    ledger: dict[str, Any]
    audit: dict[str, Any]
    held_out: dict[str, Any]
    comparisons: list[dict[str, Any]]
    seconds: dict[str, float]


def run(settings: QuickstartSettings, out: Path, teller: Teller, *, force: bool = False) -> QuickstartResult:
    """Do the main job on generated pictures.

    Args:
        settings: what to do.
        out: a new folder, or one that an earlier quickstart left.
        teller: hears how far things are.
        force: do every stage again.
    Raises: ConfigError when `out` holds something else; KeyboardInterrupt when training was stopped, and the
        same call goes on.
    """
    claim(out, force=force)
    bundle = load(settings.model)
    job = _Quickstart(settings, out, bundle, teller)
    job.recorder.write("quickstart", **settings.model_dump(), digest=bundle.digest, out=str(out))
    job.recorder.write("environment", **environment())
    return job.result()


def claim(out: Path, *, force: bool, kind: str = "quickstart", folders: Sequence[str] = FOLDERS) -> None:
    """Make sure that a folder is new, empty or ours, and empty it when all is to be done again.

    Args:
        out: the folder.
        force: all is to be done again.
        kind: of the record that says whose it is.
        folders: what is removed then, besides records and page.
    Raises: ConfigError when it holds something else.
    """
    records = out / "records.jsonl"
    ours = records.exists() and any(r["kind"] == kind for r in read_records(records))
    if out.exists() and not ours and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no {kind}", wanted="a new folder", hint="--out NEW")
    if ours and force:
        for name in folders:
            shutil.rmtree(out / name, ignore_errors=True)
        for name in (PAGE_NAME, "records.jsonl"):
            (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


class _Quickstart:
    """The stages, in order, with what they hand on."""

    def __init__(self, settings: QuickstartSettings, out: Path, bundle: Bundle, teller: Teller) -> None:
        self.settings, self.out, self.bundle, self.teller = settings, out, bundle, teller
        self.recorder = Recorder(out / "records.jsonl")
        self.stages = Stages(self.recorder, teller)
        self.tables = {name: out / "tables" / f"{name}.lance" for name in ("emoji", "scenes", "heldout")}

    def result(self) -> QuickstartResult:
        """Run every stage."""
        seed, rows, steps = self.settings.seed, self.settings.rows, self.settings.steps
        model = self.bundle.digest
        made = self.stages.run(
            "tables",
            "Sample tables",
            {"seed": seed, "rows": rows, "held_out": self.settings.held_out},
            self._make_tables,
            lambda facts: tables_stand(self.tables, facts),
        )
        self.recorder.write("noise", **made["noise"])
        self.recorder.write("table", path=str(self.tables["scenes"].relative_to(self.out)), rows=rows)
        cleaned = self._capfilt({"tables": made["fingerprints"], "model": model, "seed": seed})
        training = {"steps": steps, "batch_size": self.settings.batch_size, "seed": seed, "model": model}
        runs = {
            "raw": self._train("raw", "texts", made["version"], training | {"tables": made["fingerprints"]}),
            "cleaned": self._train("cleaned", "texts_bootstrapped", cleaned["version"], training | cleaned),
        }
        found = self.stages.run(
            "heldout",
            "Measuring on held-out pictures",
            {"models": {"start": model} | {name: facts["digest"] for name, facts in runs.items()}}
            | {"tables": made["fingerprints"], "seed": seed},
            self._measure,
        )
        page = self._report()
        done = read_records(self.recorder.path, "stage")[-6:]
        return QuickstartResult(
            self.out,
            page,
            cleaned["ledger"],
            cleaned["audit"],
            found["models"],
            found["comparisons"],
            {record["name"]: record["seconds"] for record in done},
        )

    # ------------------------------------------------------------ tables

    def _make_tables(self) -> Facts:
        return make_tables(
            self.tables, self.settings.seed, self.settings.rows, self.settings.held_out, self.teller
        )

    # ------------------------------------------------------------ CapFilt

    def _capfilt(self, inputs: Facts) -> Facts:
        """Clean, then hold the decisions against the truth; both only where it was not done before."""

        def work() -> Facts:
            with self.teller.bar("CapFilt") as progress:
                settings = CapFiltSettings(seed=self.settings.seed)
                table = Table.open(self.tables["scenes"])
                done = run_capfilt(table, self.bundle, self.bundle, settings, self.recorder, progress)
            if done.reused in ("part", "all"):
                self.teller.say("CapFilt: went on from the pictures an earlier run had done")
            audited = with_truth_of_synthetic(done.table)
            found = self.recorder.write("audit", **audit(audited, is_correct))
            numbers = {name: value for name, value in found.items() if name not in ("kind", "time")}
            return {
                "version": audited.version,
                "ledger": done.ledger.model_dump(mode="json"),
                "audit": numbers,
            }

        return self.stages.run("capfilt", "CapFilt and its audit", inputs, work, self._cleaned_stands)

    def _cleaned_stands(self, facts: Facts) -> bool:
        try:
            return Table.open(self.tables["scenes"], facts["version"]).has("truth_synthetic")
        except DataError:
            return False

    # ------------------------------------------------------------ training

    def _train(self, name: str, column: str, version: int, inputs: Facts) -> Facts:
        folder = self.out / "runs" / name
        recipe = recipes.resolve(self._recipe(column, version))

        def work() -> Facts:
            self.teller.say(f"fine-tuning on the {name} table: {recipe.train.steps} steps")
            trained(recipe, folder, self.teller)
            return {"digest": load(folder).digest, "recipe": recipe.digest}

        facts = self.stages.run(
            f"train_{name}",
            f"Fine-tuning on the {name} table",
            inputs | {"recipe": recipe.digest},
            work,
            lambda facts: model_digest(folder) == facts["digest"],
        )
        self.recorder.write("training", name=name, path=str(folder.relative_to(self.out)))
        return facts

    def _recipe(self, column: str, version: int) -> recipes.Recipe:
        steps = self.settings.steps
        source = recipes.TableSource(
            kind="table", path=str(self.tables["scenes"].resolve()), texts_column=column, version=version
        )
        return recipes.Recipe(
            model=recipes.ModelSettings(start=self.settings.model),
            data=recipes.DataSettings(sources=(source,)),
            objective=ObjectiveSettings(teacher="none", alpha=0, queue_size=0, qa=0),
            optim=OptimSettings(lr=3e-4, warmup_steps=min(20, steps // 4), average=0.98),
            train=TrainSettings(
                steps=steps,
                batch_size=self.settings.batch_size,
                seed=self.settings.seed,
                log_every=max(1, steps // 20),
                evaluate_every=steps,
                checkpoint_every=max(1, steps // 2),
                keep=1,
            ),
            evaluate=recipes.EvaluateSettings(count=0),
        )

    # ------------------------------------------------------------ measuring and telling

    def _measure(self) -> Facts:
        data = read_held_out(Table.open(self.tables["heldout"]), self.bundle.image_spec)
        bundles = {"start": self.bundle} | {
            name: load(self.out / "runs" / name) for name in ("raw", "cleaned")
        }
        each = {}
        for name, bundle in bundles.items():
            with self.teller.bar(f"measuring {name}") as progress:
                each[name] = measure(bundle, data, progress)
        seed = self.settings.seed
        models = {name: measures_of(values, seed) for name, values in each.items()}
        for name, measures in models.items():
            self.recorder.write("heldout", model=name, rows=len(data.images), measures=measures)
        comparisons = compare(each["cleaned"], each["raw"], seed)
        for comparison in comparisons:
            self.recorder.write("comparison", **comparison)
        return {"models": models, "comparisons": comparisons}

    def _report(self) -> Path:
        """The page, made again each time: it is cheap, and its records may be new."""

        def work() -> Facts:
            return {"page": write_page(self.out).name}

        facts = self.stages.run("report", "Report", {}, work, lambda facts: False)
        return self.out / str(facts["page"])


def trained(recipe: recipes.Recipe, folder: Path, teller: Teller) -> None:
    """Train a recipe, going on where it stopped; a run of another recipe in the folder makes way.

    Raises: KeyboardInterrupt when it was stopped.
    """
    recipe, there = recipes.resolve(recipe), folder / "recipe.toml"
    if there.exists() and recipes.read(there).digest != recipe.digest:
        shutil.rmtree(folder)
    done = recipes.run(recipe, folder, resume=folder.exists(), report=teller.say)
    if done.model is None:
        raise KeyboardInterrupt


def model_digest(folder: Path) -> str | None:
    """Digest of the model in a run folder, None when there is none that is whole."""
    try:
        return load(folder).digest
    except CheckpointError:
        return None
