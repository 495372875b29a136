"""The schema of a recipe: its sections, their defaults, and what must fit together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from limner.config import Config, digest, read_toml
from limner.data.scenes import SceneSettings
from limner.evaluate.scenes import SuiteSettings
from limner.recipe.sources import ScenesSource, Source
from limner.train.optim import OptimSettings
from limner.train.settings import MachineSettings, TrainSettings
from limner.train.steps import (
    BagOfWordsSettings,
    ClassificationSettings,
    ContrastiveSettings,
    ConVIRTSettings,
    DetectionSettings,
    ICMLMSettings,
    MaskedPatchSettings,
    NGramsSettings,
    NLVR2Settings,
    ObjectiveSettings,
    VirTexSettings,
    VQASettings,
)


class ModelSettings(Config):
    """[model]: what is trained.

    Args:
        name: key of `MODELS`.
        start: model to go on from with its tokenizer and sizes, "limner_tiny", a folder, a weight file of a
            BLIP or a name of the hub; "" starts afresh. A detector may start from a ResNet: `name` and
            `settings` then say what is built on it.
        start_digest: of that bundle's weights; filled in when the run starts, and checked if it is given.
        settings: sizes that differ from those of `MODELS`, nested as the model's config is.
        image_size: side of the input, pixels, when not the model's own; 0 leaves it. Positions of a start are
            interpolated.
        vision_start: model whose ViT the image encoder goes on from, whatever `limner inspect` knows; heads
            start afresh.
        vision_start_digest: as `start_digest`.
        text_start: BERT that a BLIP's text towers go on from, with its vocabulary and its sizes: a folder of
            transformers or a name of the hub. `settings.text.depth` takes its first layers.
        text_start_digest: as `start_digest`.
    """

    LATER: ClassVar = frozenset(
        {"image_size", "vision_start", "vision_start_digest", "text_start", "text_start_digest"}
    )

    name: str = "limner_tiny"
    start: str = ""
    start_digest: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    image_size: int = Field(default=0, ge=0)
    vision_start: str = ""
    vision_start_digest: str = ""
    text_start: str = ""
    text_start_digest: str = ""

    @field_validator("image_size")
    @classmethod
    def _large_enough(cls, size: int) -> int:
        if 0 < size < 8:
            raise ValueError(f"image_size {size}: give at least 8 pixels, or 0 for the model's own")
        return size


class DataSettings(Config):
    """[data]: where samples come from.

    Args:
        sources: one table a source; mixed by weight.
        max_tokens: longest text, start and end tokens included; longer ones are cut.
        bucket_batches: sort texts by length within windows of so many batches, so that batches hold less
            padding; 0 does not. Tables only.
        labels: classes in the order of the logits; filled in from the tables' label column when the run
            starts, and empty where nothing is classified.
    """

    LATER: ClassVar = frozenset({"bucket_batches", "labels"})

    sources: tuple[Source, ...] = Field(min_length=1)
    max_tokens: int = Field(default=32, ge=4)
    bucket_batches: int = Field(default=0, ge=0)
    labels: tuple[str, ...] = ()


class TokenizerSettings(Config):
    """[tokenizer]: the vocabulary, unless the model has one already.

    BLIP's WordPiece is grown from the sources' texts; CLIP's is the first of its own merges, 49,408 tokens
    when all are taken.

    Args:
        vocab_size: most tokens; there are fewer when the texts need fewer.
        texts: how many texts of each source are read.
    """

    vocab_size: int = Field(default=1500, ge=64)
    texts: int = Field(default=50_000, ge=1)


class EvaluatedTable(Config):
    """[[evaluate.tables]]: held-out rows; classes are named, texts and pictures found, pictures captioned.

    Args:
        path: the table.
        name: of the measures, `name/top1`; "" is the table's own.
        where: only rows this SQL filter holds for, such as "split = 'val'".
        texts_column: where the true texts are.
        count: the first so many rows; 0 is all.
        version: of the table; None is the newest when the run starts.
        captions: a BLIP captions the pictures too.
        rerank: candidates that a BLIP ranks again by ITM; 0 is by cosine alone.
    """

    path: str
    name: str = ""
    where: str = ""
    texts_column: str = "texts"
    count: int = Field(default=0, ge=0)
    version: int | None = None
    captions: bool = True
    rerank: int = Field(default=0, ge=0)


class EvaluateSettings(Config):
    """[evaluate]: held-out measures, every `train.evaluate_every` steps.

    Args:
        scenes: which family of scenes; take a seed that no source has.
        start: number of the first scene.
        count: how many scenes; 0 measures nothing on scenes. BLIPs only.
        suite: how they are used.
        tables: rows of tables to measure on.
    """

    LATER: ClassVar = frozenset({"tables"})

    scenes: SceneSettings = SceneSettings(seed=1)
    start: int = Field(default=0, ge=0)
    count: int = Field(default=400, ge=0)
    suite: SuiteSettings = SuiteSettings()
    tables: tuple[EvaluatedTable, ...] = ()


def _kind(value: Any) -> str:
    return str(value.get("kind", "blip") if isinstance(value, dict) else value.kind)


Objective = Annotated[
    Annotated[ObjectiveSettings, Tag("blip")]
    | Annotated[ClassificationSettings, Tag("classification")]
    | Annotated[ContrastiveSettings, Tag("contrastive")]
    | Annotated[MaskedPatchSettings, Tag("masked_patch")]
    | Annotated[DetectionSettings, Tag("detection")]
    | Annotated[VQASettings, Tag("vqa")]
    | Annotated[NLVR2Settings, Tag("nlvr2")]
    | Annotated[BagOfWordsSettings, Tag("bag_of_words")]
    | Annotated[NGramsSettings, Tag("ngrams")]
    | Annotated[VirTexSettings, Tag("virtex")]
    | Annotated[ICMLMSettings, Tag("icmlm")]
    | Annotated[ConVIRTSettings, Tag("convirt")],
    Discriminator(_kind),
]
"""[objective]: what is learnt; `kind` tells which, "blip" where nothing is said."""


_UNCUT: Final = {
    **dict.fromkeys(("blip", "contrastive", "convirt"), "needs every pair of a batch"),
    **dict.fromkeys(
        ("bag_of_words", "ngrams", "virtex", "icmlm"),
        "is a mean over what its captions hold, to which parts of equal rows do not add up",
    ),
}
"""Kinds whose loss of a batch is not the mean of those of its rows, and why."""


class Recipe(Config):
    """A whole run: one section a concern, each a config of its own.

    Args:
        model: what is trained.
        data: where samples come from.
        tokenizer: the vocabulary.
        objective: what is learnt, by `kind`.
        optim: optimiser and schedule.
        train: how long, how much at once, what is written when.
        evaluate: held-out measures.
        machine: where to run and for how long.
    """

    model: ModelSettings = ModelSettings()
    data: DataSettings
    tokenizer: TokenizerSettings = TokenizerSettings()
    objective: Objective = ObjectiveSettings()
    optim: OptimSettings = OptimSettings()
    train: TrainSettings
    evaluate: EvaluateSettings = EvaluateSettings()
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        batch, objective = self.train.batch_size, self.objective
        if isinstance(objective, ObjectiveSettings):
            queue = objective.queue_size
            if objective.teacher == "momentum" and queue % batch:
                raise ValueError(f"objective.queue_size {queue} is no multiple of train.batch_size {batch}")
        if self.train.micro_batch and (reason := _UNCUT.get(objective.kind)):
            knob = "objective.part" if isinstance(objective, ContrastiveSettings) else "train.batch_size"
            raise ValueError(f"train.micro_batch: a {objective.kind} loss {reason}; set {knob} instead")
        if self.model.start and self.model.settings and objective.kind != "detection":
            raise ValueError("model.start keeps the sizes of its bundle, so model.settings must be empty")
        if self.model.start and (self.model.vision_start or self.model.text_start):
            raise ValueError("model.start has all towers: leave out model.vision_start and model.text_start")
        if self.model.text_start and not isinstance(objective, ObjectiveSettings):
            raise ValueError(
                f'model.text_start is for objective.kind "blip", not {objective.kind!r}; a CLIP that '
                'reads with a BERT is a BLIP with model.settings.heads = ["itc"], objective.itm = lm = qa = 0'
            )
        for source in self.data.sources:
            if isinstance(source, ScenesSource) and self._overlaps(source):
                raise ValueError(
                    f"evaluate would measure on scenes of seed {source.scenes.seed} that are trained on; "
                    "give it another evaluate.scenes.seed or evaluate.start"
                )
        return self

    def _overlaps(self, source: ScenesSource) -> bool:
        held_out = self.evaluate
        return (
            held_out.count > 0
            and source.scenes.seed == held_out.scenes.seed
            and source.start < held_out.start + held_out.count
            and held_out.start < source.start + source.count
        )

    @property
    def digest(self) -> str:
        """12 hex digits that name the run; `[machine]` has no part in them."""
        return digest(self.model_copy(update={"machine": MachineSettings()}))


def read(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe from TOML, with `section.key=value` overrides.

    Raises: ConfigError when the file is missing or a value does not fit.
    """
    return read_toml(path, Recipe, overrides)
