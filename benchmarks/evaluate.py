"""The evaluation suite beside its peers, on the same weights and arrays, outputs compared first.

    python benchmarks/evaluate.py [--classes 10] [--out benchmarks/records/evaluate.json]

Classifier: clip-benchmark's way (one class at a time, all 80 templates) with open_clip, against limner's, on
the same random CLIP B/32. Probe: the whole grid of 97 penalties with scikit-learn against the sweep.
Retrieval: peak of numpy's memory for 5,000 pictures and 25,000 texts against the whole matrix of a fifth. The
classes that were run are in the record; nothing is extrapolated.
"""

import argparse
import json
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from limner.checkpoint import Bundle
from limner.convert.opening import open_bundle
from limner.evaluate.metrics import first_ranks
from limner.evaluate.pictures import embed_texts
from limner.evaluate.probe import sweep_probe
from limner.evaluate.retrieval import ranks_by_cosine
from limner.evaluate.templates import templates_of
from limner.evaluate.zeroshot import class_weights
from limner.suite.run import machine_facts


def timed(*ways: Callable[[], Any], rounds: int = 3) -> list[float]:
    """Median seconds of each way, measured in alternation."""
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, held in zip(ways, seconds, strict=True):
            began = time.perf_counter()
            way()
            held.append(time.perf_counter() - began)
    return [statistics.median(held) for held in seconds]


def peers(folder: Path) -> tuple[Any, Any, Bundle]:
    """The same random CLIP in open_clip and in limner."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "random.safetensors"
    from safetensors.torch import save_file

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


def classifier(classes: int, rounds: int, folder: Path) -> dict[str, Any]:
    """How long the zero-shot classifier takes to build."""
    model, tokenizer, bundle = peers(folder)
    names, templates = open_clip.IMAGENET_CLASSNAMES[:classes], templates_of("imagenet")
    ours = lambda: class_weights(lambda texts: embed_texts(bundle, texts), names, templates)  # noqa: E731
    theirs = lambda: one_class_at_a_time(model, tokenizer, names, templates)  # noqa: E731
    difference = float(np.abs(ours() - theirs()).max())
    assert difference < 1e-5, difference
    mine, peer = timed(ours, theirs, rounds=rounds)
    return {
        "classes": classes,
        "templates": len(templates),
        "limner_s": mine,
        "clip_benchmark_s": peer,
        "ratio": peer / mine,
        "largest_difference": difference,
    }


def probe(rounds: int) -> dict[str, Any]:
    """The sweep against the whole grid."""
    rng = np.random.default_rng(0)
    centres, truth = rng.normal(size=(10, 64)), np.arange(600) % 10
    x = (centres[truth] * 0.4 + rng.normal(size=(600, 64))).astype(np.float32)
    train, val = slice(0, 400), slice(400, 600)
    found = sweep_probe(x[train], truth[train], x[val], truth[val], 10)

    def grid() -> dict[float, float]:
        scores = {}
        for log in np.arange(-48, 49) / 8:
            fitted = LogisticRegression(C=10.0**-log, max_iter=1000).fit(x[train], truth[train])
            scores[float(log)] = float(fitted.score(x[val], truth[val]))
        return scores

    every = grid()
    assert all(abs(every[log] - accuracy) < 1e-12 for log, accuracy in found.tried.items())
    mine, peer = timed(
        lambda: sweep_probe(x[train], truth[train], x[val], truth[val], 10), grid, rounds=rounds
    )
    return {
        "rows": 400,
        "width": 64,
        "classes": 10,
        "fits": len(found.tried),
        "limner_s": mine,
        "scikit_learn_97_fits_s": peer,
        "ratio": peer / mine,
        "best_of_sweep": max(found.tried.values()),
        "best_of_grid": max(every.values()),
    }


def peak_mb(call: Callable[[], Any]) -> tuple[float, Any]:
    """Peak of the memory that numpy takes while a call runs."""
    tracemalloc.start()
    found = call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6, found


def retrieval(pictures: int = 5000, texts: int = 25_000) -> dict[str, Any]:
    """Memory and seconds of ranks in blocks, and by the whole matrix on a fifth of it."""
    rng = np.random.default_rng(0)
    images, words = (rng.normal(size=(n, 256)).astype(np.float32) for n in (pictures, texts))
    each = texts // pictures
    of_picture = [list(range(each * p, each * p + each)) for p in range(pictures)]
    owners = np.arange(texts) // each
    few = pictures // 5
    whole, ranks = peak_mb(
        lambda: first_ranks(
            images[:few] @ words[: few * each].T, np.arange(few)[:, None] == owners[: few * each]
        )
    )
    same = ranks_by_cosine(images[:few], words[: few * each], of_picture[:few])
    assert (ranks == same).all()
    began = time.perf_counter()
    to_text, _ = peak_mb(lambda: ranks_by_cosine(images, words, of_picture))
    to_image, _ = peak_mb(lambda: ranks_by_cosine(words, images, [[int(owner)] for owner in owners]))
    return {
        "pictures": pictures,
        "texts": texts,
        "seconds": time.perf_counter() - began,
        "peak_mb": max(to_text, to_image),
        "matrix_mb": pictures * texts * 4 / 1e6,
        "whole_matrix_of_a_fifth_peak_mb": whole,
    }


def main() -> None:
    """Run all, write the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/limner-bench-evaluate"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/records/evaluate.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        "retrieval": retrieval(),
        "classifier": classifier(given.classes, given.rounds, given.folder),
        "probe": probe(given.rounds),
        "machine": machine_facts(),
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
