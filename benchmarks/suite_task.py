"""One task of the evaluation suite, its result kept as a record.

python benchmarks/suite_task.py TASK --out benchmarks/records/evaluate/NAME.json [--model limner_tiny]
    [--data TABLE] [--name TABLE'S NAME IN THE RECORD] [--where SQL] [--count N] [--set name=value ...]
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import torch

import limner
from limner.config import build, override
from limner.convert.opening import open_bundle
from limner.suite.selection import Selection
from limner.suite.tasks import TASKS


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--model", default="limner_tiny")
    for option in ("data", "where", "name"):
        parser.add_argument(f"--{option}", default="")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    bundle = open_bundle(given.model)
    settings = build(override({}, given.set), TASKS[given.task].settings, "--set")
    selection = Selection(path=given.data, where=given.where, count=given.count)
    began, cpu = time.perf_counter(), time.process_time()
    found = TASKS[given.task].run(bundle, selection, settings, None)
    command = " ".join(shlex.quote(part) for part in sys.argv)
    for path, name in ((given.data, given.name), (given.model, Path(given.model).parent.name)):
        if "/" in path:
            command = command.replace(path, name or Path(path).name)
    record = {
        "command": f"python {command}",
        "task": given.task,
        "model": bundle.kind,
        "digest": bundle.digest,
        "settings": settings.model_dump(mode="json"),
        "where": given.where,
        "measures": {name: measure._asdict() for name, measure in found.measures.items()},
        "details": dict(found.details),
        "notes": list(found.notes),
        "examples": list(found.samples)[:4] if "flickr" not in given.data else [],
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "machine": {"limner": limner.__version__, "torch": torch.__version__, "threads": 1},
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, measure in found.measures.items():
        between = "" if measure.low is None else f"  [{measure.low:.4f}, {measure.high:.4f}]"
        print(f"{name:24} {measure.value:9.4f}{between}")


if __name__ == "__main__":
    main()
