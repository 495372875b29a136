"""Transfer, robustness and bias of models on real data, through the suite; writes records with intervals.

python benchmarks/transfer.py WORK JOB [--model M]   JOB is one of `JOBS`; tables are made in the folder WORK

Data is that of `../shared/data`, or of LIMNER_SHARED; what is absent is said. Records go to
benchmarks/records/evaluate/JOB.json.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow.parquet import read_table

from limner.config import build
from limner.convert.opening import open_bundle
from limner.data.table import SCHEMA, Table
from limner.suite.selection import Selection
from limner.suite.tasks import TASKS

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("LIMNER_SHARED", HERE.parents[1] / "shared" / "data"))
RECORDS = HERE / "records" / "evaluate"
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Job = Callable[[Path], tuple[str, str, Selection, dict[str, Any]]]


def pacs(work: Path) -> Path:
    """250 rows of each domain, with a column `domain`."""
    path, schema = work / "pacs_domains.lance", SCHEMA.append(pa.field("domain", pa.string()))
    if not path.exists():
        found: dict[str, list[dict[str, Any]]] = {}
        for number, row in enumerate(read_table(SHARED / "pacs" / "pacs128.parquet").to_pylist()):
            own = {"key": str(number), "image": row["image"], "label": row["name"], "domain": row["domain"]}
            found.setdefault(row["domain"], []).append(own)
        every = [rows[:: len(rows) // 250][:250] for rows in found.values()]
        order = sorted((row for rows in every for row in rows), key=lambda row: row["domain"] != "photo")
        Table.write(path, [pa.RecordBatch.from_pylist(order, schema)], schema)
    return path


def cifar(work: Path) -> Path:
    """The first 500 rows of the test split, classes by name."""
    path = work / "cifar500.lance"
    if not path.exists():
        rows = read_table(SHARED / "cifar10" / "test.parquet").slice(0, 500).to_pylist()
        plain = [
            {"key": str(number), "image": row["jpeg"], "label": CIFAR[int(row["label"])]}
            for number, row in enumerate(rows)
        ]
        Table.write(path, [pa.RecordBatch.from_pylist(plain, SCHEMA)], SCHEMA)
    return path


def _robustness(work: Path) -> tuple[str, str, Selection, dict[str, Any]]:
    return "robustness", "limner_tiny", Selection(path=str(pacs(work))), {"templates": ["a picture of a {}"]}


def _corruptions(work: Path) -> tuple[str, str, Selection, dict[str, Any]]:
    weights = str(SHARED / "weights" / "resnet20-12fca82f.th")
    return "corruptions", weights, Selection(path=str(cifar(work))), {}


def _corruptions_56(work: Path) -> tuple[str, str, Selection, dict[str, Any]]:
    weights, baseline = SHARED / "weights" / "resnet56-4bfd9763.th", RECORDS / "corruptions_cifar10.json"
    return "corruptions", str(weights), Selection(path=str(cifar(work))), {"baseline": str(baseline)}


def _shapes(work: Path) -> tuple[str, str, Selection, dict[str, Any]]:
    return "shape_bias", "limner_tiny", Selection(path=""), {}


def _bias(work: Path) -> tuple[str, str, Selection, dict[str, Any]]:
    options = {"group": "domain", "templates": ["a picture of a {}"], "words": "none"}
    return "bias", "limner_tiny", Selection(path=str(pacs(work))), options


def _segments(work: Path) -> tuple[str, str, Selection, dict[str, Any]]:
    return "segmentation", "limner_tiny", Selection(path=""), {"scenes": 300, "scenes_seed": 77}


def _raccoon(work: Path) -> tuple[str, str, Selection, dict[str, Any]]:
    table = Selection(path=str(work / "raccoon.lance"), where="split = 'test'")
    return "detection", str(work / "raccoon"), table, {}


JOBS: dict[str, Job] = {
    "robustness_pacs": _robustness,
    "corruptions_cifar10": _corruptions,
    "corruptions_cifar10_resnet56": _corruptions_56,
    "shape_bias": _shapes,
    "bias_pacs": _bias,
    "segmentation_scenes": _segments,
    "detection_raccoon": _raccoon,
}


def _named(value: Any) -> Any:
    """A setting, of a file its name alone."""
    return Path(value).name if isinstance(value, str) and "/" in value else value


def main() -> None:
    """Run one job and write its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--model")
    given = parser.parse_args()
    task, model, selection, options = JOBS[given.job](given.work)
    bundle = open_bundle(given.model or model)
    if "cifar" in given.job and bundle.labels[:1] != ("airplane",):
        bundle = bundle._replace(labels=CIFAR)
    entry, started = TASKS[task], time.perf_counter()
    settings = build(options, entry.settings, task)
    outcome = entry.run(bundle, selection, settings, None)
    record = {
        "command": f"python benchmarks/transfer.py WORK {given.job}"
        + (f" --model {Path(given.model).name}" if given.model else ""),
        "task": task,
        "model": Path(given.model or model).name,
        "digest": bundle.digest,
        "settings": {name: _named(value) for name, value in settings.model_dump(mode="json").items()},
        "rows": len(outcome.samples),
        "measures": {name: list(measure) for name, measure in outcome.measures.items()},
        "details": dict(outcome.details),
        "notes": list(outcome.notes),
        "seconds": round(time.perf_counter() - started, 1),
    }
    out = RECORDS / f"{given.job}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["measures"], indent=1))


if __name__ == "__main__":
    main()
