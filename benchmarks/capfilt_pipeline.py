"""The whole job of `limner capfilt` on a table beside the models alone, on the same pictures.

    python benchmarks/capfilt_pipeline.py              limner_tiny on 512 scenes, batches of 64
    python benchmarks/capfilt_pipeline.py --model blip_base --rows 16    of random weights, 384 pixels
    python benchmarks/capfilt_pipeline.py … --write    also write benchmarks/records/capfilt-pipeline.json

The models alone are the calls that the job makes, on pixels that are decoded and at the model's size: look,
caption, score both texts by ITC and ITM. The job reads the table, decodes, captions and scores, tests texts
for junk, decides, saves its parts and commits the columns. Scores are compared first. One thread; processor
time; the sides take turns and the figure is the ratio of medians. A small model is the hard case: with
BLIP-base a picture takes a thousand times as long, and reading it no longer.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from capfilt import blip_base
from limner.capfilt.caption import caption_memory, image_tokens
from limner.capfilt.filter import look, score_pairs
from limner.capfilt.pipeline import run
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import Bundle, load
from limner.data.intake import decode
from limner.data.scene_table import NoiseSettings, build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.table import Table
from limner.data.tokenizers import WordPiece
from limner.data.transforms import to_u8
from limner.shapes import ImageSpec
from models import write_record

RECORD = Path(__file__).parent / "records" / "capfilt-pipeline.json"


class Row(NamedTuple):
    """One measurement.

    Args:
        model: its name.
        rows: pictures.
        apart: largest difference of a score.
        models_alone_s: median seconds of the models' calls.
        job_s: of the job.
        ratio: of the two; 1 where the job costs nothing beside its models.
    """

    model: str
    rows: int
    apart: float
    models_alone_s: float
    job_s: float
    ratio: float


def opened(name: str) -> Bundle:
    """A checkpoint, or BLIP-base of random weights with BERT's vocabulary."""
    if name != "blip_base":
        return load(name)
    return Bundle(
        name, blip_base(), ImageSpec(size=384), WordPiece.from_vocabulary(), {}, "0" * 12, Path(name)
    )


@torch.inference_mode()
def models_alone(
    bundle: Bundle, pixels: list[np.ndarray], rows: list[dict[str, Any]], settings: CapFiltSettings
) -> list[float]:
    """ITM scores of the written captions, by the calls of the job."""
    model, _ = bundle.blip()
    found: list[float] = []
    for begin in range(0, len(rows), settings.batch_size):
        part = slice(begin, begin + settings.batch_size)
        keys, web = [row["key"] for row in rows[part]], [row["texts"][0] for row in rows[part]]
        tokens = image_tokens(bundle, pixels[part])
        seen = look(bundle, tokens)
        memory = model.decoder_memory(tokens, seen.memory)
        written = caption_memory(bundle, memory, keys, settings.decoding, seed=settings.seed)
        texts = [*web, *(captions[0].text for captions in written)]
        pictures = [*range(len(keys)), *range(len(keys))]
        scores = score_pairs(bundle, seen, texts, pictures, max_tokens=settings.max_text_tokens)
        found += [score or 0.0 for score in scores.itm[len(keys) :]]
    return found


def main() -> None:
    """Measure, print, perhaps write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="limner_tiny")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bundle, settings = opened(given.model), CapFiltSettings(vocabulary_test=False)
    alone: list[float] = []
    whole: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "web.lance"
        build_scenes_table(place, SceneSettings(), 0, given.rows, NoiseSettings(junk=0.0))
        rows = [row for batch in Table.open(place).batches(["key", "image", "texts"]) for row in batch]
        pixels = [to_u8(decode(row["image"]), bundle.image_spec) for row in rows]
        apart = 0.0
        for turn in range(given.rounds + 1):  # the first warms up, and is compared
            begin = time.process_time()
            scores = models_alone(bundle, pixels, rows, settings)
            middle = time.process_time()
            made = run(Table.open(place), bundle, bundle, settings, force=True)
            end = time.process_time()
            if turn:
                alone.append(middle - begin)
                whole.append(end - middle)
                continue
            told = [
                row["itm_synthetic"][0] for batch in made.table.batches(["itm_synthetic"]) for row in batch
            ]
            apart = max(abs(one - other) for one, other in zip(scores, told, strict=True))
            if not apart < 1e-4:
                raise SystemExit(f"scores differ by {apart:.1e}: nothing to time")
    one, other = statistics.median(alone), statistics.median(whole)
    row = Row(given.model, given.rows, apart, one, other, one / other)
    print(json.dumps(row._asdict(), indent=1))
    if given.write:
        write_record(RECORD, [row], ("model",), "cpu", given.rounds)


if __name__ == "__main__":
    main()
