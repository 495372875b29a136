"""Killed at random moments, again and again, a run ends as if nothing had been."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from limner.checkpoint import load_train_state, train_state_folders
from limner.record import read_records

SCRIPT = """
import sys
from pathlib import Path
import jobs, torch
from limner.train.loop import train
from limner import ranks

torch.set_num_threads(1)
with ranks.joined("cpu"):
    job = jobs.make_job("blip", steps=60, checkpoint_every=1, log_every=1, keep=2)
    print("began", flush=True)
    train(job, Path(sys.argv[1]), resume=True)
"""
HERE = Path(__file__).parent
KILLS = 20


def started(out: Path, ranks: int) -> "subprocess.Popen[str]":
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    script = out.parent / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, *launch, str(script), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def killed_until_it_ends(out: Path, ranks: int, times: int) -> int:
    """Kill the run at random moments after it began; then let it end. Gives the kills."""
    chance, kills = random.Random(0), 0
    for _ in range(times):
        child = started(out, ranks)
        assert child.stdout is not None
        assert child.stdout.readline().startswith("began")
        time.sleep(chance.uniform(0.05, 0.6))
        if child.poll() is not None:
            break
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        kills += 1
    child = started(out, ranks)
    _, error = child.communicate(timeout=300)
    assert child.returncode == 0, error
    return kills


@pytest.mark.slow
def test_twenty_kills_change_no_weight(tmp_path: Path) -> None:
    undisturbed = started(tmp_path / "whole", 1)
    _, error = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, error
    assert killed_until_it_ends(tmp_path / "killed", 1, KILLS) == KILLS
    one, other = (
        load_train_state(train_state_folders(tmp_path / name / "checkpoints")[-1])
        for name in ("whole", "killed")
    )
    assert one.step == other.step == 60
    for stem, tensors in one.tensors.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, other.tensors[stem][name]), f"{stem}/{name}"
    assert one.facts["loader"] == other.facts["loader"]
    steps = [record["step"] for record in read_records(tmp_path / "killed" / "records.jsonl", "train")]
    assert steps == list(range(1, 61))
    assert not [path for path in (tmp_path / "killed" / "checkpoints").iterdir() if "partial" in path.name]


@pytest.mark.slow
def test_kills_of_two_ranks_keep_the_order_of_samples(tmp_path: Path) -> None:
    """Losses of every step follow from the samples: those of an undisturbed run, on two ranks too."""
    whole = started(tmp_path / "whole", 1)
    whole.communicate(timeout=300)
    assert killed_until_it_ends(tmp_path / "killed", 2, 4) == 4
    losses = [
        [record["loss"] for record in read_records(tmp_path / name / "records.jsonl", "train")]
        for name in ("whole", "killed")
    ]
    assert len(losses[0]) == len(losses[1]) == 60
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1][:5] == pytest.approx(losses[0][:5], rel=1e-4)
