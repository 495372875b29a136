"""The small world of the CapFilt study: web pairs of known noise, a clean set in COCO's role, test pairs.

Pictures hold one emoji of a few concepts on a plain ground, unless more is asked for.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import Field

from limner.config import Config
from limner.data.scene_table import NoiseSettings, build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.table import Table
from limner.errors import DataError
from limner.quickstart.tables import fingerprint

_FAMILIES: Final = {"web": 21_000_000, "clean": 22_000_000, "test": 23_000_000}


class WorldSettings(Config):
    """What the pairs are.

    Args:
        web: noisy pairs that models are trained on.
        clean: clean pictures, with three to six captions each; captioner and filter are tuned on them.
        test: clean pictures that models are measured on.
        swapped: share of web texts that belong to another picture, [0, 1].
        junk: share of web texts that say nothing, [0, 1].
        canvas_px: side of a picture, pixels.
        most: things in a picture at most.
        concepts: what can stand in one.
    """

    web: int = Field(default=1000, ge=16)
    clean: int = Field(default=150, ge=8)
    test: int = Field(default=300, ge=8)
    swapped: float = Field(default=0.35, ge=0, le=1)
    junk: float = Field(default=0.05, ge=0, le=1)
    canvas_px: int = Field(default=48, ge=48)
    most: int = Field(default=1, ge=1, le=4)
    concepts: tuple[str, ...] = (
        *("dog", "cat", "frog", "duck", "apple", "banana"),
        *("tree", "car", "rocket", "key", "star", "heart"),
    )


class World(NamedTuple):
    """Where the three tables of a seed are."""

    web: Path
    clean: Path
    test: Path

    @classmethod
    def under(cls, folder: Path) -> "World":
        """The tables of a folder."""
        return cls(*(folder / f"{name}.lance" for name in cls._fields))


def make_world(world: World, settings: WorldSettings, seed: int) -> dict[str, Any]:
    """Draw the three tables of a seed; those that are there are replaced.

    Args:
        world: where they go.
        settings: what they hold.
        seed: of pictures, captions and noise.
    Returns: the version and the fingerprint of each.
    """
    noise = NoiseSettings(swapped=settings.swapped, junk=settings.junk, seed=seed)
    tables = {}
    for name, path in world._asdict().items():
        scenes = SceneSettings(
            seed=_FAMILIES[name] + seed,
            styles=("openmoji",),
            canvas_px=settings.canvas_px,
            max_objects=settings.most,
            jitter=False,
            concepts=settings.concepts,
        )
        count = getattr(settings, name)
        spoiled = noise if name == "web" else None
        tables[name] = build_scenes_table(path, scenes, 0, count, spoiled, overwrite=True)
    return {
        "versions": {name: table.version for name, table in tables.items()},
        "fingerprints": {name: fingerprint(table) for name, table in tables.items()},
    }


def pairs_in(table: Table, column: str) -> int:
    """How many pairs a column holds; blank texts are none."""
    return sum(bool(text and text.strip()) for texts in table.column(column) for text in texts or ())


def has_version(path: Path, version: int, column: str = "texts") -> bool:
    """Whether a table has a version with a column."""
    try:
        return Table.open(path, version).has(column)
    except DataError:
        return False
