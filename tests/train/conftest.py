"""Jobs of `jobs.py` as fixtures."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.data.loader import Loader, Pairs
from limner.data.tokenizers import WordPiece
from limner.models.blip import BLIP, BLIPConfig
from limner.train.optim import OptimSettings
from limner.train.run import Job
from limner.train.settings import MachineSettings, TrainSettings
from limner.train.steps import BLIPStep, ObjectiveSettings, start_blip

SCRIPT = Path(__file__).with_name("jobs.py")
JOBS: dict[str, Any] = runpy.run_path(str(SCRIPT))
SPEC = JOBS["SPEC"]


@pytest.fixture(scope="session")
def tokenizer() -> WordPiece:
    words: WordPiece = JOBS["words"]()
    return words


@pytest.fixture
def blip_config(tokenizer: WordPiece) -> BLIPConfig:
    config: BLIPConfig = JOBS["blip_config"](tokenizer)
    return config


@pytest.fixture
def make_job(blip_config: BLIPConfig, tokenizer: WordPiece) -> Callable[..., Job]:
    """Make the same fresh BLIP job each time, with dropout; further keywords go to the train settings."""

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
            loader=Loader(JOBS["Squares"](), Pairs(tokenizer), settings.batch_size, settings.seed),
            optim=OptimSettings(lr=5e-3, warmup_steps=2),
            settings=settings,
            machine=MachineSettings(**(machine or {})),
        )

    return make


@pytest.fixture
def make_task() -> Callable[..., Job]:
    """Make a fresh job of a kind: "resnet", "vit", "masked_patch", "clip", "blip"; see `jobs.py`."""
    make: Callable[..., Job] = JOBS["make_job"]
    return make


@pytest.fixture(scope="session")
def on_two_ranks() -> Callable[..., None]:
    """Run `jobs.py OUT KIND…` on two processes, to its end."""

    def run(*arguments: str) -> None:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        ended = subprocess.run(
            [sys.executable, *launch, str(SCRIPT), *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr

    return run


@pytest.fixture(scope="session")
def shard_job() -> Callable[..., Job]:
    """Make a job of a kind that can be sharded; see `jobs.py`."""
    make: Callable[..., Job] = JOBS["shard_job"]
    return make
