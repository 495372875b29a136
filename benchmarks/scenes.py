"""Scenes a second on one core: planned, drawn, as rows at the model's size; and the first, cold draw.

python benchmarks/scenes.py [COUNT]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from os import environ

from limner.data.scenes import SceneRows, SceneSettings, plan_scene, scene
from limner.data.sprites import HANDS, load_sprite
from limner.shapes import ImageSpec


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, so that a busy machine does not count."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def load_all() -> None:
    """Every style in every hand."""
    for style, sheets in HANDS.items():
        for hand in range(len(sheets)):
            load_sprite(style, "🦉", hand)


def main(count: int) -> None:
    """Measure with an empty cache first."""
    with tempfile.TemporaryDirectory() as folder:
        environ["LIMNER_CACHE"] = folder
        print(f"cold sprites   {seconds(load_all):8.2f} s CPU")
        measure(count)


def measure(count: int) -> None:
    """Measure with all sprites at hand."""
    settings = SceneSettings(seed=1)
    rows = SceneRows(settings, 0, 2 * count, ImageSpec(size=64))
    for index in range(1000):
        scene(settings, index)
    work: dict[str, Callable[[], object]] = {
        "plan_scene": lambda: [plan_scene(settings, index) for index in range(count)],
        "scene": lambda: [scene(settings, index) for index in range(count)],
        "rows at 64 px": lambda: rows.samples(range(count), epoch=0),
    }
    for name, job in work.items():
        print(f"{name:14} {count / seconds(job):8.0f} a second on one core")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
