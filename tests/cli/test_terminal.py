import json
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
