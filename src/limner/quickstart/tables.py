"""The quickstart's tables: emoji to play with, noisy scenes to clean, clean ones to measure on."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from limner.capfilt.audit import CLEAN
from limner.data.emoji import build_emoji_table
from limner.data.scene_language import Scenery, is_exact
from limner.data.scene_table import NoiseSettings, build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.table import Table
from limner.errors import DataError
from limner.quickstart.stages import Facts, Teller

NOISE_SEED, HELD_OUT_SEED = 7_000_000, 9_000_000
"""Added to the user's seed: families of scenes that no shipped model was trained on."""


def make_tables(paths: Mapping[str, Path], seed: int, rows: int, held_out: int, teller: Teller) -> Facts:
    """Make the three tables; those that are there are replaced.

    Args:
        paths: where "emoji", "scenes" and "heldout" go.
        seed: of pictures and noise.
        rows: of the noisy scenes.
        held_out: clean scenes.
        teller: hears how far things are.
    Returns: the version of the noisy table, its noise by kind, and the fingerprint of each table.
    """
    with teller.bar("emoji table") as progress:
        build_emoji_table(paths["emoji"], overwrite=True, progress=progress)
    noise, family = NoiseSettings(seed=seed), SceneSettings(seed=NOISE_SEED + seed)
    with teller.bar("noisy scenes") as progress:
        noisy = build_scenes_table(paths["scenes"], family, 0, rows, noise, overwrite=True, progress=progress)
    family = SceneSettings(seed=HELD_OUT_SEED + seed)
    with teller.bar("held-out scenes") as progress:
        build_scenes_table(paths["heldout"], family, 0, held_out, overwrite=True, progress=progress)
    words = Counter(word for row in noisy.column("truth") for word in row)
    return {
        "version": noisy.version,
        "noise": {name: words[name] for name in ("clean", "swapped", "junk")},
        "fingerprints": {name: fingerprint(Table.open(path)) for name, path in paths.items()},
    }


def tables_stand(paths: Mapping[str, Path], facts: Facts) -> bool:
    """Whether the tables that an earlier run told of are there, row for row."""
    try:
        return all(
            fingerprint(Table.open(paths[name])) == known for name, known in facts["fingerprints"].items()
        )
    except DataError:
        return False


def is_correct(text: str, row: Mapping[str, Any]) -> bool:
    """Whether a text is right and complete for a row of a scenes table."""
    return is_exact(text, Scenery.from_row(row))


def with_truth_of_synthetic(table: Table) -> Table:
    """Add the column `truth_synthetic`, what is known of the captions CapFilt wrote: "clean" or "wrong"."""
    columns = ["synthetic", "objects", "boxes", "ground"]
    truths = [
        [CLEAN if is_correct(text, row) else "wrong" for text in row["synthetic"]]
        for batch in table.batches(columns)
        for row in batch
    ]
    if table.has("truth_synthetic") and table.column("truth_synthetic") == truths:
        return table
    column = pa.array(truths, type=pa.list_(pa.string()))
    return table.add_columns(pa.table({"truth_synthetic": column}), "audit: truth of the synthetic captions")


def fingerprint(table: Table) -> str:
    """12 hex digits of a table's keys, pictures and texts."""
    hasher = hashlib.sha256()
    for batch in table.batches(["key", "sha256", "texts"], batch_size=4096):
        for row in batch:
            hasher.update(json.dumps([row["key"], row["sha256"], row["texts"]]).encode())
    return hasher.hexdigest()[:12]
