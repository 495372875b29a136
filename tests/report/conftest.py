"""A small run folder with made-up records and a cleaned table whose noise is known."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from limner.data.intake import identify
from limner.data.quarantine import QUARANTINE_SCHEMA
from limner.data.table import SCHEMA, Table
from limner.record import Recorder

TEXTS = pa.list_(pa.string())
SCORES = pa.list_(pa.float32())
COLUMNS = pa.schema(
    {
        "key": pa.string(),
        "image": pa.large_binary(),
        "texts": TEXTS,
        "itm_web": SCORES,
        "decision_web": TEXTS,
        "reason_web": TEXTS,
        "synthetic": TEXTS,
        "itm_synthetic": SCORES,
        "decision_synthetic": TEXTS,
        "reason_synthetic": TEXTS,
        "decision": pa.string(),
        "reason": pa.string(),
        "truth": TEXTS,
        "truth_synthetic": TEXTS,
    }
)
INTERVAL = {"low": 0.4, "high": 0.6}


def picture(number: int) -> bytes:
    image = Image.new("RGB", (160, 120), (250 - number % 5 * 20, 240, 200 + number % 3 * 20))
    ImageDraw.Draw(image).ellipse((40, 20, 120, 100), fill=(30 + number * 9 % 200, 90, 160))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def row(number: int, web: tuple[str, str, float | None], synthetic: tuple[str, float]) -> dict[str, Any]:
    """One row: (text, truth, score) of the web, (truth, score) of the captioner."""
    text, truth, score = web
    web_reason = "junk:placeholder" if score is None else None if score >= 0.5 else "unmatched"
    synthetic_reason = None if synthetic[1] >= 0.5 else "unmatched"
    decision = "kept" if web_reason is None else "replaced" if synthetic_reason is None else "dropped"
    return {
        "key": f"row-{number}",
        "image": picture(number),
        "texts": [text],
        "itm_web": [score],
        "decision_web": ["drop" if web_reason else "keep"],
        "reason_web": [web_reason],
        "synthetic": [f"a blue ball number {number}"],
        "itm_synthetic": [synthetic[1]],
        "decision_synthetic": ["drop" if synthetic_reason else "keep"],
        "reason_synthetic": [synthetic_reason],
        "decision": decision,
        "reason": web_reason,
        "truth": [truth],
        "truth_synthetic": [synthetic[0]],
    }


def rows() -> list[dict[str, Any]]:
    """Ten of a kind: right and kept, swapped and repaired; then one of each mistake, and junk."""
    right = [row(i, (f"a ball, the {i}th", "clean", 0.9 + i / 200), ("clean", 0.95)) for i in range(10)]
    swapped = [row(10 + i, (f"two owls and {i} cats", "swapped", i / 50), ("clean", 0.97)) for i in range(10)]
    return [
        *right,
        *swapped,
        row(20, ("a round ball", "clean", 0.2), ("clean", 0.9)),
        row(21, ("a <script>alert(1)</script> bear", "swapped", 0.8), ("wrong", 0.6)),
        row(22, ("three dogs", "swapped", 0.1), ("wrong", 0.3)),
        row(23, ("nan", "junk", None), ("clean", 0.9)),
    ]


LEDGER = {
    "rows": 24,
    "kept": 11,
    "added": 11,
    "replaced": 12,
    "dropped": 1,
    "replaced_reasons": {"unmatched": 11, "junk:placeholder": 1},
    "dropped_reasons": {"unmatched": 1},
    "web": {"total": 24, "kept": 11, "dropped": 13, "reasons": {"unmatched": 12, "junk:placeholder": 1}},
    "synthetic": {"total": 24, "kept": 23, "dropped": 1, "reasons": {"unmatched": 1}},
    "pairs": 34,
}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    batch = pa.RecordBatch.from_pylist(rows(), schema=COLUMNS)
    return Table.write(tmp_path / "run" / "tables" / "scenes.lance", [batch], COLUMNS)


@pytest.fixture
def run(table: Table) -> Path:
    """The folder of a quickstart, with all its records."""
    folder = table.path.parents[1]
    recorder = Recorder(folder / "records.jsonl")
    recorder.write("quickstart", seed=0, rows=24, steps=300, model="limner_tiny")
    recorder.write("noise", clean=12, swapped=11, junk=1)
    recorder.write("environment", python="3.11", machine="test", cpu_count=2, torch="2.10")
    for name, seconds in (("tables", 4.0), ("capfilt", 40.5), ("training", 80.25)):
        recorder.write(
            "stage", name=name, title=name.capitalize(), seconds=seconds, peak_rss_gb=1.25, reused=False
        )
    recorder.write("table", path="tables/scenes.lance", rows=24)
    recorder.write("capfilt", table="scenes.lance", version=2, settings={"threshold": 0.5}, ledger=LEDGER)
    recorder.write(
        "audit",
        auroc=0.98,
        auroc_swapped=0.991,
        drop_precision=12 / 13,
        drop_recall=12 / 13,
        pictures_correct_before=11 / 24,
        pictures_correct_after=22 / 24,
        texts_correct_before=11 / 24,
        texts_correct_after=32 / 34,
        synthetic_correct=22 / 24,
        synthetic_correct_kept=21 / 23,
    )
    for model, value in (("start", 0.5), ("raw", 0.45), ("cleaned", 0.55)):
        measures = {"i2t_r1": {"value": value, **INTERVAL}, "loss": {"value": 1.5}}
        recorder.write("heldout", model=model, rows=100, measures=measures)
        if model != "start":
            recorder.write("training", name=model, path=f"runs/{model}")
            losses = Recorder(folder / "runs" / model / "records.jsonl")
            for step in range(10, 60, 10):
                losses.write(
                    "train", step=step, loss=30 * value / step, terms={"itc": 1 / step, "lm": 2 / step}
                )
    recorder.write("comparison", measure="i2t_r1", gain=0.1, low=-0.02, high=0.21, verdict="within noise")
    return folder


def encoded(image: Image.Image, format_name: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def odd_rows() -> list[dict[str, Any]]:
    """Rows with one fault each; their keys say which."""
    rng = np.random.default_rng(0)

    def noise(width: int = 96, height: int = 96) -> Image.Image:
        small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        return small.resize((width, height), Image.Resampling.BICUBIC)

    first = noise()
    pictures = {
        "plain": (encoded(first), ["a red ball on the green grass of the park"], "train"),
        "copy": (encoded(first), ["a ball"], "test"),
        "near": (encoded(first.resize((80, 80)), "JPEG", quality=80), ["the same ball"], "val"),
        "blank": (encoded(Image.new("RGB", (96, 96), "white")), [], "train"),
        "dark": (encoded(Image.new("RGB", (97, 96), (9, 8, 7))), None, "train"),
        "wide": (encoded(noise(600, 30)), ["flower_01.svg"], "train"),
        "tiny": (encoded(noise(8, 8)), ["<script>alert(1)</script>"], "train"),
        "large": (encoded(noise(500, 480)), ["un chat noir dort sur le canapé du salon"], None),
        **{f"icon{i}": (encoded(noise()), ["flat icon"], "train") for i in range(5)},
    }
    rows = []
    for key, (data, texts, split) in pictures.items():
        seen = identify(data)
        known = {name: getattr(seen, name) for name in ("width", "height", "format", "sha256", "phash")}
        rows.append({"key": key, "image": data, **known, "texts": texts, "split": split, "licence": "CC0"})
    broken = rows[0] | {
        "key": "broken",
        "image": b"not a picture",
        "sha256": "",
        "phash": None,
        "texts": ["x"],
    }
    return [*rows, broken | {"split": None}]


@pytest.fixture
def odd_table(tmp_path: Path) -> Table:
    batch = pa.RecordBatch.from_pylist(odd_rows(), schema=SCHEMA)
    refused = [
        {"key": "r", "origin": "r.jpg", "reason": "truncated", "message": "JPEG breaks off", "source": "s"}
    ]
    quarantine = pa.RecordBatch.from_pylist(refused, schema=QUARANTINE_SCHEMA)
    Table.write(tmp_path / "odd.quarantine.lance", [quarantine], QUARANTINE_SCHEMA)
    return Table.write(tmp_path / "odd.lance", [batch])
