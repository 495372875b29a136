"""The task `shape_bias`: does a model go by the outline or by the surface? On generated cue conflicts."""

import numpy as np
from PIL import Image
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.cue_conflicts import CLASSES, conflicts
from limner.data.emoji import STYLES
from limner.data.transforms import to_u8
from limner.errors import DataError
from limner.evaluate.pictures import Progress
from limner.evaluate.robustness import shape_bias
from limner.suite.naming import seen
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection


class ShapeBiasTask(Config):
    """Options of `limner evaluate shape_bias`.

    Args:
        classes: concepts of `limner.data.concepts`; at least two.
        templates: texts with "{}" for a class.
        seed: of the interval.
    """

    classes: tuple[str, ...] = Field(default=CLASSES, min_length=2)
    templates: tuple[str, ...] = ("a picture of a {}",)
    seed: int = 0


def run(
    bundle: Bundle, selection: Selection, settings: ShapeBiasTask, progress: Progress | None = None
) -> Outcome:
    """Name the pictures zero-shot; no row of a table is read.

    Raises: ConfigError for a model that compares no pictures with texts; DataError when it names neither
        cue of any picture.
    """
    pictures = [one for style in STYLES for one in conflicts(settings.classes, style)]
    images = [to_u8(Image.fromarray(one.image), bundle.image_spec) for one in pictures]
    sight = seen(bundle, images, settings.classes, settings.templates, progress)
    said = [settings.classes[k] for k in sight.named]
    found = shape_bias(said, [one.shape for one in pictures], [one.texture for one in pictures])
    made = found.decisions[~np.isnan(found.decisions)]
    if not len(made):
        raise DataError("no picture was named after either cue", wanted="classes that the model knows")
    measures = {
        "shape_bias": mean_of(made, settings.seed),
        "shape": mean_of((found.decisions == 1).astype(float), settings.seed),
        "texture": mean_of((found.decisions == 0).astype(float), settings.seed),
        "decisions": Measure(float(len(made))),
    }
    samples = [
        {
            "key": one.key,
            "score": float(decision == 1),
            "shape": one.shape,
            "texture": one.texture,
            "named": word,
        }
        for one, decision, word in zip(pictures, found.decisions, said, strict=True)
    ]
    notes = ("pictures are silhouettes of emoji filled with the middle of another, not style transfers",)
    return Outcome(measures, samples, {"classes": list(settings.classes)}, notes)
