"""Measure limner_tiny on scenes it has never seen, write its card, and pack it for the package.

    python benchmarks/limner_tiny.py                                   # measure the shipped model
    python benchmarks/limner_tiny.py --font NotoColorEmoji.ttf         # and on a style it has never seen
    python benchmarks/limner_tiny.py --run runs/limner_tiny --write    # measure a run, and ship it

Scenes are of seed 2: neither trained on (seed 0) nor looked at while training (seed 1). Writing stores the
weights in fp16 and measures what was stored.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

from limner import checkpoint
from limner.checkpoint import ASSETS, DEFAULT, Bundle, load, save_bundle
from limner.config import to_toml
from limner.data.scenes import SceneSettings
from limner.evaluate.scenes import scenes_suite
from limner.recipe import Recipe
from limner.record import Recorder, read_records

SEED = 2
ROWS = [
    ("auroc", "noise AUROC of the match score, 30 % of captions swapped", 0.99),
    ("i2t_r1", "image → text R@1 among 100", 0.90),
    ("t2i_r1", "text → image R@1 among 100", 0.90),
    ("nouns", "captions with exactly the right nouns", 0.95),
    ("exact", "captions exact: complete, every count, colour and relation right", 0.60),
    ("cider_d", "CIDEr-D", None),
    ("answers", "questions answered right", None),
    ("answers_what", "– what", None),
    ("answers_how_many", "– how many", None),
    ("answers_colour", "– what colour", None),
    ("answers_yes_no", "– yes or no", None),
]

CARD = Path(__file__).with_name("limner_tiny_card.md")


def styles(font: Path | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Column titles and the styles they stand for."""
    yield "OpenMoji", ("openmoji",)
    yield "Twemoji", ("twemoji",)
    if font:
        yield f"{font.stem} (never seen)", (f"font:{font}",)


def measure(bundle: Bundle, count: int, font: Path | None) -> dict[str, dict[str, float]]:
    """The suite on each style."""
    found = {}
    for title, names in styles(font):
        started = time.perf_counter()
        found[title] = scenes_suite(bundle, SceneSettings(seed=SEED, styles=names), 0, count)
        print(f"{title}: {count} scenes in {time.perf_counter() - started:.0f} s", flush=True)
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown: one row a measure, one column a style."""
    titles = list(found)
    lines = ["| measure | aim | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(titles)]
    for name, words, aim in ROWS:
        values = (f"{found[title][name]:.3f}" if name in found[title] else "" for title in titles)
        lines.append(f"| {words} | {'' if aim is None else f'≥ {aim:.2f}'} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def verdict(found: dict[str, dict[str, float]]) -> str:
    """Which aims are reached on the two styles it was trained on, and which are not."""
    seen = [found["OpenMoji"], found["Twemoji"]]
    short = [words for name, words, aim in ROWS if aim is not None and min(s[name] for s in seen) < aim]
    if not short:
        return "Every aim is reached in both styles it was trained on."
    return (
        "Short of the aim in at least one style it was trained on: "
        + "; ".join(short)
        + ". More samples lift these: they were still rising when training ended."
    )


def card(bundle: Bundle, records: list[dict[str, Any]], found: dict[str, Any], count: int) -> str:
    """The model card, from the bundle, its run's records and the measures."""
    config = bundle.model.config
    runs = [r for r in records if r["kind"] == "run"]
    last = [r for r in records if r["kind"] == "end"][-1]
    recipe = runs[-1]["recipe"]
    batch, planned = recipe["train"]["batch_size"], recipe["train"]["steps"]
    vision, text = config.vision, config.text
    weights = bundle.path / "model.safetensors"
    return CARD.read_text(encoding="utf-8").format(
        stem=" → ".join(map(str, vision.stem)),
        vision_width=vision.width,
        vision_depth=vision.depth,
        image_size=vision.image_size,
        tokens=vision.grid_size**2,
        text_width=text.width,
        text_depth=text.depth,
        embed_dim=config.embed_dim,
        parameters=sum(p.numel() for p in bundle.model.parameters()),
        megabytes=weights.stat().st_size / 1e6,
        vocabulary=text.vocab_size,
        seed=SEED,
        count=count,
        table=table(found),
        verdict=verdict(found),
        samples=last["step"] * batch,
        steps=last["step"],
        planned=planned,
        batch=batch,
        hours=last["seconds"] / 3600,
        machine="two shared CPU cores",
        peak=max(r["peak_rss_gb"] for r in records if "peak_rss_gb" in r),
    )


def pack(run: Path, folder: Path) -> Bundle:
    """Store a run's model in fp16 with its recipe and its records, and load what was stored."""
    bundle = load(run)
    parts = (bundle.model, bundle.name, bundle.model.config, bundle.image_spec, bundle.tokenizer)
    save_bundle(folder, *parts, recipe=bundle.recipe, dtype="fp16")
    shutil.copy(run / "records.jsonl", folder / "records.jsonl")
    recipe = to_toml(Recipe.model_validate(bundle.recipe))
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    return load(folder)


def main() -> None:
    """Measure; with --write, ship."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--run", type=Path, help="a finished run; the shipped model otherwise")
    options.add_argument("--count", type=int, default=1000, help="scenes in each style")
    options.add_argument("--font", type=Path, help="a colour font, for a style the model has never seen")
    options.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    options.add_argument("--write", action="store_true", help="replace the shipped model")
    given = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = pack(given.run, Path(scratch) / DEFAULT) if given.run else load(DEFAULT)
        found = measure(bundle, given.count, given.font)
        print(table(found), verdict(found), sep="\n\n")
        print(f"peak RSS {psutil.Process().memory_info().rss / 1e9:.2f} GB")
        if given.write:
            ship(bundle, found, given.count)


def ship(bundle: Bundle, found: dict[str, Any], count: int) -> None:
    """Replace the packaged model, with a card that tells what was measured."""
    records = bundle.path / "records.jsonl"
    for style, measures in found.items():
        own = {name: value for name, value in measures.items() if "/" not in name}
        Recorder(records).write("card", style=style, scenes_seed=SEED, count=count, measures=own)
    (bundle.path / "README.md").write_text(
        card(bundle, read_records(records), found, count), encoding="utf-8"
    )
    with checkpoint.atomic_folder(ASSETS / DEFAULT) as partial:
        shutil.copytree(bundle.path, partial, dirs_exist_ok=True)
    print(f"shipped: {ASSETS / DEFAULT}")


if __name__ == "__main__":
    main()
