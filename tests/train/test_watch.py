import io
import sys

import torch

from limner.train.watch import Display, Stopwatch, Window, resident_bytes

RECORD = {
    "step": 5,
    "loss": 1.5,
    "terms": {"itc": 0.5, "lm": 1.0},
    "lr": 1e-3,
    "samples_per_s": 130.0,
    "left_s": 90.0,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_window_gives_means_and_is_empty_again():
    window = Window()
    for value in (1.0, 2.0, 6.0):
        window.add({"loss": torch.tensor(value, requires_grad=True)})
    assert window.steps == 3
    assert window.take() == {"loss": 3.0}
    assert window.take() == {}
    assert window.steps == 0


def test_a_stopwatch_counts_waiting_and_leaves_pauses_out(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    watch = Stopwatch()
    now[0] = 1.0
    with watch.waiting():
        now[0] = 3.0
    with watch.paused():
        now[0] = 10.0
    now[0] = 11.0
    assert watch.take() == (4.0, 2.0)
    assert watch.take() == (0.0, 0.0)


def test_away_from_a_terminal_lines_are_reported(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    lines = []
    with Display(10, 0, lines.append) as display:
        display.advance(5)
        display.note(RECORD)
        display.say("hello")
    assert lines == [
        "step       5/10  loss 1.500  itc 0.500  lm 1.000  lr 1.00e-03  130 samples/s  1.5 min left",
        "hello",
    ]


def test_on_a_terminal_there_is_a_bar_and_no_lines(monkeypatch):
    terminal, lines = Terminal(), []
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with Display(10, 2, lines.append) as display:
        display.advance(5)
        display.note(RECORD)
        display.say("hello")
    assert lines == []
    assert "5/10" in terminal.getvalue()
    assert "130 samples/s" in terminal.getvalue()
    assert "hello" in terminal.getvalue()


def test_resident_bytes_are_those_of_this_process():
    assert 10e6 < resident_bytes() < 1e12
