"""How large a model is and what one picture costs: exact counts, without a weight in memory.

Checked against: papers.md's counts of torchvision, timm, open_clip and transformers. The committed table
`assets/model_sizes.json` holds them for all of `MODELS`; `python benchmarks/model_sizes.py --write` makes it.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from limner.models import build, entry
from limner.shapes import ImageSpec

TABLE = Path(__file__).parents[1] / "assets" / "model_sizes.json"


class Size(NamedTuple):
    """What a model holds and costs.

    Args:
        parameters: shared ones once.
        gmacs: 10⁹ multiply-accumulates of convolutions, linear layers and attention, for one picture of the
            model's size; for a model that reads texts, of its image encoder alone; for a detector, of its
            feature pyramid.
    """

    parameters: int
    gmacs: float


def measure(name: str) -> Size:
    """Count a named model on the meta device."""
    line = entry(name)
    with torch.device("meta"):
        model = build(name).eval()
        part = next((name for name in ("vision", "backbone") if hasattr(model, name)), "")
        encoder = model.get_submodule(part)
        macs = _macs(encoder, torch.empty(1, 3, *_side(line.image_spec)))
    return Size(sum(parameter.numel() for parameter in model.parameters()), round(macs / 1e9, 4))


def _side(spec: ImageSpec) -> tuple[int, int]:
    return spec.size, spec.size


def _macs(encoder: nn.Module, pixels: Tensor) -> float:
    """Half the floating-point operations of one forward pass: torch counts a multiply and an add."""
    with FlopCounterMode(display=False) as counter:
        encoder(pixels)
    return float(counter.get_total_flops()) / 2


@cache
def table() -> dict[str, Size]:
    """The committed sizes of all of `MODELS`, by name; no model is built."""
    values = json.loads(TABLE.read_text(encoding="utf-8"))
    return {name: Size(line["parameters"], line["gmacs"]) for name, line in values.items()}
