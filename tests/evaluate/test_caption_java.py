"""METEOR and SPICE where Java and their jars are; said clearly where not."""

import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from limner.errors import ConfigError, DataError
from limner.evaluate.caption_java import JARS, meteor, missing, spice

GOLDEN = json.loads((Path(__file__).parent / "golden" / "captions.json").read_text(encoding="utf-8"))
JAVA = """#!/usr/bin/env python3
import json, sys
if "broken" in open(sys.argv[3]).read():
    sys.exit("no such class")
if "meteor" in sys.argv[3]:
    for line in sys.stdin.read().splitlines():
        kind, *parts = line.split(" ||| ")
        print(len(parts[-1].split()) if kind == "SCORE" else "\\n".join([*(f"0.{p}" for p in parts), "0.5"]))
else:
    rows = json.load(open(sys.argv[4]))
    f = [len(r["refs"]) / 10 if r["test"] else None for r in rows]
    told = [{"image_id": r["image_id"], "scores": {"All": {"f": s}}} for r, s in zip(rows, f)]
    json.dump(told, open(sys.argv[6], "w"))
"""


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands for Java, and jars that stand for the real ones."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(JAVA)
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{java.parent}:{os.environ['PATH']}")
    for name in ("meteor/meteor-1.5.jar", "spice/spice-1.0.jar", "spice/lib/stanford-corenlp-3.6.0.jar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "spice/lib/stanford-corenlp-3.6.0-models.jar").write_text("")
    monkeypatch.setenv(JARS, str(tmp_path))
    return tmp_path


def test_each_caption_gets_the_score_that_was_told_of_it(jars: Path) -> None:
    total, each = meteor(["one two", "", "a b ||| c"], [["x"], ["y"], ["z", "w"]])
    assert total == 0.5
    assert each.tolist() == [0.2, 0.0, 0.3]
    np.testing.assert_array_equal(spice(["a", ""], [["x", "y"], ["z"]]), [0.2, np.nan])


def test_empty_captions_alone_ask_nothing(jars: Path) -> None:
    assert meteor([""], [["a"]])[0] == 0.0


def test_a_program_that_fails_is_quoted(jars: Path) -> None:
    (jars / "meteor/meteor-1.5.jar").write_text("broken")
    with pytest.raises(DataError, match="no such class"):
        meteor(["a"], [["b"]])


def test_what_is_missing_is_said(jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing("meteor") == missing("spice") == ""
    (jars / "spice/lib/stanford-corenlp-3.6.0-models.jar").unlink()
    with pytest.raises(ConfigError, match=r"no Stanford CoreNLP 3\.6\.0"):
        spice(["a"], [["b"]])
    monkeypatch.delenv(JARS)
    with pytest.raises(
        ConfigError, match=r"no meteor-1\.5\.jar in the folder that LIMNER_CAPTION_JARS names"
    ):
        meteor(["a"], [["b"]])
    monkeypatch.setenv("PATH", "")
    assert missing("meteor", str(jars)) == "no java on the PATH"


@pytest.mark.slow
@pytest.mark.peer
def test_meteor_equals_the_published_wrapper() -> None:
    if missing("meteor") or shutil.which("java") is None:
        pytest.skip(f"METEOR: {missing('meteor')}; {JARS}=FOLDER of an installed pycocoevalcap")
    total, each = meteor(GOLDEN["candidates"], GOLDEN["references"])
    assert total == pytest.approx(GOLDEN["meteor"], abs=1e-9)
    np.testing.assert_allclose(each[GOLDEN["meteor_rows"]], GOLDEN["meteor_each"], atol=1e-9)
