"""The table of model sizes: parameters and GMACs of every line of `MODELS`, counted on the meta device.

python benchmarks/model_sizes.py          compare with the committed table
python benchmarks/model_sizes.py --write  write src/limner/assets/model_sizes.json and docs/models.md
"""

import argparse
import json
import sys
from pathlib import Path

from limner.models import MODELS
from limner.models.sizes import TABLE, Size, measure

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
HEAD = """# Models

Every model limner can build, from `limner.models()`. Parameters are exact, shared ones counted once; GMACs
are 10⁹ multiply-accumulates of convolutions, linear layers and attention for one picture of the size given
(of the image encoder alone where a model also reads texts, of the pyramid of a detector). Written by
`python benchmarks/model_sizes.py --write`; a test counts again.

| name | parameters | GMACs | pixels | from | also called |
|---|---:|---:|---:|---|---|
"""


def page(sizes: dict[str, Size]) -> str:
    """The table as Markdown."""
    rows = []
    for name, size in sizes.items():
        line = MODELS[name]
        aliases = ", ".join(f"`{alias}`" for alias in line.aliases)
        cells = [f"{size.parameters:,}", f"{size.gmacs:.2f}", str(line.image_spec.size), line.paper, aliases]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Count, and compare or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table and the page")
    write = parser.parse_args().write
    sizes = {name: measure(name) for name in MODELS}
    if write:
        TABLE.write_text(
            json.dumps({n: s._asdict() for n, s in sizes.items()}, indent=1) + "\n", encoding="utf-8"
        )
        PAGE.write_text(page(sizes), encoding="utf-8")
    committed = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    wrong = [name for name, size in sizes.items() if committed.get(name) != size._asdict()]
    print(f"{len(sizes)} models, {len(wrong)} differ from {TABLE.name}: {wrong}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
