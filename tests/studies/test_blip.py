import json
import shutil

import pytest

from limner.capfilt.decision import KEEP
from limner.config import build
from limner.data.table import Table
from limner.errors import ConfigError, DataError
from limner.record import read_records
from limner.studies import STUDIES
from limner.studies.blip import SMALL, CapFiltStudy, run
from limner.studies.blip_paper import ARMS

SETTINGS = SMALL.model_copy(update={"seeds": 1, "arms": ("none", "filter", "captioner", "both")})
CELLS = ["tables", "none", "tune/captioner", "tune/filter", "capfilt/nucleus", "filter", "captioner", "both"]
MORE = ["capfilt/beam", "beam", "tune/shared", "capfilt/shared", "shared"]


class Teller:
    """Keeps what it is told; raises at a cell when it is to."""

    def __init__(self, dies_at: str = "") -> None:
        self.dies_at, self.lines = dies_at, []

    def say(self, line: str) -> None:
        self.lines.append(line)
        if self.dies_at and line.startswith(self.dies_at):
            raise KeyboardInterrupt

    def bar(self, title: str):
        from contextlib import nullcontext

        return nullcontext(lambda done, total: None)


@pytest.fixture(scope="module")
def finished(_cache_folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_CACHE", str(_cache_folder))
        return run(SETTINGS, tmp_path_factory.mktemp("study") / "out", Teller())


def stages(out):
    return read_records(out / "records.jsonl", "stage")


def test_every_cell_is_run_once_and_the_raw_model_serves_as_start(finished):
    assert [record["name"] for record in stages(finished.out)] == [f"0/{cell}" for cell in CELLS]


@pytest.mark.slow
def test_a_whole_small_study(tmp_path):
    result = run(SMALL, tmp_path / "out", Teller())
    names = [record["name"] for record in stages(result.out)]
    assert names == [f"{seed}/{cell}" for seed in (0, 1) for cell in CELLS + MORE]
    assert {row["table"] for row in result.verdicts} == {"1", "2", "4"}
    assert {row["seeds"] for row in result.means} == {2}


def test_what_each_arm_reads_follows_from_the_decisions(finished):
    """Against a slow loop over the decision columns."""
    facts = {record["name"]: record["facts"] for record in stages(finished.out)}
    table = Table.open(finished.out / "seed0" / "tables" / "web.lance", facts["0/capfilt/nucleus"]["version"])
    names = ["texts", "synthetic", "decision_web", "decision_synthetic"]
    pairs = dict.fromkeys(SETTINGS.arms, 0)
    dropped = total = 0
    for web, new, said_web, said_new in zip(*map(table.column, names), strict=True):
        kept_web = {t for t, said in zip(web, said_web, strict=True) if said == KEEP}
        kept_new = {t for t, said in zip(new, said_new, strict=True) if said == KEEP}
        read = {"none": {*web}, "filter": kept_web, "captioner": {*web, *new}, "both": kept_web | kept_new}
        for arm, texts in read.items():
            pairs[arm] += sum(bool(text.strip()) for text in texts)
        total += len(web) + len(new)
        dropped += [*said_web, *said_new].count("drop")
    assert {arm: facts[f"0/{arm}"]["pairs"] for arm in pairs} == pairs
    assert facts["0/both"]["measures"]["filtered"] == pytest.approx(dropped / total)


def test_means_and_verdicts_are_derived_again_from_the_cells(finished):
    facts = {record["name"]: record["facts"] for record in stages(finished.out)}
    rows = {(row["arm"], row["measure"]): row["value"] for row in finished.means}
    for arm in SETTINGS.arms:
        assert rows[arm, "cider_d"] == facts[f"0/{arm}"]["measures"]["cider_d"]
    assert {row["verdict"] for row in finished.verdicts} == {"too small to tell"}  # a single seed
    recorded = read_records(finished.out / "records.jsonl", "verdict")
    assert [row["verdict"] for row in recorded] == [row["verdict"] for row in finished.verdicts]


def test_the_page_names_every_arm(finished):
    page = finished.page.read_text(encoding="utf-8")
    assert all(ARMS[arm].text in page for arm in SETTINGS.arms)
    assert page.count("<svg") == 4


def test_a_finished_study_is_read_again_and_nothing_is_run(finished, tmp_path):
    out = shutil.copytree(finished.out, tmp_path / "out")
    again = run(SETTINGS, out, Teller())
    assert all(record["reused"] for record in stages(out)[len(CELLS) :])
    assert (again.means, again.verdicts) == (finished.means, finished.verdicts)


def test_a_killed_study_goes_on_where_it_stopped(finished, tmp_path):
    out = tmp_path / "out"
    alone = SETTINGS.model_copy(update={"arms": ("none", "filter")})
    with pytest.raises(KeyboardInterrupt):
        run(alone, out, Teller(dies_at="seed 0, tune/captioner"))
    done = [record["name"] for record in stages(out)]
    assert done == ["0/tables", "0/none"]
    run(alone, out, Teller())
    after = {record["name"]: record["reused"] for record in stages(out)[len(done) :]}
    assert [name for name, reused in after.items() if reused] == done
    whole = {r["name"]: r["facts"] for r in stages(finished.out)}
    mine = {r["name"]: r["facts"] for r in stages(out)}
    assert mine["0/filter"]["measures"] == whole["0/filter"]["measures"]


def test_a_threshold_by_labels_redoes_what_hangs_on_it_alone(finished, tmp_path):
    out = shutil.copytree(finished.out, tmp_path / "out")
    by_labels = SETTINGS.model_copy(update={"labelled": 24, "precision": 0.1})
    result = run(by_labels, out, Teller())
    assert "filtered" not in {row["measure"] for row in result.means}
    again = {record["name"][2:]: record for record in stages(out)[len(CELLS) :]}
    assert [name for name in CELLS if not again[name]["reused"]] == ["capfilt/nucleus", "filter", "both"]
    assert again["capfilt/nucleus"]["facts"]["threshold"] != 0.5
    labels = (out / "seed0" / "tables" / "labels.csv").read_text().splitlines()
    assert labels[0] == "key,text,good"
    assert len(labels) == 25


def test_labels_that_promise_too_little_say_what_to_set(finished, tmp_path):
    out = shutil.copytree(finished.out, tmp_path / "out")
    with pytest.raises(DataError, match="no threshold is sure to keep texts") as caught:
        run(SETTINGS.model_copy(update={"labelled": 24, "precision": 0.99}), out, Teller())
    assert "--set labelled=0" in caught.value.hint


def test_one_arm_needs_no_capfilt(tmp_path):
    result = run(SETTINGS.model_copy(update={"arms": ("none",)}), tmp_path / "out", Teller())
    assert result.cleanings == {0: {}}
    assert result.verdicts == []


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no study"):
        run(SETTINGS, tmp_path, Teller())


def test_an_unknown_arm_is_refused_and_none_is_always_there():
    with pytest.raises(ConfigError, match="no arm 'noise'"):
        build({"arms": ["noise"]}, CapFiltStudy, "study")
    assert CapFiltStudy(arms=("both",)).arms == ("none", "both")
    assert ("blip", "capfilt") in STUDIES
    assert json.loads(SMALL.model_dump_json())["seeds"] == 2
