"""METEOR and SPICE, which exist only as Java programs: run where a Java and their jars are, never downloaded.

The jars are looked for in the folder that `LIMNER_CAPTION_JARS` names, or the setting: the folder of an
installed `pycocoevalcap` fits as it is. SPICE wants Stanford CoreNLP 3.6.0 and its models in `lib/` beside
its jar.
Checked against: `pycocoevalcap`'s METEOR (numbers in the tests).

Source: Denkowski & Lavie 2014 (METEOR 1.5); Anderson et al. 2016 (SPICE, arXiv 1607.08822).
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from limner.errors import ConfigError, DataError

JARS: Final = "LIMNER_CAPTION_JARS"
_METEOR, _SPICE = "meteor-1.5.jar", "spice-1.0.jar"
_MODELS: Final = "stanford-corenlp-3.6.0*.jar"
_TIMEOUT_S: Final = 3600


def missing(metric: str, folder: str = "") -> str:
    """What a metric lacks to be run here; empty when nothing.

    Args:
        metric: "meteor" or "spice".
        folder: of the jars; `LIMNER_CAPTION_JARS` when empty.
    """
    if shutil.which("java") is None:
        return "no java on the PATH"
    jar = _jar(metric, folder)
    if jar is None:
        return f"no {_name(metric)} in the folder {folder or os.environ.get(JARS) or f'that {JARS} names'}"
    if metric == "spice" and len(list((jar.parent / "lib").glob(_MODELS))) < 2:
        return f"no Stanford CoreNLP 3.6.0 with its models in {jar.parent / 'lib'}"
    return ""


def meteor(
    found: Sequence[str], references: Sequence[Sequence[str]], folder: str = ""
) -> tuple[float, Float[np.ndarray, " n"]]:
    """METEOR 1.5 of a set of captions, and of each.

    Args:
        found: one caption a picture, words apart by blanks; an empty one scores 0 but counts.
        references: one or more true captions a picture.
        folder: of the jars; `LIMNER_CAPTION_JARS` when empty.
    Raises: ConfigError when Java or the jar is missing; DataError when the program fails.
    """
    jar = _required("meteor", folder)
    asked = [
        " ||| ".join(["SCORE", *map(_one_line, texts), _one_line(text)])
        for text, texts in zip(found, references, strict=True)
        if text.strip()
    ]
    if not asked:
        return 0.0, np.zeros(len(found))
    command = ["java", "-jar", "-Xmx2G", jar.name, "-", "-", "-stdio", "-l", "en", "-norm"]
    stats = _run(command, jar.parent, "\n".join(asked) + "\n").splitlines()
    said = _run(command, jar.parent, "EVAL ||| " + " ||| ".join(stats) + "\n").split()
    if len(said) != len(asked) + 1:
        raise DataError(
            f"METEOR told {len(said)} scores of {len(asked)} captions", wanted="one each, and all"
        )
    each = np.zeros(len(found))
    each[[i for i, text in enumerate(found) if text.strip()]] = [float(score) for score in said[:-1]]
    return float(said[-1]), each


def spice(
    found: Sequence[str], references: Sequence[Sequence[str]], folder: str = ""
) -> Float[np.ndarray, " n"]:
    """SPICE of each caption, NaN where neither it nor its references say anything; the mean is the score.

    Args:
        found: one caption a picture.
        references: one or more true captions a picture.
        folder: of the jars; `LIMNER_CAPTION_JARS` when empty.
    Raises: ConfigError when Java, the jar or CoreNLP is missing; DataError when the program fails.
    """
    jar = _required("spice", folder)
    rows = [
        {"image_id": i, "test": _one_line(text), "refs": [_one_line(t) for t in texts]}
        for i, (text, texts) in enumerate(zip(found, references, strict=True))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        asked, told = Path(scratch, "asked.json"), Path(scratch, "told.json")
        asked.write_text(json.dumps(rows), encoding="utf-8")
        command = ["java", "-jar", "-Xmx8G", jar.name, str(asked), "-out", str(told), "-subset", "-silent"]
        _run(command, jar.parent, "")
        scores = {row["image_id"]: row["scores"]["All"]["f"] for row in json.loads(told.read_text("utf-8"))}
    return np.array([np.nan if scores[i] is None else float(scores[i]) for i in range(len(rows))])


def _name(metric: str) -> str:
    return {"meteor": _METEOR, "spice": _SPICE}[metric]


def _jar(metric: str, folder: str) -> Path | None:
    place = folder or os.environ.get(JARS, "")
    return next(iter(sorted(Path(place).rglob(_name(metric)))), None) if place else None


def _required(metric: str, folder: str) -> Path:
    lacks, jar = missing(metric, folder), _jar(metric, folder)
    if lacks or jar is None:
        raise ConfigError(
            f"{metric.upper()}: {lacks}",
            wanted="a Java and the jars of the COCO caption evaluation, which limner does not download",
            hint=f"pip install pycocoevalcap, then {JARS}=$(its folder)",
        )
    return jar


def _one_line(text: str) -> str:
    return " ".join(text.replace("|||", "").split())


def _run(command: Sequence[str], folder: Path, said: str) -> str:
    """Run a Java program on what is said to it; what it answers."""
    try:
        done = subprocess.run(
            command, cwd=folder, input=said, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        raise DataError(
            f"{command[3]} failed: {str(told).strip()[-400:]}", wanted="a Java that runs it (8 to 17)"
        ) from error
    return done.stdout
