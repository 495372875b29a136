"""One process: everything is the plain thing. Two: what they tell each other, and where gradients go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limner import ranks

SCRIPT = """
import torch
from limner import ranks

with ranks.joined("cpu"):
    rank = ranks.rank()
    assert ranks.size() == 2 and ranks.local_rank() == rank
    assert ranks.agreed(rank) == 1
    assert ranks.told({"a": [1, "é"], "rank": rank}) == {"a": [1, "é"], "rank": 0}
    assert ranks.mean(torch.tensor([1.0 + rank, 4.0])).tolist() == [1.5, 4.0]

    rows = (torch.arange(4.0).reshape(2, 2) + 10 * rank).requires_grad_()
    every = ranks.gathered(rows)
    assert every.detach().tolist() == [[0, 1], [2, 3], [10, 11], [12, 13]]
    (every * torch.arange(1.0, 5.0)[:, None] * (rank + 1)).sum().backward()  # both ranks ask of every row
    assert rows.grad[:, 0].tolist() == [[3.0, 6.0], [9.0, 12.0]][rank]
    assert ranks.own(every).tolist() == rows.tolist()

    assert ranks.gathered(torch.tensor([rank])).tolist() == [0, 1]
    short = torch.ones(1, 1 + 2 * rank, dtype=torch.long)
    assert ranks.padded(short, 7).tolist() == [[[1, 7, 7]], [[1, 1, 1]]][rank]

    # three tokens here, one there: the mean over all four, as shares whose average it is
    total = torch.tensor([6.0, 2.0][rank])
    shares = ranks.gathered(ranks.mean_of(total, [3, 1][rank])[None])
    assert shares.mean() == 2.0
    assert ranks.mean_of(torch.tensor(0.0), 0) == 0.0
    ranks.wait()
    print(f"rank {rank} ended\\n", end="", flush=True)
assert ranks.size() == 1
"""


def test_two_ranks_tell_each_other(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ended = subprocess.run(
        [sys.executable, *launch, str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.splitlines()) == ["rank 0 ended", "rank 1 ended"]


def test_one_process_is_the_plain_thing() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    assert (ranks.size(), ranks.rank()) == (1, 0)
    assert ranks.gathered(x) is x
    assert ranks.agreed(3) == 3
    assert ranks.told({"a": 1}) == {"a": 1}
    assert ranks.mean(torch.tensor([2.0])).tolist() == [2.0]
    assert torch.equal(ranks.own(x), x)
    ids = torch.ones(2, 3, dtype=torch.long)
    assert torch.equal(ranks.padded(ids), ids)
    assert float(ranks.mean_of(torch.tensor(6.0), 3)) == 2.0
    assert float(ranks.mean_of(torch.tensor(0.0), 0)) == 0.0
    ranks.wait()


def test_without_torchrun_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with ranks.joined("cpu"):
        assert ranks.size() == 1
        assert ranks.local_rank() == 3
