"""The page of a comparison."""

import io

import numpy as np
from PIL import Image

from limner.report.compare import class_chart, said, verdict, write_compare
from limner.suite.compare import Result, compare


def results() -> list[dict]:
    rng, made = np.random.default_rng(0), []
    keys = [f"{label}{n}" for label in ("cat", "<dog>") for n in range(30)]
    for model, rate in (("first/model", 0.4), ("second", 0.8)):
        samples = [
            {
                "key": key,
                "truth": key.rstrip("0123456789"),
                "said": "an <owl>",
                "score": int(rng.random() < rate),
            }
            for key in keys
        ]
        made.append(Result("zeroshot", model, "/data/pets.lance", {"top1": rate}, samples, {}))
    return [compare(*made).values()]


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_the_page_shows_the_difference_classes_and_flips(tmp_path):
    found = results()
    key = found[0]["gained"][0]["key"]
    page = write_compare(tmp_path / "c.html", found, {("/data/pets.lance", key): picture()}).read_text()
    for shown in ("the second is better", "first/model", "pets.lance", "Class by class", "data:image/webp"):
        assert shown in page
    assert "an &lt;owl&gt;" in page
    assert "<dog>" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert [path.name for path in tmp_path.iterdir()] == ["c.html"]


def test_verdicts_follow_the_interval():
    assert verdict({"value": 0.1, "low": -0.1, "high": 0.3}) == "no difference beyond chance"
    assert verdict({"value": -0.2, "low": -0.3, "high": -0.1}) == "the second is worse"


def test_what_was_said_is_short():
    assert (
        said({"key": "k", "score": 1, "truth": "cat", "said": "dog", "p": 0.12345}) == "said: dog, p: 0.123"
    )
    assert said({"key": "k", "answers": ["a", "b"]}) == "answers: a / b"
    assert said({"key": "k"}) == "–"
    assert len(said({"text": "x" * 500})) < 200


def test_the_chart_names_every_class():
    classes = [{"name": n, "value": 0.1, "low": 0.0, "high": 0.2, "p_holm": 0.01} for n in ("cat", "owl")]
    drawn = class_chart(classes, "t")
    assert "cat" in drawn
    assert "owl" in drawn
