"""The papers' experiments, at a size that a laptop runs: each says what came of the claims of its paper."""

from typing import Final

STUDIES: Final[dict[tuple[str, str], str]] = {
    ("blip", "capfilt"): "BLIP, tables 1, 2 and 4: captioner, filter, both; nucleus or beam; apart or shared",
}
"""(paper, experiment) → what it reruns."""
