"""CapFilt's ablations at a small scale: every arm trained from scratch by the normal loop, every seed its own
world, every claim of the paper held against the differences.

Of each seed: the arm `none` learns noisy web pairs and a small clean set. A captioner (LM), a filter (ITC and
ITM) and both in one are tuned on the clean set; CapFilt cleans the web pairs with them; each further arm
learns its own texts from scratch, with the clean set, for as many steps; all are measured on clean pairs that
nobody saw.

Source: Li et al. 2022, BLIP (arXiv 2201.12086), section 4 and tables 1 to 4.
Differs: emoji scenes instead of photos; models are measured as they are, the paper's were fine-tuned on COCO;
captioner and filter go on from limner_tiny, since a model that learns for minutes from noisy pairs does not
get as far as matching. `start = ""` lets them go on from `none`, as in the paper. The filter's threshold is
calibrated on web texts of known truth: with few concepts most hard negatives of its tuning are true, and
one half, where the paper cuts, drops most good texts. `labelled = 0` cuts there.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from pydantic import Field, field_validator
from pydantic_core import to_jsonable_python

from limner.checkpoint import DEFAULT, load
from limner.config import Config
from limner.data.table import Table
from limner.quickstart.flow import claim, model_digest, trained
from limner.quickstart.heldout import measure, read_held_out
from limner.quickstart.stages import Facts, Stages, Teller, environment
from limner.record import Recorder
from limner.report.study import StudyPage, write_study
from limner.studies.blip_cleaning import CAPTIONED, DECODINGS, FILTERED, cleaned
from limner.studies.blip_paper import ARMS, CLAIMS, PAPER, RAW, Arm, Cleaning
from limner.studies.blip_recipes import ModelSizes, Source, Training, scratch, tuned
from limner.studies.blip_world import World, WorldSettings, has_version, make_world, pairs_in
from limner.studies.claims import Measured, judged, summed_up


class CapFiltStudy(Config):
    """The size of the study.

    Args:
        seeds: worlds, each with models of its own; intervals need two or more.
        arms: names of `ARMS`; "none" is always there.
        world: the pairs.
        sizes: of the model.
        labelled: web texts whose truth sets the threshold; 0 cuts at one half, as the paper does.
        precision: of kept texts, as far as the labels can tell.
        start: model that captioner and filter go on from; "" is the arm "none" of their seed.
        steps: of each training from scratch.
        tune_steps: of captioner and filter.
        batch_size: of all trainings.
        lr: peak learning rate from scratch.
        tune_lr: of captioner and filter.
        threads: of the CPU.
    """

    seeds: int = Field(default=3, ge=1)
    arms: tuple[str, ...] = (RAW, "filter", "captioner", "both", "beam", "shared")
    world: WorldSettings = WorldSettings()
    sizes: ModelSizes = ModelSizes()
    labelled: int = Field(default=200, ge=0)
    precision: float = Field(default=0.9, gt=0, lt=1)
    start: str = DEFAULT
    steps: int = Field(default=400, ge=1)
    tune_steps: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=2)
    lr: float = Field(default=3e-3, gt=0)
    tune_lr: float = Field(default=3e-4, gt=0)
    threads: int = Field(default=1, ge=0)

    @field_validator("arms")
    @classmethod
    def _known(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [arm for arm in arms if arm not in ARMS]:
            raise ValueError(f"no arm {unknown[0]!r}; there are {', '.join(ARMS)}")
        return tuple(arm for arm in ARMS if arm in (RAW, *arms))


SMALL: Final = CapFiltStudy(
    seeds=2,
    world=WorldSettings(web=24, clean=8, test=8),
    sizes=ModelSizes(width=32),
    labelled=0,
    start="",
    steps=2,
    tune_steps=2,
    batch_size=8,
)
"""A study that ends in seconds and shows nothing but that everything runs."""


class StudyResult(NamedTuple):
    """What came out; every number is a record too.

    Args:
        out: the folder.
        page: the report.
        means: a row an arm and measure, see `summed_up`.
        verdicts: a row a claim and measure, see `judged`.
        cleanings: seed → pass of CapFilt → what it did.
        cpu_s: seconds of CPU that the cells took, over all runs of the study.
    """

    out: Path
    page: Path
    means: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]
    cleanings: dict[int, dict[str, Facts]]
    cpu_s: float


def run(settings: CapFiltStudy, out: Path, teller: Teller, *, force: bool = False) -> StudyResult:
    """Run the study, or go on with it.

    Args:
        settings: its size.
        out: a new folder, or one that an earlier run of a study left: cells that are done are reused.
        teller: hears how far things are.
        force: do every cell again.
    Raises: ConfigError when `out` holds something else; KeyboardInterrupt when a training was stopped, and
        the same call goes on.
    """
    claim(out, force=force, kind="study", folders=[f"seed{seed}" for seed in range(settings.seeds)])
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    recorder = Recorder(out / "records.jsonl")
    recorder.write("study", name="blip capfilt", settings=settings.model_dump(mode="json"))
    recorder.write("environment", **environment())
    stages = Stages(recorder, teller)
    measured: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in settings.arms}
    cleanings: dict[int, dict[str, Facts]] = {}
    spent = 0.0
    for seed in range(settings.seeds):
        one = _Seed(settings, seed, out / f"seed{seed}", stages, teller)
        for arm, cell in one.cells().items():
            measured[arm][seed] = cell["measures"]
        cleanings[seed] = one.cleanings
        spent += one.spent
    return _told(settings, out, recorder, measured, cleanings, spent)


def _told(
    settings: CapFiltStudy,
    out: Path,
    recorder: Recorder,
    measured: Measured,
    cleanings: dict[int, dict[str, Facts]],
    spent: float,
) -> StudyResult:
    """Sum up, judge, and write the page."""
    means, verdicts = summed_up(measured), judged(CLAIMS, measured, PAPER)
    for row in means:
        recorder.write("mean", **row, paper=PAPER[row["arm"]].get(row["measure"]))
    for row in verdicts:
        recorder.write("verdict", **row)
    page = StudyPage(
        title="CapFilt, arm by arm",
        lead=_lead(settings),
        arms={name: ARMS[name].text for name in settings.arms},
        paper=PAPER,
        measured=measured,
        means=means,
        verdicts=verdicts,
        cleanings=cleanings,
    )
    return StudyResult(out, write_study(out, page), means, verdicts, cleanings, round(spent, 1))


def _lead(settings: CapFiltStudy) -> str:
    world = settings.world
    noise = world.swapped + world.junk
    cut = "one half"
    if settings.labelled:
        cut = f"set by {settings.labelled:,} labelled rows, for {settings.precision:.0%} of kept texts right"
    return (
        f"{settings.seeds} seed(s). Of each: {world.web:,} web pairs, {noise:.0%} of them noise; "
        f"{world.clean:,} clean pictures; every model trained from scratch for {settings.steps:,} steps of "
        f"{settings.batch_size}, and measured on {world.test:,} clean pictures. The filter's "
        f"threshold is {cut}."
    )


class _Seed:
    """The cells of one seed, in the order in which they need each other."""

    def __init__(
        self, settings: CapFiltStudy, seed: int, folder: Path, stages: Stages, teller: Teller
    ) -> None:
        self.settings, self.seed, self.folder = settings, seed, folder
        self.stages, self.teller = stages, teller
        self.world = World.under(folder / "tables")
        self.cleanings: dict[str, Facts] = {}
        self.models: dict[str, str] = {}  # digests of what was tuned
        self.spent = 0.0

    def cells(self) -> dict[str, Facts]:
        """Arm → its facts."""
        data = self._stage("tables", {"world": self.settings.world}, self._make, self._tables_stand)
        found = {RAW: self._cell(RAW, data)}
        for name in self.settings.arms[1:]:
            cleaning = ARMS[name].cleaning
            if cleaning and cleaning not in self.cleanings:
                self.cleanings[cleaning] = self._cleaned(cleaning, data, found[RAW])
            found[name] = self._cell(name, data)
        return found

    def _stage(
        self,
        name: str,
        inputs: Facts,
        work: Callable[[], Facts],
        valid: Callable[[Facts], bool] = lambda facts: True,
    ) -> Facts:
        """A stage of this seed, with the CPU seconds it took among its facts."""

        def timed() -> Facts:
            began = time.process_time()
            return work() | {"cpu_s": round(time.process_time() - began, 2)}

        inputs = to_jsonable_python(inputs | {"seed": self.seed})
        facts = self.stages.run(f"{self.seed}/{name}", f"seed {self.seed}, {name}", inputs, timed, valid)
        self.spent += facts["cpu_s"]
        return facts

    # ------------------------------------------------------------ tables

    def _make(self) -> Facts:
        return make_world(self.world, self.settings.world, self.seed)

    def _tables_stand(self, facts: Facts) -> bool:
        return all(
            has_version(getattr(self.world, name), version) for name, version in facts["versions"].items()
        )

    # ------------------------------------------------------------ training

    def _training(self) -> Training:
        asked = self.settings
        return Training(asked.sizes, asked.steps, asked.batch_size, asked.lr, self.seed)

    def _cell(self, name: str, data: Facts) -> Facts:
        """Train an arm from scratch and measure it."""
        arm, folder = ARMS[name], self.folder / "runs" / name
        cleaning = self.cleanings.get(arm.cleaning)
        version = cleaning["version"] if cleaning else data["versions"]["web"]
        inputs = {"tables": data["fingerprints"], "training": self._training()}
        inputs |= {"arm": arm._asdict(), "cleaning": cleaning and cleaning["models"]}
        inputs |= self._rule() if arm.column in FILTERED else {}

        def work() -> Facts:
            web = self._source(arm, version)
            sources = tuple(source for source in (web, self._clean()) if source.pairs)
            trained(scratch(self._training(), sources, arm.sharing), folder, self.teller)
            bundle = load(folder)
            each = measure(bundle, read_held_out(Table.open(self.world.test), bundle.image_spec))
            values = {measure: float(numbers.mean()) for measure, numbers in each.items()}
            # a threshold by labels stands at a tenth of the scores: the share is then the rule's
            if cleaning and arm.column == "texts_bootstrapped" and not self.settings.labelled:
                values["filtered"] = cleaning["filtered"]
            return {"digest": bundle.digest, "measures": values, "pairs": web.pairs}

        def stands(facts: Facts) -> bool:
            return name != RAW or model_digest(folder) == facts["digest"]

        return self._stage(name, inputs, work, stands)

    def _source(self, arm: Arm, version: int) -> Source:
        pairs = pairs_in(Table.open(self.world.web, version), arm.column)
        return Source(self.world.web, version, arm.column, pairs)

    def _clean(self) -> Source:
        table = Table.open(self.world.clean)
        return Source(self.world.clean, table.version, "texts", pairs_in(table, "texts"))

    # ------------------------------------------------------------ CapFilt

    def _cleaned(self, cleaning: Cleaning, data: Facts, raw: Facts) -> Facts:
        """Tune captioner and filter where that was not done, and clean the web pairs."""
        parts = ("shared",) if cleaning == "shared" else ("captioner", "filter")
        for part in parts:
            self.models[part] = self.models.get(part) or self._tuned(part, data, raw)
        digests = {part: self.models[part] for part in parts}
        inputs = {"models": digests, "decoding": DECODINGS[cleaning], "tables": data["fingerprints"]}
        inputs |= self._rule()

        def work() -> Facts:
            bundles = [load(self.folder / "tuned" / part) for part in parts]
            with self.teller.bar(f"CapFilt, {cleaning}") as progress:
                rule = self._rule()
                return cleaned(self.world.web, bundles, cleaning, self.seed, **rule, progress=progress)

        facts = self._stage(f"capfilt/{cleaning}", inputs, work, self._cleaned_stands)
        return facts | {"models": digests}

    def _rule(self) -> Facts:
        asked = self.settings
        return {"labelled": asked.labelled, "precision": asked.precision} if asked.labelled else {}

    def _tuned(self, part: str, data: Facts, raw: Facts) -> str:
        """Tune a model on the clean set; returns its digest."""
        folder = self.folder / "tuned" / part
        asked, start = self.settings, self.settings.start or str(self.folder / "runs" / RAW)
        training = self._training()._replace(steps=asked.tune_steps, lr=asked.tune_lr)
        digest = load(start).digest if asked.start else raw["digest"]
        inputs = {"start": digest, "training": training, "tables": data["fingerprints"]["clean"]}

        def work() -> Facts:
            trained(tuned(training, start, self._clean(), part), folder, self.teller)
            return {"digest": load(folder).digest}

        facts = self._stage(
            f"tune/{part}", inputs, work, lambda facts: model_digest(folder) == facts["digest"]
        )
        return str(facts["digest"])

    def _cleaned_stands(self, facts: Facts) -> bool:
        return has_version(self.world.web, facts["version"], CAPTIONED)
