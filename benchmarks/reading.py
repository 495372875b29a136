"""Visual questions and statements about two pictures, measured: `benchmarks/records/evaluate/reading.json`.

    uv run python benchmarks/reading.py TASK MODEL TABLE [--where SQL] [--count N] [--set name=value …]

Each call adds or replaces one result, with its command, settings, intervals and notes; samples are left out.
"""

import argparse
import json
import time
from pathlib import Path

from limner.config import build
from limner.convert.opening import open_bundle
from limner.recipe.runner import machine_facts
from limner.suite.selection import Selection
from limner.suite.tasks import TASKS

RECORD = Path(__file__).parent / "records" / "evaluate" / "reading.json"


def main() -> None:
    """Measure one model on one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("model")
    parser.add_argument("table")
    parser.add_argument("--where", default="")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    entry = TASKS[asked.task]
    settings = build(dict(pair.split("=", 1) for pair in asked.set), entry.settings, "--set")
    bundle = open_bundle(asked.model)
    begin = time.perf_counter()
    rows = Selection(path=asked.table, where=asked.where, count=asked.count)
    outcome = entry.run(bundle, rows, settings, None)
    told = settings.model_dump(mode="json")
    if told.get("wordnet"):
        told["wordnet"] = Path(told["wordnet"]).name  # where it lies is nobody's business
    name, table = Path(asked.model).name, Path(asked.table).name
    filtered = f' --where "{asked.where}"' if asked.where else ""
    counted = f" --count {asked.count}" if asked.count else ""
    found = {
        "task": asked.task,
        "model": name,
        "digest": bundle.digest,
        "table": table,
        "where": asked.where,
        "count": asked.count,
        "command": f"benchmarks/reading.py {asked.task} {name} {table}{filtered}{counted}",
        "settings": told,
        "measures": {name: measure._asdict() for name, measure in outcome.measures.items()},
        "details": dict(outcome.details),
        "notes": list(outcome.notes),
        "seconds": round(time.perf_counter() - begin, 1),
        "machine": machine_facts(),
    }
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else []
    same = ("task", "model", "table", "where")
    kept = [one for one in kept if any(one[name] != found[name] for name in same)]
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps([*kept, found], indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(found["measures"], indent=1))


if __name__ == "__main__":
    main()
