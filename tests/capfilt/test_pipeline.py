"""The whole job on a table of 23 rows: what it writes, what it leaves alone, and how it is interrupted."""

import copy
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from limner.capfilt import measure as measure_module
from limner.capfilt.decision import DECIDED, KEEP
from limner.capfilt.fewer import merged, merging
from limner.capfilt.ledger import check, tally
from limner.capfilt.measure import Job
from limner.capfilt.pipeline import CapFiltResult, is_measured, run
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import Bundle, load, save_bundle
from limner.data.table import Table
from limner.errors import CheckpointError, ConfigError, DataError
from limner.models.blip import BLIP
from limner.models.generate import Decoding
from limner.record import Recorder, read_records

SETTINGS = CapFiltSettings(decoding=Decoding(method="nucleus", max_tokens=6), batch_size=4, chunk_rows=8)
COLUMNS = ["key", "texts", *DECIDED.names]


def _content(table: Table) -> list[dict[str, Any]]:
    return [row for batch in table.batches(COLUMNS) for row in batch]


def _alike(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    """Equal but for the last digits of scores."""
    for one, two in zip(first, second, strict=True):
        for name in COLUMNS:
            if name.startswith(("itm_", "itc_", "log_prob_")):
                assert one[name] == pytest.approx(two[name], abs=1e-4)
            else:
                assert one[name] == two[name], name


def _leftovers(table: Table) -> list[str]:
    return sorted(path.name for path in table.path.parent.iterdir() if path != table.path)


@pytest.fixture
def result(noisy: Table, bundle: Bundle) -> CapFiltResult:
    return run(noisy, bundle, bundle, SETTINGS)


def test_one_new_version_with_every_column_and_the_old_one_untouched(
    noisy: Table, result: CapFiltResult
) -> None:
    assert result.table.version == noisy.version + 1
    assert set(result.table.column_names) == {*noisy.column_names, *DECIDED.names, "capfilt"}
    assert Table.open(noisy.path, noisy.version).column_names == noisy.column_names
    assert _leftovers(noisy) == []
    assert f"{result.ledger.kept} rows kept" in result.table.versions()[-1].note


def test_the_ledger_is_that_of_the_table(result: CapFiltResult) -> None:
    rows = [row | {"texts": row["texts"] or []} for row in _content(result.table)]
    assert tally(rows) == result.ledger
    check(result.ledger, rows=23, web_texts=16 + 1 + 2 + 0 + 0 + 1 + 3 + 1, synthetic_texts=21)
    assert result.ledger.kept > 0
    assert result.ledger.web.reasons["unmatched"] > 0


def test_junk_is_never_scored_and_always_dropped(result: CapFiltResult) -> None:
    rows = {row["key"]: row for row in _content(result.table)}
    assert rows["row16"]["reason_web"] == ["junk:file_name"]
    assert rows["row16"]["itm_web"] == rows["row16"]["itc_web"] == [None]
    assert rows["row17"]["reason_web"][0] == "junk:placeholder"
    assert rows["row17"]["itm_web"][1] is not None
    assert rows["row18"]["decision_web"] == []
    assert rows["row18"]["decision"] == "dropped" or rows["row18"]["reason"] == "no_web_text"
    assert rows["row20"]["reason_web"] == ["junk:empty"]
    assert rows["row22"]["reason_web"] == ["junk:url"]


def test_a_broken_picture_costs_its_row_and_no_other(result: CapFiltResult) -> None:
    for row in _content(result.table):
        broken = row["key"] in ("row3", "row19")
        assert (row["reason"] == "picture:truncated") == broken
        assert len(row["synthetic"]) == (0 if broken else 1)
        if broken:
            assert (row["decision"], row["texts_bootstrapped"]) == ("dropped", [])
            assert all(score is None for score in row["itm_web"])


def test_lists_run_beside_the_texts(result: CapFiltResult) -> None:
    for row in _content(result.table):
        for side, texts in (("web", row["texts"] or []), ("synthetic", row["synthetic"])):
            lengths = {len(row[f"{name}_{side}"]) for name in ("itm", "itc", "decision", "reason")}
            assert lengths == {len(texts)}
            for score, decision in zip(row[f"itm_{side}"], row[f"decision_{side}"], strict=True):
                assert (decision == KEEP) == (score is not None and score >= 0.5)


def test_batch_size_changes_nothing_but_last_digits(
    noisy: Table, bundle: Bundle, result: CapFiltResult
) -> None:
    small = SETTINGS.model_copy(update={"batch_size": 1, "chunk_rows": 5})
    again = run(result.table, bundle, bundle, small, force=True)
    assert again.measured == 23
    _alike(_content(result.table), _content(again.table))


def test_same_input_same_output(bundle: Bundle, result: CapFiltResult) -> None:
    again = run(result.table, bundle, bundle, SETTINGS, force=True)
    assert again.table.version == result.table.version + 1
    assert _content(again.table) == _content(result.table)
    assert again.ledger == result.ledger


def test_a_second_run_reuses_what_stands(bundle: Bundle, other_bundle: Bundle, result: CapFiltResult) -> None:
    again = run(result.table, bundle, bundle, SETTINGS)
    assert (again.reused, again.measured, again.table.version) == ("all", 0, result.table.version)
    assert again.ledger == result.ledger
    assert run(again.table, bundle, other_bundle, SETTINGS).reused == "nothing"


def test_another_threshold_needs_no_second_look(
    bundle: Bundle, result: CapFiltResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_module, "image_tokens", lambda *_: pytest.fail("looked again"))
    strict = run(result.table, bundle, bundle, SETTINGS.model_copy(update={"threshold": 1.0}))
    assert (strict.reused, strict.measured) == ("scores", 0)
    assert strict.table.version == result.table.version + 1
    assert strict.ledger.dropped == 23
    back = run(strict.table, bundle, bundle, SETTINGS)
    assert back.reused == "scores"
    assert _content(back.table) == _content(result.table)


def test_changed_texts_are_measured_again(bundle: Bundle, result: CapFiltResult) -> None:
    texts = pa.table({"texts": pa.array([["a new text"]] * 23, pa.list_(pa.string()))})
    changed = result.table.add_columns(texts, "other texts")
    assert run(changed, bundle, bundle, SETTINGS).measured == 23


def test_columns_added_meanwhile_stay_and_changed_pairs_fail_the_job(noisy: Table, bundle: Bundle) -> None:
    def label(done: int, total: int) -> None:
        if done == total:
            noisy.add_columns(pa.table({"label": ["x"] * 23}), "labelled meanwhile")

    result = run(noisy, bundle, bundle, SETTINGS, progress=label)
    assert result.table.version == noisy.version + 2
    assert {"label", "decision"} <= set(result.table.column_names)

    def rewrite(done: int, total: int) -> None:
        if done == total:
            keys = pa.table({"key": [f"other{i}" for i in range(23)]})
            result.table.add_columns(keys, "other keys")

    with pytest.raises(DataError, match="have changed since version"):
        run(result.table, bundle, bundle, SETTINGS, progress=rewrite, force=True)


@pytest.mark.parametrize("shared", [True, False])
def test_each_picture_passes_once_through_each_vision_tower(
    noisy: Table, bundle: Bundle, other_bundle: Bundle, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[int, int]] = []
    encode = BLIP.encode_image

    def counted(self: BLIP, pixels: torch.Tensor) -> torch.Tensor:
        looked.extend([(id(self), pixels.shape[-1])] * len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(BLIP, "encode_image", counted)
    run(noisy, bundle, bundle if shared else other_bundle, SETTINGS)
    assert looked.count((id(bundle.model), 16)) == 21
    assert looked.count((id(other_bundle.model), 24)) == (0 if shared else 21)
    assert len(looked) == (21 if shared else 42)


def test_sharing_by_digest_gives_what_two_looks_give(noisy: Table, bundle: Bundle) -> None:
    once = _content(run(noisy, bundle, bundle, SETTINGS).table)
    twice = run(Table.open(noisy.path), bundle, bundle._replace(digest="f" * 12), SETTINGS)
    assert twice.reused == "nothing"
    _alike(once, _content(twice.table))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_job_leaves_the_table_and_goes_on(
    make_table: Callable[..., Table], noisy: Table, bundle: Bundle, stop: type[BaseException], tmp_path: Path
) -> None:
    def stop_at_12(done: int, total: int) -> None:
        if done >= 12:
            raise stop

    with pytest.raises(stop):
        run(noisy, bundle, bundle, SETTINGS, progress=stop_at_12)
    assert Table.open(noisy.path).version == noisy.version
    assert len(_leftovers(noisy)) == 1
    done: list[int] = []
    result = run(noisy, bundle, bundle, SETTINGS, progress=lambda n, total: done.append(n))
    assert (result.reused, result.measured, done) == ("part", 11, [16, 20, 23])
    assert _leftovers(noisy) == []
    fresh = run(result.table, bundle, bundle, SETTINGS, force=True)
    assert _content(fresh.table) == _content(result.table)


def test_a_ledger_that_does_not_balance_changes_nothing(
    noisy: Table, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measure_module._measure_good

    def forgetful(*args: Any) -> list[dict[str, Any]]:
        rows = measure(*args)
        for name in ("synthetic", "log_prob_synthetic", "junk_synthetic", "itm_synthetic", "itc_synthetic"):
            rows[0][name] = []
        return rows

    monkeypatch.setattr(measure_module, "_measure_good", forgetful)
    with pytest.raises(DataError, match="synthetic texts in"):
        run(noisy, bundle, bundle, SETTINGS)
    assert Table.open(noisy.path).version == noisy.version


def test_several_captions_a_picture(noisy: Table, bundle: Bundle) -> None:
    result = run(noisy, bundle, bundle, SETTINGS.model_copy(update={"captions_per_picture": 3}))
    assert result.ledger.synthetic.total == 63
    assert {len(row["itm_synthetic"]) for row in _content(result.table)} == {0, 3}


def test_it_is_recorded(noisy: Table, bundle: Bundle, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "records.jsonl")
    result = run(noisy, bundle, bundle, SETTINGS, recorder)
    (record,) = read_records(recorder.path, "capfilt")
    assert record["ledger"] == result.ledger.model_dump()
    assert (record["version"], record["shared"], record["measured"]) == (result.table.version, True, 23)
    assert record["settings"]["decoding"]["top_p"] == 0.9


def test_how_it_was_made_stands_in_the_table(result: CapFiltResult, bundle: Bundle) -> None:
    origins = result.table.column("capfilt")
    assert len(origins) == 23
    assert origins[0] == origins[-1]
    assert origins[0]["captioner"] == origins[0]["filter"] == bundle.digest
    assert CapFiltSettings.model_validate_json(origins[0]["settings"]) == SETTINGS


def test_wrong_input_is_named(make_table: Callable[..., Table], bundle: Bundle) -> None:
    table = make_table([["a cat"]])
    with pytest.raises(CheckpointError, match="does not read pictures and texts"):
        run(table, bundle, bundle._replace(tokenizer=None))
    with pytest.raises(DataError, match="no column 'captions'"):
        run(table, bundle, bundle, SETTINGS.model_copy(update={"texts_column": "captions"}))


def test_an_empty_table_is_refused(make_table: Callable[..., Table], bundle: Bundle) -> None:
    with pytest.raises(DataError, match="no rows"):
        run(make_table([]), bundle, bundle)


KILLED = """
import os, signal, sys
from limner.capfilt.pipeline import run
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import load
from limner.data.table import Table

def die(done, total):
    if done >= 20:
        os.kill(os.getpid(), signal.SIGKILL)

bundle = load(sys.argv[1])
run(Table.open(sys.argv[2]), bundle, bundle, CapFiltSettings.model_validate_json(sys.argv[3]), progress=die)
"""


@pytest.mark.slow
def test_a_killed_job_goes_on_from_its_last_part(noisy: Table, bundle: Bundle, tmp_path: Path) -> None:
    assert isinstance(bundle.model, BLIP)
    folder = tmp_path / "bundle"
    save_bundle(
        folder, bundle.model, "blip_base", bundle.model.config, bundle.image_spec, tokenizer=bundle.tokenizer
    )
    command = [sys.executable, "-c", KILLED, str(folder), str(noisy.path), SETTINGS.model_dump_json()]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert Table.open(noisy.path).version == noisy.version
    result = run(Table.open(noisy.path), load(folder), load(folder), SETTINGS)
    assert (result.reused, result.measured) == ("part", 23 - 16)
    whole = run(result.table, load(folder), load(folder), SETTINGS, force=True)
    assert _content(whole.table) == _content(result.table)


def test_drawn_and_searched_captions_stand_side_by_side(noisy: Table, bundle: Bundle) -> None:
    both = SETTINGS.model_copy(
        update={"captions_per_picture": 2, "also": Decoding(method="beam", max_tokens=6)}
    )
    result = run(noisy, bundle, bundle, both)
    assert result.ledger.synthetic.total == 63
    assert {tuple(row["decoding_synthetic"]) for row in _content(result.table)} == {
        (),
        ("nucleus", "nucleus", "beam"),
    }
    alone = run(noisy.open(noisy.path), bundle, bundle, SETTINGS.model_copy(update={"decoding": both.also}))
    for one, two in zip(_content(result.table), _content(alone.table), strict=True):
        assert one["synthetic"][2:] == two["synthetic"]


def test_thresholds_by_quantile_and_by_labels_need_no_second_look(
    result: CapFiltResult, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_module, "image_tokens", lambda *_: pytest.fail("looked again"))
    half = run(result.table, bundle, bundle, SETTINGS.model_copy(update={"quantile": 0.5}))
    assert (half.reused, half.cut.rule) == ("scores", "quantile")
    totals = half.ledger.web, half.ledger.synthetic
    assert sum(t.kept for t in totals) == sum(t.kept + t.reasons.get("unmatched", 0) for t in totals) // 2 + (
        sum(t.kept + t.reasons.get("unmatched", 0) for t in totals) % 2
    )
    words = [["good"] * len(texts or []) for texts in half.table.column("texts")]
    marked = half.table.add_columns(pa.table({"ok": pa.array(words, pa.list_(pa.string()))}), "marked")
    settings = SETTINGS.model_copy(update={"precision": 0.6, "labels": "ok"})
    sure = run(marked, bundle, bundle, settings)
    assert sure.reused == "scores"
    assert sure.cut.calibration is not None
    assert sure.cut.calibration.low >= 0.6
    assert json.loads(sure.table.column("capfilt")[0]["cut"]) == sure.cut.model_dump()
    assert run(sure.table, bundle, bundle, settings).reused == "all"
    with pytest.raises(DataError, match="no threshold is sure"):
        run(sure.table, bundle, bundle, settings.model_copy(update={"precision": 0.999}))
    assert Table.open(sure.table.path).version == sure.table.version


def test_kept_web_texts_are_a_column_of_their_own(result: CapFiltResult) -> None:
    for row in _content(result.table):
        pairs = zip(row["texts"] or [], row["decision_web"], strict=True)
        assert row["texts_kept"] == list(dict.fromkeys(t for t, d in pairs if d == KEEP))
        assert set(row["texts_bootstrapped"]) - set(row["texts_kept"]) <= set(row["synthetic"])


def test_a_screen_spares_itm_and_tells_what_it_costs(
    make_table: Callable[..., Table], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make_table([[f"a red bus above a cat {i}"] for i in range(40)])
    full = run(table, bundle, bundle, SETTINGS)
    cosines = sorted(row["itc_web"][0] for row in _content(full.table))
    asked: list[int] = []
    match = BLIP.match

    def counted(self: BLIP, memory: Any, *rest: Any) -> torch.Tensor:
        asked.append(memory.num_rows)
        return match(self, memory, *rest)

    monkeypatch.setattr(BLIP, "match", counted)
    screen = SETTINGS.model_copy(update={"itc_screen": cosines[20] + 1e-4})
    result = run(full.table, bundle, bundle, screen)
    assert result.reused == "nothing"
    rows = _content(result.table)
    spared = [measure_module.is_spared(SETTINGS.seed, row["key"]) for row in rows]
    assert 0 < sum(spared) < 20
    for row, whole, free in zip(rows, _content(full.table), spared, strict=True):
        low = row["itc_web"][0] < screen.itc_screen
        assert (row["reason_web"] == ["screened"]) == low
        assert (row["itm_web"][0] is None) == (low and not free)
        if row["itm_web"][0] is not None:
            assert row["itm_web"] == pytest.approx(whole["itm_web"], abs=1e-4)
    scores = [score for row in rows for score in row["itm_web"] + row["itm_synthetic"]]
    assert sum(asked) == sum(score is not None for score in scores) < 80
    assert result.screen is not None
    assert result.screen.screened > 0
    again = run(result.table, bundle, bundle, screen.model_copy(update={"threshold": 0.2}))
    assert again.reused == "scores"
    assert again.screen is not None
    assert again.screen.kept >= result.screen.kept


def test_a_row_that_a_model_fails_on_is_quarantined_alone(
    noisy: Table, bundle: Bundle, result: CapFiltResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    captions = measure_module.caption_memory

    def poisoned(bundle: Bundle, memory: Any, keys: list[str], *rest: Any, **more: Any) -> Any:
        if "row5" in keys:
            raise IndexError("index out of range in self")
        return captions(bundle, memory, keys, *rest, **more)

    monkeypatch.setattr(measure_module, "caption_memory", poisoned)
    recorder = Recorder(tmp_path / "records.jsonl")
    again = run(Table.open(noisy.path), bundle, bundle, SETTINGS, recorder, force=True)
    assert again.poisoned == [("row5", "IndexError: index out of range in self")]
    assert read_records(recorder.path, "capfilt")[0]["poisoned"][0]["key"] == "row5"
    rows, before = _content(again.table), _content(result.table)
    assert (rows[5]["decision"], rows[5]["reason"]) == ("dropped", "model:IndexError")
    assert again.ledger.rows == 23
    assert again.ledger.dropped_reasons["model:IndexError"] == 1
    _alike(rows[:5] + rows[6:], before[:5] + before[6:])
    strict = run(again.table, bundle, bundle, SETTINGS.model_copy(update={"threshold": 0.9}))
    assert strict.ledger.dropped_reasons["model:IndexError"] == 1


def test_memory_that_runs_out_costs_no_row(
    noisy: Table, bundle: Bundle, result: CapFiltResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode = BLIP.encode_image

    def small(self: BLIP, pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, pixels)

    monkeypatch.setattr(BLIP, "encode_image", small)
    again = run(result.table, bundle, bundle, SETTINGS.model_copy(update={"batch_size": 8}), force=True)
    assert max(sizes) > 3
    assert sum(size for size in sizes if size <= 3) == 21
    _alike(_content(again.table), _content(result.table))


def test_each_picture_is_decoded_once(
    noisy: Table, bundle: Bundle, other_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    decode = measure_module.decode

    def counted(data: bytes, **options: Any) -> Any:
        seen.append(data)
        return decode(data, **options)

    monkeypatch.setattr(measure_module, "decode", counted)
    run(noisy, bundle, other_bundle, SETTINGS)
    assert len(seen) == len(set(seen)) == 23


def test_where_weights_lie_in_memory_changes_no_bit(noisy: Table, bundle: Bundle) -> None:
    straight = run(noisy, bundle, bundle).table
    askew = copy.deepcopy(bundle.model)
    for weight in askew.parameters():
        room = torch.empty(weight.numel() + 1)
        weight.data = room[1:].view_as(weight).copy_(weight.data)
    crooked = bundle._replace(model=askew)
    again = run(straight, crooked, crooked, force=True).table
    assert all(weight.data_ptr() % 64 == 0 for weight in askew.parameters())
    columns = ["itm_web", "itc_web", "itc_synthetic"]
    assert again.arrow(columns) == straight.arrow(columns)


# ---------------------------------------------------------------- merged tokens

MERGE = SETTINGS.model_copy(update={"merge": 2})


def test_merging_is_of_both_models_and_stands_in_the_record(
    noisy: Table, bundle: Bundle, other_bundle: Bundle
) -> None:
    whole = run(noisy, bundle, other_bundle, SETTINGS)
    quick = run(whole.table, bundle, other_bundle, MERGE)
    assert (quick.reused, quick.measured) == ("nothing", 23)
    origin = quick.table.rows([0], ["capfilt"])[0]["capfilt"]
    assert CapFiltSettings.model_validate_json(origin["settings"]) == MERGE
    assert (origin["captioner"], origin["filter"]) == (
        f"{bundle.digest}+merge2",
        f"{other_bundle.digest}+merge2",
    )
    by_hand = run(quick.table, merging(bundle, 2), merging(other_bundle, 2), SETTINGS, force=True)
    assert _content(by_hand.table) == _content(quick.table)
    for name in ("itm_web", "itc_web", "log_prob_synthetic"):  # the filter's, and the captioner's
        assert [row[name] for row in _content(quick.table)] != [row[name] for row in _content(whole.table)]


def _stopped(done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_another_merging_is_another_run_that_goes_on_by_itself(
    noisy: Table, bundle: Bundle, result: CapFiltResult
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(result.table, bundle, bundle, MERGE, progress=_stopped)
    one = run(result.table, bundle, bundle, SETTINGS.model_copy(update={"merge": 1}))
    assert (one.reused, one.measured) == ("nothing", 23)
    two = run(one.table, bundle, bundle, MERGE)
    assert two.reused == "part"
    assert 0 < two.measured < 23
    strict = run(two.table, bundle, bundle, MERGE.model_copy(update={"threshold": 1.0}))
    assert (strict.reused, strict.measured) == ("scores", 0)
    assert is_measured(merged(Job(strict.table, bundle, bundle, MERGE)))
    assert not is_measured(Job(strict.table, bundle, bundle, SETTINGS))
    assert not is_measured(merged(Job(noisy, bundle, bundle, MERGE)))


def test_what_was_staged_before_there_was_merging_is_gone_on_with(
    noisy: Table, bundle: Bundle, other_bundle: Bundle
) -> None:
    """The digits are those that limner gave before the setting came."""

    with pytest.raises(KeyboardInterrupt):
        run(noisy, bundle, other_bundle, CapFiltSettings(batch_size=4), progress=_stopped)
    assert _leftovers(noisy) == ["pairs.lance.capfilt-c5e32690a173"]


def test_more_tokens_than_a_model_can_lose_are_refused(
    noisy: Table, bundle: Bundle, other_bundle: Bundle
) -> None:
    for pair in ((bundle, other_bundle), (other_bundle, bundle)):
        with pytest.raises(ConfigError, match=r"merging 3 tokens.*\n.*1 to 2.*\n.*--merge 2"):
            run(noisy, *pair, CapFiltSettings(merge=3))
    assert Table.open(noisy.path).version == noisy.version
    assert _leftovers(noisy) == []
