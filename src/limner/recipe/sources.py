"""Where the samples of a run come from: each kind of source as a config that makes its rows."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from random import Random
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from limner.config import Config, read_toml
from limner.data.boxes import BoxRows
from limner.data.emoji import base_emoji, name_of
from limner.data.emoji_rows import EmojiRows
from limner.data.question_rows import QuestionRows
from limner.data.rows import CaptionChoice, Rows, TableRows
from limner.data.scene_language import captions, questions
from limner.data.scenes import SceneRows, SceneSettings, plan_scene
from limner.data.statement_rows import StatementRows
from limner.data.statements import COLUMN as STATEMENTS
from limner.data.table import Table
from limner.errors import ConfigError, DataError
from limner.shapes import ImageSpec

Unit = Literal["texts", "pictures", "questions", "statements", "boxes"]
"""What a sample is: a picture with a text, a picture, a question about one, a statement about two, a picture
with boxes."""


class ScenesSource(Config):
    """Generated scenes, drawn as they are needed.

    Args:
        kind: "scenes".
        scenes: which family of scenes.
        start: number of the first scene.
        count: how many; one epoch of this source.
        weight: share of the mixture, in any unit.
    """

    kind: Literal["scenes"]
    scenes: SceneSettings = SceneSettings()
    start: int = Field(default=0, ge=0)
    count: int = Field(ge=1)
    weight: float = Field(default=1.0, gt=0)

    def rows(self, spec: ImageSpec, seed: int, unit: Unit = "texts") -> Rows:
        """What a loader reads; of a scene's questions, one."""
        if unit == "statements":
            raise _no_statements(self.kind)
        return SceneRows(self.scenes, self.start, self.count, spec)

    def texts(self) -> Iterator[str]:
        """Captions, questions and answers, from the truth alone: no pixel is drawn."""
        for index in range(self.start, self.start + self.count):
            truth = plan_scene(self.scenes, index).truth
            rng = Random(f"limner texts {self.scenes.seed} {index}")
            yield from captions(truth, rng)
            yield from chain.from_iterable(questions(truth, rng))


_OWN_ROWS: Final[dict[str, Callable[..., Rows]]] = {
    "questions": QuestionRows,
    "statements": StatementRows,
    "boxes": BoxRows,
}


class TableSource(Config):
    """Rows of a pairs table.

    Args:
        kind: "table".
        path: the table.
        texts_column: where captions are: "texts" as people wrote them, "texts_bootstrapped" after CapFilt.
        version: of the table; None is the newest when the run starts.
        augment: what is done to pictures, a name of `limner.data.augment.RECIPES`;
            true is "jitter", false "none".
        where: only rows this SQL filter holds for, such as "split = 'train'".
        captions: of a row with several: "random", another each epoch; "first"; "all", each a sample.
        weight: share of the mixture, in any unit.
    """

    LATER: ClassVar = frozenset({"where", "captions"})

    kind: Literal["table"]
    path: str
    texts_column: str = "texts"
    version: int | None = None
    augment: bool | str = False
    where: str = ""
    captions: CaptionChoice = "random"
    weight: float = Field(default=1.0, gt=0)

    def rows(self, spec: ImageSpec, seed: int, unit: Unit = "texts") -> Rows:
        """What a loader reads; rows without a text only where a sample needs none."""
        augment = ("jitter" if self.augment else "none") if isinstance(self.augment, bool) else self.augment
        if kind := _OWN_ROWS.get(unit):
            return kind(self.path, spec, seed, augment, self.version, self.where or None)
        return TableRows(
            self.path,
            spec,
            seed,
            self.texts_column if unit == "texts" else None,
            augment=augment,
            version=self.version,
            where=self.where or None,
            captions=self.captions,
        )

    def texts(self) -> Iterator[str]:
        """Captions, questions and answers, statements, row by row."""
        table = Table.open(self.path, self.version)
        columns = [self.texts_column, *(name for name in ("questions", STATEMENTS) if table.has(name))]
        for row in chain.from_iterable(table.batches(columns)):
            yield from (text for text in row[self.texts_column] or () if text)
            for asked in row.get("questions") or ():
                yield from (asked["question"], *asked["answers"])
            yield from (one["text"] for one in row.get(STATEMENTS) or ())


class EmojiSource(Config):
    """Every base emoji in two art styles, drawn when asked for.

    Args:
        kind: "emoji".
        weight: share of the mixture, in any unit.
    """

    kind: Literal["emoji"]
    weight: float = Field(default=1.0, gt=0)

    def rows(self, spec: ImageSpec, seed: int, unit: Unit = "texts") -> Rows:
        """What a loader reads."""
        if unit == "statements":
            raise _no_statements(self.kind)
        return EmojiRows(spec, seed)

    def texts(self) -> Iterator[str]:
        """English names, of emoji that no style has drawn yet too."""
        yield from map(name_of, base_emoji())


Source = Annotated[ScenesSource | EmojiSource | TableSource, Field(discriminator="kind")]


Captions = Literal["bootstrapped", "web", "synthetic", "kept-web"]
"""Texts of a cleaned table: all CapFilt kept, all of the web, all written by a model, the web's kept ones."""

CAPTIONS: Final[dict[Captions, str]] = {
    "bootstrapped": "texts_bootstrapped",
    "web": "texts",
    "synthetic": "synthetic",
    "kept-web": "texts_kept",
}
"""The column of each."""


def captioned(sources: Sequence[Source], which: Captions) -> tuple[Source, ...]:
    """The sources, their tables read for another kind of captions.

    Raises: ConfigError when there is no table among them; DataError when one was never cleaned.
    """
    tables = [source for source in sources if isinstance(source, TableSource)]
    if not tables:
        raise ConfigError(
            f"--captions {which} for a recipe without a table", wanted='a source of kind "table"'
        )
    column = CAPTIONS[which]
    for source in tables:
        if not Table.open(source.path, source.version).has(column):
            at = "" if source.version is None else f" (version {source.version})"
            raise DataError(
                f"{source.path}{at} has no column {column!r}: it was never cleaned",
                wanted="a table that CapFilt has been through",
                hint=f"limner capfilt {source.path}",
            )
    return tuple(
        source.model_copy(update={"texts_column": column}) if isinstance(source, TableSource) else source
        for source in sources
    )


def read_view(path: str | Path) -> TableSource:
    """A source written by `limner capfilt --as-view`; its path is seen from the file.

    Raises: ConfigError when the file is missing or says something else.
    """
    view = read_toml(path, TableSource)
    return view.model_copy(update={"path": str(Path(path).parent / view.path)})


def _no_statements(kind: str) -> ConfigError:
    return ConfigError(
        f"a source of kind {kind!r} for statements about two pictures",
        wanted='kind = "table"',
        hint="limner.data.scene_table.build_scenes_table makes one of scenes, statements included",
    )
