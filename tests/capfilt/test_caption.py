"""A caption depends on its picture, its key and the settings, and on nothing beside it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.capfilt.caption import caption_images, caption_pictures, image_tokens, row_seed, with_words
from limner.checkpoint import Bundle
from limner.errors import CheckpointError, ConfigError, PictureError
from limner.models.generate import Decoding

NUCLEUS = Decoding(method="nucleus", top_p=0.9, max_tokens=8)


@pytest.fixture
def images() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8))


@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_a_caption_does_not_depend_on_its_batch(
    bundle: Bundle, images: list[np.ndarray], method: str
) -> None:
    decoding = Decoding(method=method, max_tokens=8)  # type: ignore[arg-type]
    keys = [f"k{i}" for i in range(7)]
    together = caption_images(bundle, images, keys, decoding, seed=5)
    alone = [
        caption_images(bundle, [image], [key], decoding, seed=5)[0]
        for image, key in zip(images, keys, strict=True)
    ]
    backwards = caption_images(bundle, images[::-1], keys[::-1], decoding, seed=5)[::-1]
    for one, two, three in zip(together, alone, backwards, strict=True):
        assert one[0].text == two[0].text == three[0].text
        assert one[0].log_prob == pytest.approx(two[0].log_prob, abs=1e-4)
        assert one[0].log_prob <= 0


@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_tokens_are_told_as_a_teacher_forced_pass_has_them(
    bundle: Bundle, images: list[np.ndarray], method: str
) -> None:
    decoding = Decoding(method=method, max_tokens=6)  # type: ignore[arg-type]
    model, tokenizer = bundle.blip()
    captions = caption_images(bundle, images, [f"k{i}" for i in range(7)], decoding, prompt="a red")
    start = tokenizer.encode("a red")[:-1]
    with torch.no_grad():
        memory = model.decoder_memory(image_tokens(bundle, images))
    for row, (caption,) in enumerate(captions):
        ids = [tokenizer.tokens.index(piece) for piece, _ in caption.tokens]
        with torch.no_grad():
            one = memory.rows(torch.tensor([row]))
            told = model.decode(one, torch.tensor([start + ids]))[0].log_softmax(-1)
        want = [told[len(start) - 1 + i, token].item() for i, token in enumerate(ids)]
        assert [log_prob for _, log_prob in caption.tokens] == pytest.approx(want, abs=1e-4)
        assert sum(want) == pytest.approx(caption.log_prob, abs=1e-3)
        ended = caption.tokens[-1].piece == "[SEP]"
        assert ended or len(ids) == decoding.max_tokens
        assert tokenizer.decode(ids) == caption.text


def test_draws_follow_seed_key_and_sample(bundle: Bundle, images: list[np.ndarray]) -> None:
    same = [images[0]] * 6
    captions = caption_images(bundle, same, list("abcdef"), NUCLEUS, count=2)
    assert len({caption.text for found in captions for caption in found}) > 6
    assert captions == caption_images(bundle, same, list("abcdef"), NUCLEUS, count=2)
    assert captions != caption_images(bundle, same, list("abcdef"), NUCLEUS, count=2, seed=1)
    first = caption_images(bundle, same, list("abcdef"), NUCLEUS)
    assert [found[0].text for found in captions] == [found[0].text for found in first]


def test_row_seeds_are_distinct_and_fit_a_generator() -> None:
    seeds = {
        row_seed(seed, key, sample)
        for seed in range(3)
        for key in ("a", "b", "1", "11")
        for sample in range(3)
    }
    assert len(seeds) == 36
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_prompt_is_gone_on_from_and_not_returned(bundle: Bundle, images: list[np.ndarray]) -> None:
    greedy = Decoding(method="greedy", max_tokens=6)
    plain = caption_images(bundle, images, ["k"] * 7, greedy)
    prompted = caption_images(bundle, images, ["k"] * 7, greedy, prompt="a red")
    assert prompted != plain
    assert max(len(found[0].text) for found in prompted) < 200
    assert not all(found[0].text.startswith("a red") for found in prompted)


@pytest.mark.parametrize("prompt", ["", "A Red"])
def test_trap_58_a_caption_of_no_words_is_empty(
    make_bundle: Callable[..., Bundle], images: list[np.ndarray], prompt: str
) -> None:
    """The released code cuts off as many letters as the prompt has; here the prompt never was in it."""
    mute = make_bundle(2)
    with torch.no_grad():
        mute.model.lm_head.bias[mute.tokenizer.sep_id] += 1000
    greedy = Decoding(method="greedy", min_tokens=0, max_tokens=6)
    found = caption_images(mute, images, ["k"] * 7, greedy, prompt=prompt)
    assert [caption.text for row in found for caption in row] == [""] * 7


def test_many_captions_must_be_drawn(bundle: Bundle, images: list[np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="2 captions a picture by 'greedy'"):
        caption_images(bundle, images, ["k"] * 7, Decoding(method="greedy"), count=2)


def test_beam_search_gives_its_best(bundle: Bundle, images: list[np.ndarray]) -> None:
    beam = Decoding(method="beam", num_beams=4, max_tokens=6)
    found = caption_images(bundle, images, ["k"] * 7, beam, count=4)
    best = caption_images(bundle, images, ["k"] * 7, beam)
    assert [len(set(row)) for row in found] == [4] * 7
    assert [row[0].text for row in found] == [row[0].text for row in best]
    with pytest.raises(ConfigError, match="5 texts a row"):
        caption_images(bundle, images, ["k"] * 7, beam, count=5)


def test_words_that_must_and_must_not_be_written(bundle: Bundle, images: list[np.ndarray]) -> None:
    plain = Decoding(method="greedy", max_tokens=8)
    ruled = with_words(plain, bundle, forbidden=["a", "two fish"], required=["red bus"])
    assert [len(ids) for ids in ruled.forbidden] == [1, 2]
    for (caption,) in caption_images(bundle, images, ["k"] * 7, ruled):
        assert "red bus" in caption.text
        assert "a" not in caption.text.split()


def test_a_word_cannot_be_required_and_forbidden(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="'red bus' is required and forbidden"):
        with_words(Decoding(), bundle, forbidden=["a", "bus"], required=["red bus"])


@pytest.mark.parametrize("word", ["zebra☃", "", "  "])
def test_a_word_the_model_has_not_is_named(bundle: Bundle, word: str) -> None:
    with pytest.raises(ConfigError, match="is no word of the model"):
        with_words(Decoding(), bundle, required=[word])


def test_a_model_without_words_is_refused(bundle: Bundle, images: list[np.ndarray]) -> None:
    for wrong in (
        bundle._replace(model=bundle.model.get_submodule("vision")),
        bundle._replace(tokenizer=None),
    ):
        with pytest.raises(CheckpointError, match="does not read pictures and texts"):
            caption_images(wrong, images, ["k"] * 7, NUCLEUS)


def test_files_are_captioned_in_order_and_broken_ones_named(
    bundle: Bundle, images: list[np.ndarray], tmp_path: Path, make_bundle: Callable[..., Bundle]
) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(7)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    paths[2].write_bytes(paths[2].read_bytes()[:70])
    paths[4].unlink()
    found = list(caption_pictures(bundle, paths, batch_size=3))
    assert [one.source for one in found] == paths
    assert [len(one.captions) for one in found] == [1, 1, 0, 1, 0, 1, 1]
    problems = [one.problem for one in found if one.problem is not None]
    assert [problem.reason for problem in problems] == ["truncated", "missing"]
    assert all(isinstance(problem, PictureError) for problem in problems)


def test_a_batch_of_broken_files_is_no_problem(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    found = list(caption_pictures(bundle, [tmp_path / "a.jpg"]))
    assert [(one.captions, one.problem is not None) for one in found] == [([], True)]


def test_a_copy_under_another_name_gets_the_same_draw(
    bundle: Bundle, images: list[np.ndarray], tmp_path: Path
) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(images[0]).save(tmp_path / name)
    first, second = caption_pictures(bundle, [tmp_path / "a.png", tmp_path / "b.png"], NUCLEUS, count=2)
    assert [one.text for one in first.captions] == [one.text for one in second.captions]
    for one, two in zip(first.captions, second.captions, strict=True):  # rows of one batch round apart
        assert one.log_prob == pytest.approx(two.log_prob, rel=1e-5)
    assert first.captions[0] != first.captions[1]
