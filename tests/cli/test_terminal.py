import json
import signal
import subprocess
import sys

import pytest

from limner.cli.terminal import Bar, Stopped, give, stoppable, talk


def test_data_goes_to_stdout_and_talk_to_stderr(capsys):
    talk("hello")
    give({"é": [1, None]})
    told = capsys.readouterr()
    assert told.err == "hello\n"
    assert json.loads(told.out) == {"é": [1, None]}
    assert "é" in told.out


def test_stoppable_turns_ctrl_c_into_advice():
    with pytest.raises(Stopped, match="go on like this"), stoppable("go on like this"):
        raise KeyboardInterrupt


def test_a_bar_says_one_line_where_there_is_no_terminal(capsys):
    with Bar("work") as progress:
        progress(1, 3)
        progress(2, 3)
    assert capsys.readouterr().err == "work …\n"


def test_a_bar_that_never_moves_says_nothing(capsys):
    with Bar("work"):
        pass
    assert capsys.readouterr().err == ""


def test_a_bar_draws_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Bar("work") as progress:
        progress(1, None)
        progress(3, 3)
    told = capsys.readouterr()
    assert "work" in told.err
    assert "3/3" in told.err
    assert told.out == ""


def test_stoppable_hears_ctrl_c_and_puts_the_handler_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="go on"), stoppable("go on"):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_before_the_work_ctrl_c_ends_the_process_at_once():
    code = (
        "import signal; from limner.cli.terminal import leave_on_ctrl_c; leave_on_ctrl_c()\n"
        "try: signal.raise_signal(signal.SIGINT)\nfinally: print('survived')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nstopped: nothing was begun\n")


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it():
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from limner.cli.terminal import leave_on_ctrl_c, stoppable; leave_on_ctrl_c()\n"
        "with stoppable('x'): signal.raise_signal(signal.SIGINT)\nprint('survived')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "survived\n"
