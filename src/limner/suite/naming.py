"""Which class a model names, and the vectors it sees, for tasks that compare rows with each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.errors import DataError
from limner.evaluate.pictures import Progress, device_of, normed
from limner.evaluate.tables import Pictured, pictured
from limner.ready import classes, towers
from limner.ready.abilities import class_count
from limner.suite.selection import Selection


class Sight(NamedTuple):
    """What a model sees in pictures.

    Args:
        vectors: of each picture.
        named: number of the class it names, among `names`.
    """

    vectors: Float[np.ndarray, "n e"]
    named: Int64[np.ndarray, " n"]


def names_for(bundle: Bundle, labels: Sequence[str]) -> tuple[str, ...]:
    """Classes that a model chooses from: its own, else those of the rows, zero-shot."""
    if class_count(bundle.model):
        return classes.own_labels(bundle)
    return tuple(sorted(set(labels)))


@torch.inference_mode()
def seen(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    names: Sequence[str],
    templates: Sequence[str] = (),
    progress: Progress | None = None,
    batch_size: int = 64,
) -> Sight:
    """Look at pictures and name them, by the model's own classifier or by comparing with texts.

    Args:
        bundle: a classifier, a CLIP, or a BLIP with the head itc.
        images: u8 pixels at the model's size.
        names: classes, in the order of the classifier where there is one.
        templates: with "{}" for a class; "a photo of a {}." when empty.
        progress: counts pictures.
        batch_size: pictures at a time.
    Raises: ConfigError when the model can do neither.
    """
    own = class_count(bundle.model) > 0 and tuple(names) == classes.own_labels(bundle)
    texts = None
    if not own:
        texts = classes.label_vectors(bundle, *classes.written_labels(bundle, names, templates or None), 256)
    vectors, named = [], []
    for start in range(0, len(images), batch_size):
        stop = min(start + batch_size, len(images))
        pixels = normed(images[start:stop], bundle.image_spec, device_of(bundle))
        vectors.append(towers.image_vectors(bundle.model, pixels).cpu())
        scores = towers.class_logits(bundle.model, pixels).cpu() if texts is None else vectors[-1] @ texts.T
        named.append(scores.argmax(1))
        if progress:
            progress(stop, len(images))
    return Sight(torch.cat(vectors).numpy(), torch.cat(named).numpy())


def labelled_rows(bundle: Bundle, selection: Selection) -> Pictured:
    """Rows with a class.

    Raises: DataError when there is none.
    """
    return pictured(
        selection.path,
        bundle.image_spec,
        where=selection.where,
        count=selection.count,
        version=selection.version,
        texts_column="texts",
        needed=lambda texts, label: bool(label),
    )


def column_of(selection: Selection, name: str, keys: Sequence[str]) -> list[str]:
    """Values of a column for some rows, as text; "" where there is none.

    Args:
        selection: the table.
        name: of the column.
        keys: of the rows.
    Raises: DataError when the table has no such column.
    """
    table = Table.open(selection.path, selection.version)
    if not table.has(name):
        raise DataError(
            f"no column {name!r} in {selection.path}",
            wanted=f"one of {', '.join(table.column_names)}",
            hint=f"limner table {selection.path} shows what its columns hold",
        )
    found = table.arrow(["key", name], selection.where or None)
    values = dict(zip(found["key"].to_pylist(), found[name].to_pylist(), strict=True))
    return ["" if values[key] is None else str(values[key]) for key in keys]
