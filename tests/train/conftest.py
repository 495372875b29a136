"""A task small enough to train in a test: two-coloured squares, and a BLIP of a few thousand weights."""

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from limner.data.loader import Loader, Pairs
from limner.data.rows import Sample
from limner.data.tokenizers import WordPiece
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec
from limner.train.loop import Job, MachineSettings, TrainSettings
from limner.train.optim import OptimSettings
from limner.train.steps import BLIPStep, ObjectiveSettings, start_blip

SPEC = ImageSpec(size=16)
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "black": (0, 0, 0),
    "white": (255,) * 3,
}
PAIRS = list(permutations(COLOURS, 2))


class Squares:
    """Rows: the left half in one colour, the right half in another; every other row has a question."""

    def __len__(self) -> int:
        return len(PAIRS)

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        return [self._sample(index) for index in indices]

    def _sample(self, index: int) -> Sample:
        left, right = PAIRS[index]
        image = np.zeros((16, 16, 3), np.uint8)
        image[:, :8], image[:, 8:] = COLOURS[left], COLOURS[right]
        asked = ("what is left?", left) if index % 2 else ("", "")
        return Sample(f"pair-{index}", image, f"{left} beside {right}", *asked, image_id=index)


@pytest.fixture(scope="session")
def tokenizer() -> WordPiece:
    return WordPiece.from_texts([*(f"{a} beside {b}" for a, b in PAIRS), "what is left?"], 120)


@pytest.fixture
def blip_config(tokenizer: WordPiece) -> BLIPConfig:
    sizes = {"width": 16, "num_heads": 2, "mlp_dim": 32}
    text = BertConfig(vocab_size=tokenizer.vocab_size, depth=2, max_positions=32, memory_width=16, **sizes)
    vision = ViTConfig(image_size=16, patch_size=4, depth=1, stem=(8,), **sizes)
    ids = {f"{name}_id": getattr(tokenizer, f"{name}_id") for name in ("pad", "cls", "sep", "dec", "enc")}
    return BLIPConfig(vision=vision, text=text, embed_dim=8, **ids)


@pytest.fixture
def make_job(blip_config: BLIPConfig, tokenizer: WordPiece) -> Callable[..., Job]:
    """Make the same fresh job each time; further keywords go to the train settings."""

    def make(
        objective: ObjectiveSettings | None = None, machine: dict[str, Any] | None = None, **train: Any
    ) -> Job:
        objective = objective or ObjectiveSettings(queue_size=20, alpha_steps=3)
        settings = TrainSettings(**{"steps": 8, "batch_size": 5, "log_every": 1, **train})
        torch.manual_seed(settings.seed)
        model = BLIP(blip_config)
        return Job(
            model=model,
            state=start_blip(model, objective, settings.seed),
            step=BLIPStep(objective, SPEC),
            loader=Loader(Squares(), Pairs(tokenizer), settings.batch_size, settings.seed),
            optim=OptimSettings(lr=5e-3, warmup_steps=2),
            settings=settings,
            machine=MachineSettings(**(machine or {})),
        )

    return make
