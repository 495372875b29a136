import math
import re

import pytest

from limner.report.study import StudyPage, arm_chart, within, write_study

ONE = {"value": 0.3, "low": 0.2, "high": 0.4, "seeds": 3}
PAGE = StudyPage(
    title="A study",
    lead="Three seeds.",
    arms={"none": "as it is", "both": "<b>cleaned</b>"},
    paper={"none": {"i2t_r1": 0.784}, "both": {"i2t_r1": 0.806, "filtered": 0.25}},
    measured={
        "none": {seed: {"i2t_r1": 0.2 + seed / 10} for seed in range(3)},
        "both": {seed: {"i2t_r1": 0.3 + seed / 10, "filtered": 0.2} for seed in range(3)},
    },
    means=[
        {"arm": "none", "measure": "i2t_r1"} | ONE,
        {"arm": "both", "measure": "i2t_r1"} | ONE | {"value": 0.4321},
        {"arm": "both", "measure": "filtered"} | ONE,
    ],
    verdicts=[
        {
            "table": "1",
            "better": "both",
            "worse": "none",
            "text": "cleaning helps",
            "measure": "i2t_r1",
            "difference": 0.1,
            "low": -0.02,
            "high": 0.12,
            "seeds": 3,
            "paper": 0.022,
            "verdict": "too small to tell",
        }
    ],
    cleanings={0: {}},
)


def test_the_page_shows_ours_beside_the_papers(tmp_path):
    text = write_study(tmp_path, PAGE).read_text(encoding="utf-8")
    row = re.search(r"<tr><th scope=\"row\">both.*?</tr>", text)
    assert row
    assert "0.432<small>0.806</small>" in row[0]
    assert all(said in text for said in ("too small to tell", "[−0.020, +0.120]", "+0.022"))
    assert "<b>cleaned" not in text
    assert "No arm needed it." in text
    assert text.count("<svg") == 1  # "filtered" is no measure of the models


def test_the_page_shows_what_capfilt_did(tmp_path):
    names = ("auroc", "drop_precision", "drop_recall", "texts_correct_before", "texts_correct_after")
    facts = dict.fromkeys((*names, "synthetic_correct", "filtered"), 0.625) | {"synthetic_correct_kept": None}
    text = write_study(tmp_path, PAGE._replace(cleanings={0: {"beam": facts}})).read_text(encoding="utf-8")
    assert "0, beam" in text
    assert text.count("62.5 %") == 6
    assert "<td>0.381</td>" not in text, "an older study has told no threshold"
    facts["threshold"] = 0.381
    told = write_study(tmp_path, PAGE._replace(cleanings={0: {"beam": facts}})).read_text(encoding="utf-8")
    assert "<td>0.381</td>" in told


def test_a_single_seed_has_no_interval(tmp_path):
    assert within(-math.inf, math.inf) == ""
    alone = {"low": -math.inf, "high": math.inf, "seeds": 1}
    page = PAGE._replace(means=[row | alone for row in PAGE.means])
    assert "inf" not in arm_chart(page, "i2t_r1").lower().replace("infer", "")


def test_a_chart_has_a_row_an_arm():
    drawn = arm_chart(PAGE, "i2t_r1")
    assert all(f">{arm}<" in drawn for arm in ("none", "both"))
    with pytest.raises(IndexError):
        arm_chart(PAGE._replace(means=[]), "i2t_r1")
