"""One at a time, and nobody is locked out by the dead."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limner.capfilt.claim import _locked, claimed
from limner.errors import DataError

HOLD = """
import sys, time
from pathlib import Path
from limner.capfilt.claim import claimed
with claimed(Path(sys.argv[1]), "review"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_of_one_kind_do_not_get_along(tmp_path: Path) -> None:
    table = tmp_path / "pairs.lance"
    with claimed(table, "review"):
        message = f"has a review already, by process {os.getpid()} on"
        with pytest.raises(DataError, match=message), claimed(table, "review"):
            pytest.fail("both held it")
        with claimed(table, "capfilt"), claimed(tmp_path / "other.lance", "review"):
            assert len(list(tmp_path.iterdir())) == 3
    assert list(tmp_path.iterdir()) == []
    with claimed(table, "review"):
        pass


def test_a_lock_that_is_taken_away_as_it_is_opened_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with path.open("w") as file:
        path.unlink()
        assert not _locked(file, path)
        with path.open("w"):
            assert not _locked(file, path)


def test_what_failed_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "a.lance", "review"):
        raise ZeroDivisionError
    with claimed(tmp_path / "a.lance", "review"):
        pass


def test_the_lock_of_a_killed_process_is_nobodys(tmp_path: Path) -> None:
    table = tmp_path / "pairs.lance"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(table)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DataError, match=f"by process {other.pid} on"), claimed(table, "review"):
            pytest.fail("both held it")
        os.kill(other.pid, signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.lance.review.lock"]
    with claimed(table, "review"):
        assert f"process {os.getpid()}" in (tmp_path / "pairs.lance.review.lock").read_text()
