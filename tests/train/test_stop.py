import signal
import threading

import pytest

from limner.train.stop import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with Stop() as stop:
        assert stop.reason == ""
        signal.raise_signal(number)
        assert stop.reason == number.name
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_is_a_keyboard_interrupt():
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.reason == "SIGINT"


def test_a_budget_runs_out(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stop = Stop(max_minutes=0.5)
    now[0] = 129.9
    assert stop.reason == ""
    now[0] = 130.0
    assert stop.reason == "max_minutes"


def test_another_thread_sets_no_handlers():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Stop():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
