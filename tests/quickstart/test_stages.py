import numpy as np
import pytest

import limner
from limner.quickstart.stages import PeakMemory, Stages, identify
from limner.record import Recorder, read_records


@pytest.fixture
def recorder(tmp_path):
    return Recorder(tmp_path / "records.jsonl")


def test_a_stage_is_done_once_for_the_same_inputs(recorder, teller):
    calls = []

    def work():
        calls.append(1)
        return {"answer": len(calls)}

    for _ in range(2):
        assert Stages(recorder, teller).run("think", "Thinking", {"seed": 0}, work) == {"answer": 1}
    assert Stages(recorder, teller).run("think", "Thinking", {"seed": 1}, work) == {"answer": 2}
    assert [r["reused"] for r in read_records(recorder.path, "stage")] == [False, True, False]
    assert "Thinking: still valid from an earlier run, reused" in teller.lines


def test_a_stage_is_done_again_when_its_output_is_gone(recorder, teller):
    facts = {"n": 1}
    Stages(recorder, teller).run("a", "A", {}, lambda: facts)
    again = Stages(recorder, teller).run("a", "A", {}, lambda: {"n": 2}, valid=lambda known: known != facts)
    assert again == {"n": 2}


def test_a_stage_is_done_again_by_another_version_of_limner(recorder, teller, monkeypatch):
    Stages(recorder, teller).run("a", "A", {}, lambda: {"n": 1})
    monkeypatch.setattr(limner, "__version__", "other")
    assert Stages(recorder, teller).run("a", "A", {}, lambda: {"n": 2}) == {"n": 2}


def test_a_stage_that_fails_leaves_no_record(recorder, teller):
    with pytest.raises(KeyboardInterrupt):
        Stages(recorder, teller).run("a", "A", {}, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not recorder.path.exists()
    assert Stages(recorder, teller).run("a", "A", {}, lambda: {"n": 2}) == {"n": 2}


def test_cost_is_recorded_and_told(recorder, teller):
    Stages(recorder, teller).run("a", "A", {}, dict)
    (record,) = read_records(recorder.path, "stage")
    assert record["seconds"] >= 0
    assert 0.01 < record["peak_rss_gb"] < 100
    assert teller.lines == [f"A: {record['seconds']:.1f} s, {record['peak_rss_gb']:.2f} GB of memory at most"]


def test_memory_is_seen_while_it_is_held():
    with PeakMemory() as before:
        pass
    with PeakMemory() as during:
        held = np.ones(40_000_000)
        during._look()
        del held
    assert during.peak_gb - before.peak_gb > 0.2


def test_identity_follows_values_not_their_order():
    assert identify({"a": 1, "b": [2]}) == identify({"b": [2], "a": 1}) != identify({"a": 1, "b": [3]})
