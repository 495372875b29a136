"""Scenes as a pairs table: all ground truth in columns, and noise of known truth when asked."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from PIL import Image
from pydantic import Field

from limner.config import Config
from limner.data.emoji import LICENCES, Progress, drawn_columns, split_of
from limner.data.scene_language import Scenery, captions, nouns_in
from limner.data.scene_pairs import Pairing
from limner.data.scenes import Scene, SceneSettings, plan_scene, scene
from limner.data.statements import STATEMENT
from limner.data.table import SCHEMA, Table
from limner.errors import DataError

_OBJECT = pa.struct([("concept", pa.string()), ("colour", pa.string())])

_FOREIGN = ("图片", "foto", "sin título", "Bild", "写真", "sans titre", "изображение", "obraz")


class NoiseSettings(Config):
    """How web text is spoiled.

    Args:
        swapped: share of rows whose text belongs to another picture and is wrong for this one, [0, 1].
        junk: share of rows whose text says nothing: a file name, nothing at all, "nan", a foreign word.
        seed: of the choice.
    """

    swapped: float = Field(default=0.30, ge=0, le=1)
    junk: float = Field(default=0.05, ge=0, le=1)
    seed: int = 0


def scenes_schema(noise: NoiseSettings | None = None) -> pa.Schema:
    """Columns of a scenes table: those of every pairs table and the ground truth.

    Args:
        noise: when given, a column `truth` says of each text whether it is "clean", "swapped" or "junk".
    """
    extra = [("objects", pa.list_(_OBJECT)), ("ground", pa.string()), ("statements", pa.list_(STATEMENT))]
    return pa.schema([*SCHEMA, *extra, *([("truth", pa.list_(pa.string()))] if noise else [])])


def build_scenes_table(
    out: str | Path,
    settings: SceneSettings,
    start: int,
    count: int,
    noise: NoiseSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Table:
    """Make a table of scenes.

    Args:
        out: folder of the new table.
        settings: which family of scenes.
        start: number of the first scene.
        count: rows, two or more.
        noise: None keeps all captions of each scene; otherwise each row has one web text, perhaps spoiled.
        overwrite: replace what is there.
        progress: called with (rows done, rows in all).
    Raises: DataError when `count` is below two, `out` exists and `overwrite` is False, or no other scene's
        text is wrong for a picture.
    """
    if count < 2:
        raise DataError(f"a scenes table of {count} row(s)", wanted="2 rows or more, to pair and to swap")
    truths = [plan_scene(settings, number).truth for number in range(start, start + count)]
    pairing = Pairing(truths)
    web = web_texts(truths, noise) if noise else None

    def rows() -> Iterator[dict[str, Any]]:
        for row in range(count):
            made = _row(scene(settings, start + row), settings) | _paired(pairing, row, settings, start)
            if web:
                made |= {"texts": [web[row][0]], "truth": [web[row][1]]}
            yield made
            if progress:
                progress(row + 1, count)

    def batches(size: int = 256) -> Iterator[pa.RecordBatch]:
        pending = rows()
        while part := list(islice(pending, size)):
            yield pa.RecordBatch.from_pylist(part, schema=schema)

    schema = scenes_schema(noise)
    return Table.write(out, batches(), schema, overwrite=overwrite, note="scenes")


def _row(made: Scene, settings: SceneSettings) -> dict[str, Any]:
    return drawn_columns(Image.fromarray(made.image)) | {
        "key": made.key,
        "texts": made.captions,
        "split": split_of(made.key),
        "source": made.style,
        "licence": LICENCES[made.style],
        "questions": [{"question": question, "answers": [answer]} for question, answer in made.questions],
        "boxes": [
            dict(zip(("x0", "y0", "x1", "y1"), thing.box, strict=True)) | {"label": thing.concept}
            for thing in made.truth.things
        ],
        "objects": [{"concept": t.concept, "colour": t.colour or None} for t in made.truth.things],
        "ground": made.truth.ground,
    }


def _paired(pairing: Pairing, row: int, settings: SceneSettings, start: int) -> dict[str, Any]:
    rng = Random(f"limner statements {settings.seed} {start} {row}")
    return {
        "statements": [
            {"other_key": f"scene-{settings.seed}-{start + s.other}", "text": s.text, "truth": s.truth}
            for s in pairing.statements(row, rng)
        ]
    }


def web_texts(truths: list[Scenery], noise: NoiseSettings) -> list[tuple[str, str]]:
    """One text for each scene, some of them spoiled.

    Args:
        truths: of the scenes.
        noise: shares and seed; the counts of spoiled rows are exact.
    Returns: (text, "clean" | "swapped" | "junk") for each scene.
    Raises: DataError when every caption here is right for some picture that should get a wrong one.
    """
    rng = Random(f"limner noise {noise.seed}")
    clean = [rng.choice(captions(truth, rng)) for truth in truths]
    order = rng.sample(range(len(truths)), len(truths))
    swapped = order[: round(noise.swapped * len(truths))]
    junk = order[len(swapped) :][: round(noise.junk * len(truths))]
    texts = [(text, "clean") for text in clean]
    for row in swapped:
        texts[row] = (_wrong(clean, truths[row], rng), "swapped")
    for row in junk:
        texts[row] = (_junk(rng), "junk")
    return texts


def _wrong(clean: list[str], truth: Scenery, rng: Random) -> str:
    """Another picture's caption that names something which is not in this one."""
    present = {thing.concept for thing in truth.things}
    for _ in range(1000):
        text = rng.choice(clean)
        if nouns_in(text) - present:
            return text
    raise DataError("no other scene has a caption that is wrong here", wanted="scenes of more concepts")


def _junk(rng: Random) -> str:
    kind = math.floor(rng.random() * 4)
    return (f"IMG_{math.floor(1000 + 9000 * rng.random())}", "", "nan", rng.choice(_FOREIGN))[kind]
