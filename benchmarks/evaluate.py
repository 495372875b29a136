"""The evaluation suite beside its peers, on the same weights and arrays, outputs compared first.

    python benchmarks/evaluate.py [--classes 2 4 8 16] [--out benchmarks/records/evaluate.json]

Classifier: clip-benchmark's way (one class at a time, all 80 templates) with open_clip, against limner's, on
the same random CLIP B/32, for several numbers of classes: does the ratio hang on it? Probe: the whole grid of
97 penalties with scikit-learn against the sweep. Retrieval: what ranks of 5,000 pictures and 25,000 texts add
to the peak of a process's memory, in blocks and by the whole matrix. Re-ranking: the released evaluation's
loop, one query at a time in each direction, against limner's, `limner_tiny` on made scenes. What was run is
in the record; nothing is extrapolated.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from limner.checkpoint import Bundle
from limner.convert.opening import open_bundle
from limner.data.scenes import SceneSettings, scene
from limner.data.transforms import to_u8
from limner.evaluate.matching import match_looked
from limner.evaluate.metrics import first_ranks
from limner.evaluate.pictures import Look, embed_images, embed_texts, look
from limner.evaluate.probe import sweep_probe
from limner.evaluate.retrieval import OUTSIDE, ranks_by_cosine, rerank
from limner.evaluate.templates import templates_of
from limner.evaluate.zeroshot import class_weights
from limner.suite.run import machine_facts


def timed(*ways: Callable[[], Any], rounds: int = 3) -> tuple[list[Any], list[float]]:
    """What each way gives, and its median seconds, measured in alternation."""
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        found = []
        for way, held in zip(ways, seconds, strict=True):
            began = time.perf_counter()
            found.append(way())
            held.append(time.perf_counter() - began)
    return found, [statistics.median(held) for held in seconds]


def peers(folder: Path) -> tuple[Any, Any, Bundle]:
    """The same random CLIP in open_clip and in limner."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "random.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    bundle = open_bundle(path, options={"activation": "quick_gelu"})
    return model, open_clip.get_tokenizer("ViT-B-32"), bundle


@torch.inference_mode()
def one_class_at_a_time(
    model: Any, tokenizer: Any, names: list[str], templates: tuple[str, ...]
) -> np.ndarray:
    """clip-benchmark's loop."""
    found = []
    for name in names:
        vectors = model.encode_text(tokenizer([template.replace("{}", name) for template in templates]))
        mean = F.normalize(vectors, dim=-1).mean(dim=0)
        found.append(mean / mean.norm())
    return torch.stack(found).numpy()


def classifier(counts: list[int], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """How long zero-shot classifiers of so many classes take to build."""
    made = peers(folder)
    return [one_classifier(classes, rounds, *made) for classes in counts]


def one_classifier(classes: int, rounds: int, model: Any, tokenizer: Any, bundle: Bundle) -> dict[str, Any]:
    """How long one takes."""
    names, templates = open_clip.IMAGENET_CLASSNAMES[:classes], templates_of("imagenet")
    ours = partial(class_weights, partial(embed_texts, bundle), names, templates)
    theirs = partial(one_class_at_a_time, model, tokenizer, names, templates)
    (own, other), (mine, peer) = timed(ours, theirs, rounds=rounds)
    difference = float(np.abs(own - other).max())
    assert difference < 1e-5, difference
    return {
        "classes": classes,
        "templates": len(templates),
        "limner_s": mine,
        "clip_benchmark_s": peer,
        "ratio": peer / mine,
        "largest_difference": difference,
    }


def probe(rounds: int, rows: int, width: int) -> dict[str, Any]:
    """The sweep against the whole grid; a quarter of the rows chooses."""
    rng = np.random.default_rng(0)
    centres, truth = rng.normal(size=(10, width)), np.arange(rows) % 10
    x = (centres[truth] * 3.2 / width**0.5 + rng.normal(size=(rows, width))).astype(np.float32)
    train, val = slice(0, rows * 3 // 4), slice(rows * 3 // 4, rows)

    def grid() -> dict[float, float]:
        scores = {}
        for log in np.arange(-48, 49) / 8:
            fitted = LogisticRegression(C=10.0**-log, max_iter=1000).fit(x[train], truth[train])
            scores[float(log)] = float(fitted.score(x[val], truth[val]))
        return scores

    sweep = partial(sweep_probe, x[train], truth[train], x[val], truth[val], 10)
    (found, every), (mine, peer) = timed(sweep, grid, rounds=rounds)
    assert all(abs(every[log] - accuracy) < 1e-12 for log, accuracy in found.tried.items())
    return {
        "rows": rows,
        "width": width,
        "classes": 10,
        "fits": len(found.tried),
        "limner_s": mine,
        "scikit_learn_97_fits_s": peer,
        "ratio": peer / mine,
        "best_of_sweep": max(found.tried.values()),
        "best_of_grid": max(every.values()),
    }


PICTURES, EACH = 5000, 5


def ranks(way: str) -> dict[str, Any]:
    """Ranks in both directions in this process: seconds, what the peak rose by, and a sum to compare."""
    rng = np.random.default_rng(0)
    sizes = (PICTURES, PICTURES * EACH)
    images, words = (rng.integers(-8, 9, (n, 256)).astype(np.float32) for n in sizes)  # exact in any order
    owners = np.arange(len(words)) // EACH
    before, began = peak_mb(), time.perf_counter()
    if way == "blocks":
        of_picture = np.arange(len(words)).reshape(-1, EACH).tolist()
        found = [ranks_by_cosine(images, words, of_picture), ranks_by_cosine(words, images, owners[:, None])]
    else:
        scores, right = images @ words.T, np.arange(PICTURES)[:, None] == owners
        found = [first_ranks(scores, right), first_ranks(scores.T, right.T)]
    told = {"seconds": time.perf_counter() - began, "peak_rises_by_mb": peak_mb() - before}
    return told | {"ranks": [int(rank.sum()) for rank in found]}


def peak_mb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def retrieval() -> dict[str, Any]:
    """Memory and seconds of ranks, each way in a process of its own."""
    told = {}
    for way in ("blocks", "matrix"):
        command = [sys.executable, __file__, "--ranks", way]
        told[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert told["blocks"].pop("ranks") == told["matrix"].pop("ranks")
    matrix = PICTURES * PICTURES * EACH * 4 / 1e6
    return {"pictures": PICTURES, "texts": PICTURES * EACH, "matrix_itself_mb": matrix} | told


def one_query_at_a_time(
    bundle: Bundle, seen: Look, texts: list[str], cosine: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The released evaluation's loop: each picture with its k texts, then each text with its k pictures."""
    to_text, to_image = (np.full(cosine.shape, OUTSIDE, np.float32) for _ in range(2))
    for picture, row in enumerate(cosine):
        best = np.argsort(row, kind="stable")[::-1][:k]
        logits = match_looked(bundle, seen, [texts[text] for text in best], [picture] * len(best))
        to_text[picture, best] = logits[:, 1] + row[best]
    for text, column in enumerate(cosine.T):
        best = np.argsort(column, kind="stable")[::-1][:k]
        logits = match_looked(bundle, seen, [texts[text]] * len(best), best.tolist())
        to_image[best, text] = logits[:, 1] + column[best]
    return to_text, to_image


def reranking(rounds: int, pictures: int = 100, k: int = 16) -> dict[str, Any]:
    """Milliseconds a query."""
    bundle = open_bundle("limner_tiny")
    scenes = [scene(SceneSettings(seed=7), 20_000_000 + number) for number in range(pictures)]
    images = [to_u8(Image.fromarray(made.image), bundle.image_spec) for made in scenes]
    texts = [text for made in scenes for text in made.captions[:2]]
    cosine = embed_images(bundle, images) @ embed_texts(bundle, texts).T
    ours = partial(rerank, bundle, images, texts, cosine, k)

    def theirs() -> tuple[np.ndarray, np.ndarray]:
        return one_query_at_a_time(bundle, look(bundle, images), texts, cosine, k)

    (own, other), (mine, peer) = timed(ours, theirs, rounds=rounds)
    difference = max(float(np.abs(one - two).max()) for one, two in zip(own, other, strict=True))
    assert difference < 1e-3, difference
    queries = pictures + len(texts)
    return {
        "pictures": pictures,
        "texts": len(texts),
        "k": k,
        "limner_ms_a_query": 1000 * mine / queries,
        "one_query_at_a_time_ms_a_query": 1000 * peer / queries,
        "ratio": peer / mine,
        "largest_difference": difference,
    }


def main() -> None:
    """Run all, write the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--classes", type=int, nargs="+", default=[10])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/limner-bench-evaluate"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/records/evaluate.json"))
    parser.add_argument("--ranks", choices=("blocks", "matrix"), help="this alone, for the memory it takes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.ranks:
        print(json.dumps(ranks(given.ranks)))
        return
    found = {
        "retrieval": retrieval(),
        "reranking": reranking(given.rounds),
        "probe": [probe(given.rounds, 600, 64), probe(given.rounds, 2000, 256)],
        "classifier": classifier(given.classes, given.rounds, given.folder),
        "machine": machine_facts(),
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
