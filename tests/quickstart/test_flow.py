import shutil
import signal
from itertools import product
from pathlib import Path

import pytest

from limner.capfilt.ledger import Ledger
from limner.data.table import Table
from limner.errors import ConfigError
from limner.quickstart.flow import QuickstartSettings, run
from limner.record import read_records
from limner.train import run as training

STAGES = ["tables", "capfilt", "train_raw", "train_cleaned", "heldout", "report"]


@pytest.fixture(scope="module")
def settings(model_folder):
    return QuickstartSettings(rows=64, held_out=100, steps=2, batch_size=8, model=str(model_folder))


@pytest.fixture(scope="module")
def finished(settings, few_emoji, listener, tmp_path_factory):
    """What one quickstart returned; tests copy its folder before they change it."""
    return run(settings, tmp_path_factory.mktemp("quickstart") / "out", listener())


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished.out, tmp_path / "out"))


def reused(out: Path) -> dict[str, bool]:
    """Stage → whether the last run reused it."""
    return {r["name"]: r["reused"] for r in read_records(out / "records.jsonl", "stage")}


def last(out: Path, kind: str) -> dict:
    return read_records(out / "records.jsonl", kind)[-1]


def test_everything_is_there_and_recorded(finished):
    assert reused(finished.out) == dict.fromkeys(STAGES, False)
    assert finished.page == finished.out / "report.html"
    assert "Does cleaning pay?" in finished.page.read_text(encoding="utf-8")
    assert last(finished.out, "capfilt")["ledger"] == finished.ledger
    assert last(finished.out, "audit").items() >= finished.audit.items()
    recorded = {r["model"]: r["measures"] for r in read_records(finished.out / "records.jsonl", "heldout")}
    assert recorded == finished.held_out
    assert [*recorded] == ["start", "raw", "cleaned"]
    comparisons = read_records(finished.out / "records.jsonl", "comparison")
    assert [c["gain"] for c in comparisons] == [c["gain"] for c in finished.comparisons]
    assert list(finished.seconds) == STAGES


def test_the_noise_is_what_was_asked(finished):
    noise = last(finished.out, "noise")
    assert (noise["swapped"], noise["junk"]) == (19, 3)


def test_auroc_is_derived_again_from_the_table(finished):
    table = Table.open(finished.out / "tables" / "scenes.lance")
    rows = zip(table.column("truth"), table.column("itm_web"), strict=True)
    pairs = [(truth[0], score[0]) for truth, score in rows if truth[0] != "junk" and score[0] is not None]
    clean = [score for truth, score in pairs if truth == "clean"]
    swapped = [score for truth, score in pairs if truth == "swapped"]
    wins = sum((a > b) + (a == b) / 2 for a, b in product(clean, swapped))
    assert finished.audit["auroc_swapped"] == pytest.approx(wins / (len(clean) * len(swapped)))


def test_the_ledger_is_derived_again_from_the_table(finished):
    table = Table.open(finished.out / "tables" / "scenes.lance")
    decisions = table.column("decision")
    ledger = Ledger(**finished.ledger)
    assert ledger.rows == len(decisions) == 64
    for name in ("kept", "replaced", "dropped"):
        assert getattr(ledger, name) == decisions.count(name)
    web = [decision for row in table.column("decision_web") for decision in row]
    assert (ledger.web.kept, ledger.web.dropped) == (web.count("keep"), web.count("drop"))
    assert ledger.pairs == sum(map(len, table.column("texts_bootstrapped")))


def test_truth_of_synthetic_captions_is_beside_them_and_never_trained_on(finished):
    table = Table.open(finished.out / "tables" / "scenes.lance")
    assert {word for row in table.column("truth_synthetic") for word in row} <= {"clean", "wrong"}
    for name in ("raw", "cleaned"):
        assert "truth" not in (finished.out / "runs" / name / "recipe.toml").read_text(encoding="utf-8")


def test_both_trainings_differ_only_in_what_they_read(finished):
    raw, cleaned = (
        (finished.out / "runs" / name / "recipe.toml").read_text(encoding="utf-8").splitlines()[1:]
        for name in ("raw", "cleaned")
    )
    different = {
        line.split(" = ")[0] for pair in zip(raw, cleaned, strict=True) if pair[0] != pair[1] for line in pair
    }
    assert different == {"texts_column", "version"}


def test_a_second_run_reuses_all_that_is_valid_and_says_so(settings, copied, finished, listener):
    # tables of a copied folder lie elsewhere, so trainings are new; the next run reuses them too
    run(settings, copied, listener())
    teller = listener()
    again = run(settings, copied, teller)
    assert reused(copied) == dict.fromkeys(STAGES, True) | {"report": False}
    assert teller.bars == []
    assert sum("still valid" in line for line in teller.lines) == len(STAGES) - 1
    assert (again.ledger, again.audit) == (finished.ledger, finished.audit)
    assert again.held_out == finished.held_out


def test_only_what_changed_is_done_again(settings, copied, listener):
    run(settings, copied, listener())
    run(settings.model_copy(update={"steps": 3}), copied, listener())
    assert reused(copied) == {
        "tables": True,
        "capfilt": True,
        "train_raw": False,
        "train_cleaned": False,
        "heldout": False,
        "report": False,
    }
    shutil.rmtree(copied / "runs" / "raw" / "model")
    run(settings.model_copy(update={"steps": 3}), copied, listener())
    assert reused(copied)["train_raw"] is False
    assert reused(copied)["train_cleaned"] is True


def test_a_damaged_table_is_made_again(settings, copied, listener):
    shutil.rmtree(copied / "tables" / "scenes.lance")
    run(settings, copied, listener())
    assert reused(copied)["tables"] is reused(copied)["capfilt"] is False


def test_a_stopped_training_is_gone_on_with(settings, few_emoji, listener, tmp_path, monkeypatch):
    log = training.Run.log

    def interrupted(*arguments):
        monkeypatch.setattr(training.Run, "log", log)
        signal.raise_signal(signal.SIGINT)
        return log(*arguments)

    longer, out = settings.model_copy(update={"steps": 4}), tmp_path / "out"
    monkeypatch.setattr(training.Run, "log", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(longer, out, listener())
    assert [p.name for p in out.rglob("*partial*")] == []
    run(longer, out, listener())
    assert (reused(out)["tables"], reused(out)["capfilt"]) == (True, True)
    (resumed,) = read_records(out / "runs" / "raw" / "records.jsonl", "resume")
    assert 0 < resumed["step"] < 4
    assert last(out / "runs" / "raw", "end")["reason"] == "finished"


def test_force_does_everything_again(settings, few_emoji, copied, listener):
    run(settings, copied, listener(), force=True)
    assert reused(copied) == dict.fromkeys(STAGES, False)


def test_a_folder_of_something_else_is_refused(settings, listener, tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(ConfigError, match="holds no quickstart"):
        run(settings, tmp_path, listener())
    assert (tmp_path / "thesis.txt").exists()
