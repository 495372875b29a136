"""How well the filter tells right captions from wrong ones, where the truth is known.

    python benchmarks/filter_quality.py scenes [--model limner_tiny] [--rows 400]
    python benchmarks/filter_quality.py flickr8k --model RUN --data FOLDER --table flickr8k.lance
    python benchmarks/filter_quality.py clipart --model RUN --table clipart.lance

scenes: tables with 10, 20, 40 and 60 % of captions swapped. AUROC of the ITM probability, of the ITC cosine
and of their mean (of the two, each as a standard score), with bootstrap intervals; a calibration table of the
ITM probability; precision and recall of the paper's rule (ITM at 0.5). flickr8k: judgements of experts (three
marks from 1 to 4 a pair) and of the crowd (votes for yes or no) against the same scores: Kendall's tau-c,
Spearman's rho, AUROC of "all experts say 3 or more" and "most of the crowd says yes". As in CLIPScore's
table, pairs of a picture and a caption written for it are counted too. clipart: titles labelled by eye
(records/clipart-labels.json), match against mismatch; and, as a derived test, half of the same titles given
to other pictures; the same of the 1,114 pictures that nobody labelled, for models that learnt from labels. A
model without ITM has ITC alone. A record keeps every model it was run with.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from limner.checkpoint import Bundle
from limner.convert.opening import open_bundle
from limner.data.intake import decode
from limner.data.scene_table import NoiseSettings, build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.evaluate.matching import match_logits, match_probability
from limner.evaluate.metrics import auroc, bootstrap_interval
from limner.evaluate.pictures import embed_images, embed_texts
from limner.models.blip import BLIP
from limner.suite.run import machine_facts

SWAPPED = (0.1, 0.2, 0.4, 0.6)
RESAMPLES = 500
RECORDS = Path(__file__).parent / "records"


def scores_of(
    bundle: Bundle, pixels: list[np.ndarray], pictures: np.ndarray, texts: list[str]
) -> dict[str, np.ndarray]:
    """ITC, ITM where the model has it, and their mean, of pairs of a picture's number and a text."""
    images, words = embed_images(bundle, pixels), embed_texts(bundle, texts)
    found = {"itc": (images[pictures] * words).sum(1)}
    if isinstance(bundle.model, BLIP) and "itm" in bundle.model.config.heads:
        order = np.argsort(pictures, kind="stable")
        of_each = [[texts[i] for i in order[pictures[order] == n]] for n in range(len(pixels))]
        logits = np.empty((len(texts), 2))
        logits[order] = np.concatenate(match_logits(bundle, pixels, of_each))
        found["itm"] = match_probability(logits)
        standard = [(one - one.mean()) / one.std() for one in (found["itc"], logits[:, 1] - logits[:, 0])]
        found["mean"] = (standard[0] + standard[1]) / 2
    return found


def with_interval(statistic: Any, *columns: np.ndarray) -> dict[str, float]:
    """A statistic of items with its bootstrap interval."""
    stacked = np.stack(columns, 1).astype(float)
    low, high = bootstrap_interval(stacked, 0, lambda rows: statistic(*rows.T), resamples=RESAMPLES)
    return {"value": round(statistic(*stacked.T), 4), "low": round(low, 4), "high": round(high, 4)}


def area(scores: np.ndarray, good: np.ndarray) -> float:
    """AUROC of scores for flags that are 0 or 1."""
    return auroc(scores, good > 0.5)


def calibration_table(probability: np.ndarray, good: np.ndarray) -> dict[str, Any]:
    """Ten bins of the ITM probability: pairs, mean probability, share that is right; and their mean gap."""
    bins = np.minimum((probability * 10).astype(int), 9)
    rows = [
        {
            "from": b / 10,
            "pairs": int((bins == b).sum()),
            "mean_probability": round(float(probability[bins == b].mean()), 4),
            "right": round(float(good[bins == b].mean()), 4),
        }
        for b in range(10)
        if (bins == b).any()
    ]
    gap = sum(row["pairs"] * abs(row["mean_probability"] - row["right"]) for row in rows) / len(good)
    return {"bins": rows, "expected_calibration_error": round(gap, 4)}


def at_half(probability: np.ndarray, good: np.ndarray) -> dict[str, float | None]:
    """What the paper's rule does: ITM at 0.5."""
    kept = probability >= 0.5

    def share(flags: np.ndarray) -> float | None:
        return round(float(flags.mean()), 4) if len(flags) else None

    return {
        "dropped": share(~kept),
        "drop_precision": share(~good[~kept]),
        "drop_recall": share(~kept[~good]),
        "clean_kept": share(kept[good]),
    }


def scenes(bundle: Bundle, rows: int, seed: int) -> list[dict[str, Any]]:
    """Each share of swapped captions in turn."""
    found = []
    for share in SWAPPED:
        with tempfile.TemporaryDirectory() as folder:
            noise = NoiseSettings(swapped=share, junk=0.0, seed=seed)
            table = build_scenes_table(
                Path(folder) / "scenes.lance", SceneSettings(seed=seed), 0, rows, noise
            )
            read = [row for batch in table.batches(["image", "texts", "truth"]) for row in batch]
        pixels = [to_u8(decode(row["image"]), bundle.image_spec) for row in read]
        good = np.array([row["truth"][0] == "clean" for row in read])
        scores = scores_of(bundle, pixels, np.arange(rows), [row["texts"][0] for row in read])
        found.append({"swapped": share, "rows": rows} | judged(scores, good))
        print(share, json.dumps(found[-1]["auroc"]), flush=True)
    return found


def tau_c(scores: np.ndarray, marks: np.ndarray) -> float:
    """Kendall's tau-c."""
    return float(stats.kendalltau(scores, marks, variant="c").statistic)


def flickr8k(bundle: Bundle, data: Path, table: Table, crowd_pairs: int) -> dict[str, Any]:
    """Experts, and a part of the crowd drawn by chance."""
    where = {key: i for i, key in enumerate(table.column("key"))}
    found: dict[str, Any] = {}
    for name in ("expert", "crowd"):
        judged = pq.read_table(data / f"{name}_judgements.parquet").to_pylist()
        judged = [one for one in judged if one["file_name"] in where]
        if name == "crowd" and crowd_pairs < len(judged):
            drawn = np.random.default_rng(0).choice(len(judged), crowd_pairs, replace=False)
            judged = [judged[i] for i in sorted(drawn)]
        names = sorted({one["file_name"] for one in judged})
        read = table.rows([where[n] for n in names], ["image"])
        pixels = [to_u8(decode(row["image"]), bundle.image_spec) for row in read]
        numbers = {n: i for i, n in enumerate(names)}
        pictures = np.array([numbers[one["file_name"]] for one in judged])
        scores = scores_of(bundle, pixels, pictures, [one["caption"] for one in judged])
        found[name] = against(scores, judged, name)
        print(name, json.dumps(found[name]), flush=True)
    return found


def against(scores: dict[str, np.ndarray], judged: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Rank correlations and AUROC of scores against what people said."""
    if name == "expert":
        marks = np.array([one["expert"] for one in judged], float)
        good, mean = (marks >= 3).all(1), marks.mean(1)
    else:
        marks = np.array([[one["yes"] / (one["yes"] + one["no"])] for one in judged])
        good, mean = marks[:, 0] > 0.5, marks[:, 0]
    each, tiled = marks.ravel(), marks.shape[1]
    return {
        "pairs": len(judged),
        "good": int(good.sum()),
        **{
            score: {
                "tau_c": round(tau_c(np.repeat(values, tiled), each), 4),
                "spearman": with_interval(
                    lambda one, two: float(stats.spearmanr(one, two).statistic), values, mean
                ),
                "auroc": with_interval(area, values, good),
            }
            for score, values in scores.items()
        },
    }


def clipart(bundle: Bundle, table: Table) -> dict[str, Any]:
    """Labelled titles, and half of them swapped."""
    labels = json.loads((RECORDS / "clipart-labels.json").read_text(encoding="utf-8"))["labels"]
    where = {key: i for i, key in enumerate(table.column("key"))}
    read = table.rows([where[key] for key in labels], ["image", "texts"])
    pixels = [to_u8(decode(row["image"]), bundle.image_spec) for row in read]
    titles = [row["texts"][0] for row in read]
    words = np.array(list(labels.values()))
    told = words != "unclear"
    own = scores_of(bundle, pixels, np.arange(len(titles)), titles)
    labelled = {name: one[told] for name, one in own.items()}
    return {
        "labelled": judged(labelled, words[told] == "match") | {"unclear": int((~told).sum())},
        "half_swapped": swapped(bundle, pixels, titles),
        "rest_half_swapped": swapped(bundle, *rest(bundle, table, set(labels))),
    }


def rest(bundle: Bundle, table: Table, labelled: set[str]) -> tuple[list[np.ndarray], list[str]]:
    """The other different pictures of the splits that the labelled ones were drawn from, and their titles."""
    names = zip(table.column("key"), table.column("split"), table.column("sha256"), strict=True)
    first: dict[str, int] = {}
    seen: set[str] = set()
    for row, (key, split, digest) in enumerate(names):
        seen |= {digest} if key in labelled else set()
        if split in ("val", "test"):
            first.setdefault(digest, row)
    read = table.rows([row for digest, row in first.items() if digest not in seen], ["image", "texts"])
    return [to_u8(decode(row["image"]), bundle.image_spec) for row in read], [row["texts"][0] for row in read]


def swapped(bundle: Bundle, pixels: list[np.ndarray], titles: list[str]) -> dict[str, Any]:
    """Half of the titles given to other pictures."""
    shuffled, is_own = half_swapped(titles)
    return judged(scores_of(bundle, pixels, np.arange(len(titles)), shuffled), is_own)


def judged(scores: dict[str, np.ndarray], good: np.ndarray) -> dict[str, Any]:
    """AUROC of each score, and calibration and the paper's rule where there is ITM."""
    found: dict[str, Any] = {
        "pairs": len(good),
        "good": int(good.sum()),
        "auroc": {name: with_interval(area, one, good) for name, one in scores.items()},
    }
    if "itm" in scores:
        found |= {
            "itm_at_0.5": at_half(scores["itm"], good),
            "calibration": calibration_table(scores["itm"], good),
        }
    return found


def half_swapped(titles: list[str], seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Half of the titles, drawn by chance, trade places; none lands on one that differs in its numbers alone.

    Returns: titles, and flags: this one is the picture's own.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(titles), len(titles) // 2, replace=False)
    kinds = [re.sub(r"\d+", "", titles[i]).lower() for i in drawn]
    rank = dict(zip(sorted(set(kinds)), rng.permutation(len(set(kinds))), strict=True))
    order = np.argsort([rank[kind] for kind in kinds], kind="stable")
    largest = max(kinds.count(kind) for kind in set(kinds))
    found, is_own = list(titles), np.ones(len(titles), bool)
    for to, of in zip(order, np.roll(order, largest), strict=True):
        assert kinds[to] != kinds[of]
        found[drawn[to]], is_own[drawn[to]] = titles[drawn[of]], False
    return found, is_own


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("scenes", "flickr8k", "clipart"))
    parser.add_argument("--model", default="limner_tiny")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=4321)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/flickr8k"))
    parser.add_argument("--table", type=Path, help="WHAT.lance when left out")
    parser.add_argument("--crowd-pairs", type=int, default=10_000)
    parser.add_argument("--name", help="of the model in the record; the last part of --model when left out")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    bundle, path = open_bundle(asked.model), asked.table or f"{asked.what}.lance"
    if asked.what == "scenes":
        found: Any = scenes(bundle, asked.rows, asked.seed)
    elif asked.what == "flickr8k":
        found = flickr8k(bundle, asked.data, Table.open(path), asked.crowd_pairs)
    else:
        found = clipart(bundle, Table.open(path))
        print(json.dumps(found))
    out = asked.out or RECORDS / f"filter-quality-{asked.what}.json"
    models = json.loads(out.read_text(encoding="utf-8"))["models"] if out.exists() else {}
    name = asked.name or Path(asked.model).name
    models[name] = {"digest": bundle.digest, "found": found, "machine": machine_facts()}
    record = {"what": asked.what, "models": models}
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
