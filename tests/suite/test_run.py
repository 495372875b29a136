"""Every combination is measured or refused, recorded, and not measured twice."""

from pathlib import Path
from typing import Any

import pytest

from limner.checkpoint import Bundle
from limner.errors import ConfigError, DataError
from limner.suite.run import Asked, evaluate, machine_facts, open_model, results, samples_of, settings_of
from limner.suite.selection import Selection


def asked(table: Path, *models: object, tasks: tuple[str, ...] = ("zeroshot",), **more: object) -> Asked:
    names = [str(model) for model in models]
    return Asked(tasks, names, [Selection(path=str(table), where="split = 'test'")], **more)  # type: ignore[arg-type]


def test_combinations_are_measured_or_refused_and_recorded(
    table: Path, blip: Bundle, resnet, tmp_path: Path
) -> None:
    job = asked(
        table,
        blip.path,
        resnet().path,
        tmp_path / "none",
        tasks=("zeroshot", "classification"),
        settings=["templates={}"],
    )
    told: list[str] = []

    def bar(title: str):
        told.append(title)
        return lambda done, total: None

    found = list(evaluate(job, tmp_path / "out", bar))
    assert [one.failed for one in found] == [False, True, True, False, True, True]
    assert len(told) == 4
    assert "without a classifier" in found[1].record["error"]
    first, second = results(tmp_path / "out")
    assert first["task"] == "zeroshot"
    assert {"digest", "version", "rows", "settings", "seconds", "machine", "notes"} <= first.keys()
    assert second["measures"]["top1"]["value"] == 1.0
    samples = samples_of(tmp_path / "out", second)
    assert sorted(sample["key"] for sample in samples) == [f"{number:02}.png" for number in range(24, 36)]
    assert {"score", "truth"} <= samples[0].keys()


def test_what_is_there_is_reused_and_what_changed_is_not(table: Path, blip: Bundle, tmp_path: Path) -> None:
    def run(**more: Any) -> list[bool]:
        settings = ["templates={}", *more.pop("settings", [])]
        return [one.reused for one in evaluate(asked(table, blip.path, settings=settings, **more), tmp_path)]

    assert run() == [False]
    assert run() == [True]
    assert run(settings=["templates=a {}"]) == [False]
    assert run(force=True) == [False]
    fewer = Asked(["zeroshot"], [str(blip.path)], [Selection(path=str(table), count=30)])
    assert [one.reused for one in evaluate(fewer, tmp_path)] == [False]
    names = tmp_path / "names.csv"
    names.write_text("label,name\nred,red\ngreen,green\nblue,blue\n")
    assert run(settings=[f"names={names}"]) == [False]
    assert run(settings=[f"names={names}"]) == [True]
    names.write_text("label,name\nred,rot\ngreen,green\nblue,blue\n")
    assert run(settings=[f"names={names}"]) == [False]
    (tmp_path / results(tmp_path)[0]["samples"]).unlink()
    assert run() == [False]


def test_settings_go_to_the_tasks_that_have_them() -> None:
    found = settings_of(["probe", "fewshot"], ["seed=3", "fewshot.shots=[1, 2]"])
    assert found["probe"].seed == found["fewshot"].seed == 3
    assert found["fewshot"].shots == (1, 2)


@pytest.mark.parametrize(
    ("tasks", "settings", "said"),
    [
        (["prob"], [], "the task 'prob'"),
        (["probe"], ["shots=1"], "--set 'shots=1'"),
        (["probe", "fewshot"], ["probe.shots=1"], "probe.shots"),
        (["probe"], ["seed=many"], "seed"),
    ],
)
def test_what_does_not_exist_is_refused_before_any_work(tasks, settings, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        evaluate(Asked(tasks, ["none"], [], settings), "nowhere")


def test_a_missing_table_is_refused_and_an_empty_folder_told(blip: Bundle, tmp_path: Path) -> None:
    (found,) = evaluate(asked(tmp_path / "none.lance", blip.path), tmp_path / "out")
    assert "does not exist" in found.record["error"]
    with pytest.raises(DataError, match="holds no results"):
        results(tmp_path / "out")


def test_the_machine_is_told(blip: Bundle) -> None:
    assert {"limner", "torch", "threads", "cores"} <= machine_facts().keys()
    assert open_model(str(blip.path)).digest
