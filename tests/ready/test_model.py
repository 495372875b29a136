"""Every verb on every family: one and many, batches, precision, and what each refuses; docs/using.md runs."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.checkpoint import Bundle, load
from limner.data.intake import open_picture
from limner.data.transforms import normalise, to_u8
from limner.errors import ConfigError, DataError, PictureError
from limner.models.generate import Decoding
from limner.ready.model import Ready
from limner.ready.results import Caption, Match

PAGE = Path(__file__).resolve().parents[2] / "docs" / "using.md"


@pytest.fixture(scope="module")
def tiny() -> Ready:
    return Ready(load("limner_tiny"), batch_size=3)


@pytest.fixture(scope="module")
def files(photos: Path) -> list[Path]:
    return sorted((photos / "photos").iterdir())


@pytest.fixture
def ready(bundles: dict[str, Bundle]):
    return lambda kind, batch_size=32: Ready(bundles[kind], batch_size=batch_size)


def test_the_page_runs(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    offline = [block for block in blocks if "hub:" not in block]
    assert len(offline) >= 10
    examples = doctest.DocTestParser().get_doctest("\n".join(offline), {}, "using.md", str(PAGE), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    told: list[str] = []
    runner.run(examples, out=told.append)
    assert told == []
    assert runner.tries >= 20


@pytest.mark.parametrize(
    ("kind", "joint", "width"),
    [
        ("resnet", False, 16),
        ("vit", False, 32),
        ("masked_patch", False, 32),
        ("clip", True, 20),
        ("blip", True, 16),
        ("captioner", False, 32),
        ("blip_vqa", False, 32),
        ("blip_nlvr2", False, 32),
    ],
)
def test_vectors_of_pictures(ready, files: list[Path], kind: str, joint: bool, width: int) -> None:
    found = ready(kind, 3).encode_image(files)
    assert (found.vectors.shape, found.vectors.dtype, found.joint) == ((4, width), np.float32, joint)
    assert np.isfinite(found.vectors).all()
    if joint:
        np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-5)
    one = ready(kind).encode_image(files[1])
    assert one.vectors.shape == (width,)
    np.testing.assert_allclose(one.vectors, found.vectors[1], rtol=1e-4, atol=1e-5)
    assert ready(kind).encode_image([]).vectors.shape == (0, 0)


def test_a_picture_in_any_form_is_the_same_picture(tiny: Ready, files: list[Path]) -> None:
    image = Image.open(files[0])
    forms = [files[0], str(files[0]), files[0].read_bytes(), image, np.asarray(image)]
    vectors = tiny.encode_image(forms).vectors
    np.testing.assert_allclose(vectors, np.repeat(vectors[:1], 5, axis=0), atol=1e-6)
    stacked = np.stack([np.asarray(image)] * 2)
    np.testing.assert_allclose(tiny.encode_image(stacked).vectors, vectors[:2], atol=1e-6)


def test_transform_is_what_the_model_reads(tiny: Ready, files: list[Path]) -> None:
    u8 = to_u8(open_picture(files[0]).image, tiny.image_spec)
    expected = normalise(torch.from_numpy(u8).permute(2, 0, 1)[None], tiny.image_spec)[0]
    assert torch.equal(tiny.transform(files[0]), expected)


@pytest.mark.parametrize("kind", ["clip", "blip"])
def test_vectors_of_texts(ready, kind: str) -> None:
    texts = ["a cat", "the dog and a cat on the ground", "an owl", "dog " * 90]
    found = ready(kind, 3).encode_text(texts).vectors
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(ready(kind).encode_text(texts[1]).vectors, found[1], atol=1e-5)
    assert ready(kind).encode_text([]).vectors.shape == (0, 0)


@pytest.mark.parametrize("kind", ["resnet", "vit", "classifier"])
def test_a_models_own_classes(ready, files: list[Path], kind: str) -> None:
    found = ready(kind, 3).classify(files, top=9)
    names = ready(kind).labels or ("0", "1", "2", "3")
    for row in found:
        assert sorted(one.index for one in row) == [0, 1, 2, 3]
        assert all(one.label == names[one.index] for one in row)
        assert sum(one.probability for one in row) == pytest.approx(1)
        assert row == sorted(row, key=lambda one: -one.probability)
    assert [one.label for one in ready(kind).classify(files[2], top=2)] == [one.label for one in found[2][:2]]
    with pytest.raises(ConfigError, match="whose classes are fixed"):
        ready(kind).classify(files[0], ["cat"])


@pytest.mark.parametrize("kind", ["clip", "blip"])
def test_zero_shot_classes_from_the_definition(ready, files: list[Path], kind: str) -> None:
    model = ready(kind, 3)
    labels, templates = ["cat", "dog", "owl"], ["a {}", "the {} on the ground"]
    weights = []
    for label in labels:
        vectors = model.encode_text([template.format(label) for template in templates]).vectors
        mean = vectors.mean(0)
        weights.append(mean / np.linalg.norm(mean))
    module = model.bundle.model
    scale = module.logit_scale.item() if kind == "clip" else 1 / module.temperature.item()
    scores = scale * model.encode_image(files).vectors @ np.stack(weights).T
    expected = np.exp(scores - scores.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    for row, wanted in zip(model.classify(files, labels, templates), expected, strict=True):
        assert {one.label for one in row} == set(labels)
        np.testing.assert_allclose(
            [one.probability for one in row], [wanted[o.index] for o in row], rtol=1e-3
        )


def test_captions_one_many_and_several(tiny: Ready, files: list[Path]) -> None:
    many = tiny.caption(files)
    assert all(isinstance(caption, Caption) for caption in many)
    one = tiny.caption(files[1])
    assert (one.text, one.log_prob) == (many[1].text, pytest.approx(many[1].log_prob, abs=1e-4))
    several = tiny.caption(files[:2], num=3, seed=5)
    assert [len(captions) for captions in several] == [3, 3]
    assert [c.text for c in tiny.caption(files[1], 3, seed=5)] == [c.text for c in several[1]]
    short = tiny.caption(files[1], method=Decoding(max_tokens=2)).text
    assert len(short.split()) <= 2
    assert tiny.caption([]) == []


@pytest.mark.parametrize("kind", ["blip", "captioner"])
def test_captions_of_other_blips(ready, files: list[Path], kind: str) -> None:
    assert [c.text for c in ready(kind, 3).caption(files, method="greedy")] == [
        ready(kind).caption(file, method="greedy").text for file in files
    ]


def test_the_best_captions_of_a_beam_search(tiny: Ready, files: list[Path]) -> None:
    several = tiny.caption(files[:2], num=4, method="beam")
    assert [len({caption.text for caption in found}) for found in several] == [4, 4]
    wide = Decoding(method="beam", num_beams=4)
    assert [found[0].text for found in several] == [c.text for c in tiny.caption(files[:2], method=wide)]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num": 2, "method": "greedy"}, "always writes the same"),
        ({"num": 4, "method": Decoding(method="beam")}, "4 texts a row by 'beam', which keeps 3"),
        ({"num": 0}, "at least 1"),
    ],
)
def test_captions_that_cannot_be(tiny: Ready, files: list[Path], options: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        tiny.caption(files[0], **options)


def test_answers_of_both_kinds(tiny: Ready, ready, files: list[Path]) -> None:
    for model in (tiny, ready("blip_vqa", 3)):
        question = "how many dogs are there?"
        everywhere = model.answer(files, question)
        assert [answer.text for answer in everywhere] == [model.answer(file, question).text for file in files]
        questions = [question, "what is this?", "is there an owl to the left of a cat?"]
        several = model.answer(files[0], questions)
        assert [answer.text for answer in several] == [model.answer(files[0], q).text for q in questions]
        assert model.answer(files[:3], questions)[0].text == several[0].text


def test_matches_by_family(ready, files: list[Path]) -> None:
    texts = ["a cat", "a dog on the ground", "an owl", "two dogs"]
    for kind, itm, itc in (("clip", False, True), ("blip", True, True), ("matcher", True, False)):
        model = ready(kind, 3)
        rows = model.match(files, texts)
        assert all((row.itm is not None, row.itc is not None) == (itm, itc) for row in rows)
        for place, row in enumerate(rows):
            assert same(model.match(files[place], texts[place]), row)
        assert all(map(same, model.match(files[0], texts), [model.match(files[0], t) for t in texts]))
        assert all(map(same, model.match(files, texts[1]), [model.match(f, texts[1]) for f in files]))
        if itc:
            cosines = model.encode_image(files).similarity(model.encode_text(texts)).diagonal()
            np.testing.assert_allclose([row.itc for row in rows], cosines, atol=1e-5)


def same(one: Match, other: Match) -> bool:
    return all(
        (a is None and b is None) or a == pytest.approx(b, abs=1e-4)
        for a, b in ((one.itm, other.itm), (one.itc, other.itc))
    )


def test_judgements_of_two_pictures(ready, files: list[Path]) -> None:
    model = ready("blip_nlvr2", 2)
    several = model.judge(files[0], files[1], ["a cat", "the dog and the owl", "an owl"])
    assert all(0 < judgement.true < 1 for judgement in several)
    assert model.judge(files[0], files[1], "an owl").true == pytest.approx(several[2].true, abs=1e-5)
    assert model.judge(files[1], files[0], "an owl").true != several[2].true


@pytest.mark.parametrize("verb", ["answer", "match"])
def test_lists_of_different_lengths_are_refused(tiny: Ready, files: list[Path], verb: str) -> None:
    with pytest.raises(DataError, match="2 pictures and 3 texts"):
        getattr(tiny, verb)(files[:2], ["a", "b", "c"])


def test_a_refused_picture_is_named_with_its_place(tiny: Ready, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match="picture 3: no known picture format") as caught:
        tiny.caption([*files[:3], tmp_path / "bad.png"])
    assert caught.value.reason == "not_a_picture"


def test_half_precision_gives_nearly_the_same(files: list[Path]) -> None:
    full, bundle = Ready(load("limner_tiny")), load("limner_tiny")
    half = Ready(bundle._replace(model=bundle.model.to(torch.bfloat16)))
    assert "bfloat16 on cpu" in repr(half)
    assert (half.encode_image(files).vectors * full.encode_image(files).vectors).sum(1).min() > 0.99
    assert [c.text for c in half.caption(files)] == [c.text for c in full.caption(files)]
    near = half.match(files, "a key"), full.match(files, "a key")
    np.testing.assert_allclose([m.itm for m in near[0]], [m.itm for m in near[1]], atol=0.05)
    assert half.classify(files[2], ["a key", "a bus"])[0].label == "a key"
    assert half.answer(files[0], "what is this?").text == "camel"


@pytest.mark.parametrize("kind", ["resnet", "vit", "clip", "blip_vqa"])
def test_half_precision_of_other_families(bundles: dict[str, Bundle], files: list[Path], kind: str) -> None:
    config = bundles[kind].model.config
    module = type(bundles[kind].model)(config).to(torch.bfloat16)
    model = Ready(bundles[kind]._replace(model=module))
    assert model.encode_image(files).vectors.dtype == np.float32
    if kind == "clip":
        assert len(model.classify(files, ["cat", "dog"])) == 4
    if kind == "blip_vqa":
        assert len(model.answer(files, "what is this?")) == 4


def test_it_tells_what_it_is(tiny: Ready, ready) -> None:
    assert repr(tiny).startswith(
        "<limner limner_tiny (blip): 4.1M parameters, 64 px, float32 on cpu; can enc"
    )
    assert "4 labels" in repr(ready("resnet"))
    assert (tiny.name, tiny.family, tiny.labels) == ("limner_tiny", "blip", ())
    assert tiny.tokenizer is tiny.bundle.tokenizer
    assert not tiny.bundle.model.training


def test_a_batch_of_none_is_refused(bundles: dict[str, Bundle], files: list[Path]) -> None:
    with pytest.raises(ConfigError, match="batch_size 0"):
        Ready(bundles["vit"], batch_size=0)
    with pytest.raises(ConfigError, match="top 0"):
        Ready(bundles["vit"]).classify(files[0], top=0)
