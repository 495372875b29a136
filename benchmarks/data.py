"""Import and loading beside the peers', on the same pictures in the same run.

    python benchmarks/data.py                      2,000 generated JPEGs of 500 x 375, two workers
    python benchmarks/data.py --pictures FOLDER    your own
    python benchmarks/data.py --write              also write benchmarks/records/data.json

- import: `limner import` against a plain loop that opens, decodes and hashes with Pillow, both on one core,
  in pictures a second of processor time, so that a busy neighbour counts for neither side.
- loader: CLIP's training transform (short side to 224, random square) and one caption a picture; batches of
  64 ready for a model. Peers: a `torch.utils.data` folder, webdataset, HF datasets, each with torchvision's
  transform, as their manuals have it. limner hands out u8 and normalises where the model is; that
  normalisation is inside its time. Pixels of the evaluation transform are compared before anything is timed.
- memory: resident set after each of three epochs.

Rounds alternate between the sides; figures are medians.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import statistics
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from limner.data.importing import import_source
from limner.data.loader import Loader
from limner.data.rows import Sample, TableRows
from limner.data.transforms import normalise, to_u8
from limner.shapes import CLIP_MEAN, CLIP_STD, ImageSpec

RECORDS = Path(__file__).parent / "records"
SPEC = ImageSpec(size=224, crop="center")
BATCH = 64
WORKERS = 2


def make_pictures(folder: Path, count: int, seed: int = 0) -> None:
    """Photograph-like JPEGs: smooth colours, edges, grain; about 60 KB each."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8))
        fine = Image.fromarray(rng.integers(0, 256, (47, 63, 3)).astype(np.uint8))
        image = Image.blend(
            *(one.resize((500, 375), Image.Resampling.BICUBIC) for one in (coarse, fine)), 0.4
        )
        grain = rng.normal(0, 5, (375, 500, 1))
        pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06d}.jpg", quality=90)
        (folder / f"{number:06d}.txt").write_text(f"picture number {number} of a made-up set")


def peer_transform() -> Callable[[Image.Image], torch.Tensor]:
    """CLIP's training transform as people write it with torchvision."""
    return v2.Compose(
        [
            v2.Resize(224, InterpolationMode.BICUBIC),
            v2.RandomCrop(224),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )


class Folder(Dataset[tuple[torch.Tensor, str]]):
    """Pictures with texts beside them, the plain way."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.jpg"))
        self.transform = peer_transform()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        path = self.paths[index]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), path.with_suffix(".txt").read_text()


def stacked(samples: list[Sample]) -> tuple[torch.Tensor, list[str]]:
    """A batch for limner's loader: u8 pixels and texts."""
    pixels = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return pixels.permute(0, 3, 1, 2), [sample.caption for sample in samples]


def limner_batches(place: Path, workers: str) -> Iterator[torch.Tensor]:
    """Normalised batches by limner."""
    rows = TableRows(place / "pairs.lance", SPEC, 0, cache_pixels=False, augment="clip")
    loader = Loader(rows, stacked, BATCH, 0, num_workers=WORKERS, workers=workers)
    for (pixels, _), _ in loader.batches():
        yield normalise(pixels, SPEC)


def folder_batches(place: Path) -> Iterator[torch.Tensor]:
    """By a map-style data set over a folder."""
    while True:
        loader = DataLoader(
            Folder(place / "pictures"), BATCH, shuffle=True, num_workers=WORKERS, drop_last=True
        )
        yield from (images for images, _ in loader)


def tar_batches(place: Path) -> Iterator[torch.Tensor]:
    """By webdataset, resampled shards and a buffer."""
    transform = peer_transform()
    shards = sorted(map(str, (place / "tars").glob("*.tar")))
    data = (
        webdataset.WebDataset(shards, resampled=True, shardshuffle=False)
        .shuffle(500)
        .decode("pilrgb")
        .to_tuple("jpg", "txt")
        .map_tuple(transform, lambda text: text)
        .batched(BATCH)
    )
    yield from (images for images, _ in webdataset.WebLoader(data, batch_size=None, num_workers=WORKERS))


class Transformed:
    """What `datasets` calls on the rows it reads."""

    def __init__(self) -> None:
        self.transform = peer_transform()

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Transform the pictures of a batch of rows."""
        return {
            "pixels": [self.transform(image.convert("RGB")) for image in rows["image"]],
            "text": rows["text"],
        }


def hf_batches(place: Path) -> Iterator[torch.Tensor]:
    """By HF datasets over memory-mapped Arrow."""
    data = datasets.Dataset.from_parquet(str(place / "pairs.parquet"), cache_dir=str(place / "cache"))
    data = data.cast_column("image", datasets.Image()).with_transform(Transformed())
    while True:
        loader = DataLoader(data, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True)
        yield from (batch["pixels"] for batch in loader)


def write_peers(place: Path) -> None:
    """The same pictures as tars and as Parquet."""
    paths = sorted((place / "pictures").glob("*.jpg"))
    texts = [path.with_suffix(".txt").read_text() for path in paths]
    (place / "tars").mkdir()
    for shard in range(8):
        with tarfile.open(place / "tars" / f"{shard:05d}.tar", "w") as tar:
            for path in paths[shard::8]:
                for file in (path, path.with_suffix(".txt")):
                    tar.add(file, file.name)
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    pq.write_table(pa.table({"image": images, "text": texts}), place / "pairs.parquet", row_group_size=100)


def compare_pixels(place: Path) -> int:
    """Largest difference, in levels of 255, between our evaluation pixels and torchvision's."""
    peer = v2.Compose([v2.Resize(224, InterpolationMode.BICUBIC), v2.CenterCrop(224), v2.PILToTensor()])
    worst = 0
    for path in sorted((place / "pictures").glob("*.jpg"))[:20]:
        image = Image.open(path).convert("RGB")
        ours = torch.from_numpy(to_u8(image, SPEC)).permute(2, 0, 1).int()
        worst = max(worst, int((ours - peer(image).int()).abs().max()))
    return worst


def per_second(batches: Iterator[torch.Tensor], count: int, skipped: int) -> float:
    """Pictures a second over `count` batches, once the workers run."""
    for _ in range(skipped):
        next(batches)
    begun = time.perf_counter()
    for _ in range(count):
        images = next(batches)
        assert images.shape == (BATCH, 3, 224, 224)
        assert images.dtype == torch.float32
    return count * BATCH / (time.perf_counter() - begun)


def measure_loaders(place: Path, rounds: int, count: int) -> dict[str, float]:
    """Pictures a second of every side, the sides taking turns."""
    sides: dict[str, Callable[[], Iterator[torch.Tensor]]] = {
        "limner, threads": lambda: limner_batches(place, "threads"),
        "limner, processes": lambda: limner_batches(place, "processes"),
        "torch folder": lambda: folder_batches(place),
        "webdataset": lambda: tar_batches(place),
        "HF datasets": lambda: hf_batches(place),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, start in sides.items():
            batches = start()
            found[name].append(per_second(batches, count, 4))
            del batches
    return {name: statistics.median(rates) for name, rates in found.items()}


def plain_import(place: Path) -> int:
    """Open, decode and hash every picture, nothing else."""
    done = 0
    for path in sorted((place / "pictures").glob("*.jpg")):
        data = path.read_bytes()
        hashlib.sha256(data).hexdigest()
        Image.open(io.BytesIO(data)).convert("RGB")
        done += 1
    return done


def limner_import(place: Path) -> int:
    """The whole import, table and all."""
    return import_source(place / "pictures", place / "again.lance", overwrite=True).rows


def measure_import(place: Path, rounds: int) -> dict[str, float]:
    """Pictures a second of processor time, and of wall time."""
    found: dict[str, list[float]] = {}
    cores = os.sched_getaffinity(0)
    for _ in range(rounds):
        for name, work in (("limner", limner_import), ("Pillow", plain_import)):
            os.sched_setaffinity(0, {min(cores)})
            cpu = time.process_time()
            done = work(place)
            found.setdefault(f"{name}, a core", []).append(done / (time.process_time() - cpu))
            os.sched_setaffinity(0, cores)
            wall = time.perf_counter()
            work(place)
            found.setdefault(f"{name}, wall", []).append(done / (time.perf_counter() - wall))
    return {name: statistics.median(rates) for name, rates in found.items()}


def measure_memory(place: Path) -> list[float]:
    """Resident set, MB, after each of three epochs read by threads."""
    process, found = psutil.Process(), []
    batches = limner_batches(place, "threads")
    each = len(list((place / "pictures").glob("*.jpg"))) // BATCH
    for _ in range(3):
        for _ in range(each):
            next(batches)
        found.append(process.memory_info().rss / 1e6)
    return found


def main() -> None:
    """Measure, print, perhaps write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.pictures:
            (place / "pictures").symlink_to(options.pictures.resolve())
        else:
            (place / "pictures").mkdir()
            make_pictures(place / "pictures", options.count)
        write_peers(place)
        import_source(place / "pictures", place / "pairs.lance")
        difference = compare_pixels(place)
        assert difference <= 1, f"evaluation pixels differ from torchvision's by {difference}"
        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "pictures": options.count,
            "difference_levels": difference,
            "import_per_s": measure_import(place, options.rounds),
            "loader_per_s": measure_loaders(place, options.rounds, options.batches),
            "memory_mb_after_epochs": measure_memory(place),
        }
    imported, loaded = result["import_per_s"], result["loader_per_s"]
    ours = max(rate for name, rate in loaded.items() if name.startswith("limner"))
    best = max(rate for name, rate in loaded.items() if not name.startswith("limner"))
    result["import_ratio"] = imported["limner, a core"] / imported["Pillow, a core"]
    result["loader_ratio"] = ours / best
    print(json.dumps(result, indent=1))
    if options.write:
        (RECORDS / "data.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
