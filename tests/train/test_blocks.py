import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from limner.train.blocks import blocks, recompute
from limner.train.loop import train
from limner.train.run import Job


@pytest.mark.parametrize("kind", ["resnet", "vit", "masked_patch", "clip", "blip"])
def test_every_model_has_blocks(kind: str, make_task: Callable[..., Job]) -> None:
    assert blocks(make_task(kind).model)


@pytest.mark.parametrize("kind", ["resnet", "vit", "clip", "blip"])
def test_activations_made_again_give_the_same_run(
    kind: str, make_task: Callable[..., Job], tmp_path: Path
) -> None:
    """Weights, statistics of batch norms and parameter names, after steps with everything on."""
    plain = train(make_task(kind, steps=4), tmp_path / "plain")
    again = train(make_task(kind, steps=4, machine={"recompute": True}), tmp_path / "again")
    one, other = plain.model.state_dict(), again.model.state_dict()
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], atol=1e-6, rtol=1e-5, msg=name)


def test_dropout_is_the_same_the_second_time(make_job: Callable[..., Job], tmp_path: Path) -> None:
    plain = train(make_job(steps=3), tmp_path / "plain")
    again = train(make_job(steps=3, machine={"recompute": True}), tmp_path / "again")
    for one, other in zip(plain.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


class Counting(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.products += func._schema.name.split("::")[1] in ("addmm", "mm", "bmm")
        return func(*args, **(kwargs or {}))


def test_what_is_not_kept_is_made_again_and_only_in_training(make_task: Callable[..., Job]) -> None:
    counts = []
    for again in (False, True):
        job = make_task("vit")
        if again:
            recompute(job.model)
        batch, _ = next(job.loader.batches())
        with Counting() as counter:
            job.step(job.model, job.state, batch, 0).loss.backward()
        counts.append(counter.products)
    assert counts[1] > counts[0]


COMPILED = """
import sys, tempfile
from pathlib import Path
import jobs, torch
from limner.train.loop import train

torch.set_num_threads(1)
ends = []
for on in (False, True):
    job = jobs.make_job("vit", steps=4, machine={"compile": on})
    ends.append(train(job, Path(tempfile.mkdtemp(dir=sys.argv[1]))).model)
one, other = (model.state_dict() for model in ends)
assert one.keys() == other.keys()
print(max((one[name] - other[name]).abs().max().item() for name in one))
"""


@pytest.mark.slow
def test_compiled_blocks_give_the_same_run(tmp_path: Path) -> None:
    """In a process of its own: the compiler cannot look through the type checks of the tests."""
    ended = subprocess.run(
        [sys.executable, "-c", COMPILED, str(tmp_path)],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.split()[-1]) < 1e-4
