"""Token merging in BLIP's image encoder: what it saves at full size, and how far captions stay the same.

    python benchmarks/merging.py                  speed, and limner_tiny on 200 scenes
    python benchmarks/merging.py --model RUN --data flickr8k.lance --where "split = 'test'"
    python benchmarks/merging.py --write          also write benchmarks/records/merging-cpu.json

Speed is that of BLIP-base at 384 pixels with random weights, one picture, beam search of 20 tokens: the
image encoder alone, and the whole caption. Agreement needs a trained model: captions of `limner caption` with
and without `--merge`, on the same pictures. Rounds alternate; figures are medians of processor time.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from limner.capfilt.bulk import BulkSettings
from limner.capfilt.fewer import agreement, merging
from limner.checkpoint import load
from limner.data.intake import decode
from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.models import MODELS
from limner.models.blip import BLIP
from limner.models.generate import Decoding, generate
from limner.models.merging import with_merging
from models import machine

RECORDS = Path(__file__).parent / "records"
BEAM = Decoding(method="beam", max_tokens=20)


def seconds(job: Callable[[], Any]) -> float:
    """Processor time of a job."""
    begin = time.process_time()
    job()
    return time.process_time() - begin


@torch.no_grad()
def speed(counts: list[int], rounds: int) -> list[dict[str, float]]:
    """BLIP-base with and without merging."""
    torch.manual_seed(0)
    whole = BLIP(MODELS["blip_base_caption"].config).eval()
    pixels = torch.randn(1, 3, whole.config.vision.image_size, whole.config.vision.image_size)
    prompt = torch.tensor([[whole.config.cls_id]])

    def caption(model: BLIP) -> None:
        generate(model, model.decoder_memory(model.encode_image(pixels)), prompt, BEAM)

    models = {0: whole} | {count: with_merging(whole, count) for count in counts}
    towers: dict[int, list[float]] = {count: [] for count in models}
    captions: dict[int, list[float]] = {count: [] for count in models}
    for turn in range(rounds + 1):  # the first warms up
        for count, model in models.items():
            tower = seconds(lambda m=model: m.encode_image(pixels))
            whole_caption = seconds(lambda m=model: caption(m))
            if turn:
                towers[count].append(tower)
                captions[count].append(whole_caption)
    found = []
    for count, model in models.items():
        told = {
            "merge": count,
            "tokens_left": model.encode_image(pixels).shape[1],
            "encoder_s": statistics.median(towers[count]),
            "encoder_ratio": statistics.median(towers[0]) / statistics.median(towers[count]),
            "caption_s": statistics.median(captions[count]),
            "caption_ratio": statistics.median(captions[0]) / statistics.median(captions[count]),
        }
        found.append(told)
        print("  ".join(f"{name} {value:.4g}" for name, value in told.items()), flush=True)
    return found


def agreements(
    model: str, table: Table, counts: list[int], where: str, pictures: int
) -> list[dict[str, Any]]:
    """A trained model's captions with and without merging."""
    bundle, found = load(model), []
    rows = [row for batch in table.batches(["image"], where=where or None) for row in batch][:pictures]
    images = [to_u8(decode(row["image"]), bundle.image_spec) for row in rows]
    for count in counts:
        told = agreement(bundle, merging(bundle, count), images, BulkSettings())
        found.append({"merge": count, **told._asdict()})
        print(f"merge {count:>3}  {told.said}", flush=True)
    return found


def main() -> None:
    """Measure, print, perhaps write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--merge", nargs="*", type=int, default=[8, 16, 24, 32, 40])
    parser.add_argument(
        "--few", nargs="*", type=int, default=[1, 2, 3], help="for the trained model, which is small"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="limner_tiny")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--where", default="")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = speed(options.merge, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        place = options.data or Path(folder) / "scenes.lance"
        if not options.data:
            build_scenes_table(place, SceneSettings(seed=2), 0, options.pictures)
        alike = agreements(options.model, Table.open(place), options.few, options.where, options.pictures)
    if options.write:
        target = RECORDS / "merging-cpu.json"
        of = {"model": Path(options.model).name, "data": options.data.name if options.data else "scenes"}
        record = {"machine": machine("cpu"), "speed": rows, "agreement": {**of, "rows": alike}}
        target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"written to {target}")


if __name__ == "__main__":
    main()
