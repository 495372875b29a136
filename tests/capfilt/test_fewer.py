from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.capfilt.bulk import BulkSettings
from limner.capfilt.caption import Caption
from limner.capfilt.fewer import agreement, first_pictures, job_agreement, merged, merging
from limner.capfilt.filter import score_images
from limner.capfilt.measure import Job, Piece
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import Bundle
from limner.data.intake import decode
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.errors import CheckpointError, ConfigError
from limner.models.decoding import Decoding
from limner.models.merging import MergingBlocks

GREEDY = BulkSettings(decoding=Decoding(max_tokens=6))


def pixels(bundle: Bundle, count: int) -> list[np.ndarray]:
    side = bundle.image_spec.size
    return [np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8) for i in range(count)]


def test_a_merging_bundle_is_another_model(bundle: Bundle) -> None:
    quick = merging(bundle, 2)
    assert quick.digest == f"{bundle.digest}+merge2"
    assert isinstance(quick.model.vision.blocks, MergingBlocks)
    assert merging(bundle, 0) is bundle


def test_a_model_agrees_with_itself(bundle: Bundle) -> None:
    found = agreement(bundle, bundle, pixels(bundle, 3), GREEDY)
    assert (found.pictures, found.same, found.words) == (3, 3, 1.0)
    assert "of 3 pictures 3 captions are the same as without merging, 100% of words" in found.said


def test_agreement_is_of_captions_word_by_word(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter([["a red cat", "one dog"], ["a blue cat", "one dog"]])
    monkeypatch.setattr(
        "limner.capfilt.fewer.caption_images",
        lambda bundle, images, keys, decoding, **how: [[Caption(text, -1.0, ())] for text in next(texts)],
    )
    found = agreement(bundle, merging(bundle, 1), pixels(bundle, 2), GREEDY)
    assert (found.same, found.words) == (1, pytest.approx((4 / 6 + 1) / 2))
    assert found.speed > 0


def test_captions_that_are_to_be_drawn_are_compared_as_a_beams(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake(bundle, images, keys, decoding, *, seed, prompt, count):
        asked.append((decoding.method, decoding.max_tokens, count))
        return [[Caption("a cat", -1.0, ())] for _ in images]

    monkeypatch.setattr("limner.capfilt.fewer.caption_images", fake)
    drawn = BulkSettings(decoding=Decoding(method="nucleus", max_tokens=6), count=3)
    agreement(bundle, bundle, pixels(bundle, 2), drawn)
    agreement(bundle, bundle, pixels(bundle, 2), GREEDY)
    assert asked == [("beam", 6, 1)] * 2 + [("greedy", 6, 1)] * 2


def test_pictures_to_compare_on_are_the_first_that_open(bundle: Bundle, tmp_path: Path) -> None:
    for number in range(20):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "00.png").write_bytes(b"no picture")
    found = first_pictures(bundle, sorted(tmp_path.glob("*.png")))
    assert len(found) == 15
    assert found[0].shape == (bundle.image_spec.size, bundle.image_spec.size, 3)
    assert found[0][0, 0, 0] == 1


def test_other_models_are_refused(bundle: Bundle) -> None:
    with pytest.raises(CheckpointError, match="whose tokens merge"):
        merging(bundle._replace(model=bundle.model.vision), 4)
    with pytest.raises(ConfigError, match="merging -1 tokens"):
        merging(bundle, -1)


# ---------------------------------------------------------------- a table that is cleaned

MERGE = CapFiltSettings(decoding=Decoding(method="nucleus", max_tokens=6), batch_size=5, merge=2)


def test_both_models_of_a_job_merge(noisy: Table, bundle: Bundle, other_bundle: Bundle) -> None:
    quick = merged(Job(noisy, bundle, other_bundle, MERGE))
    assert quick.captioner.digest == f"{bundle.digest}+merge2"
    assert quick.judge.digest == f"{other_bundle.digest}+merge2"
    assert all(isinstance(one.model.vision.blocks, MergingBlocks) for one in (quick.captioner, quick.judge))
    assert merged(Job(noisy, bundle, bundle, MERGE)).shared
    whole = Job(noisy, bundle, other_bundle, CapFiltSettings())
    assert merged(whole) == whole


def test_a_job_agrees_with_itself(noisy: Table, bundle: Bundle) -> None:
    job = Job(noisy, bundle, bundle, MERGE)
    found = job_agreement(job, job)
    assert found is not None
    captions, judged = found
    assert (captions.pictures, captions.same, captions.words) == (15, 15, 1.0)  # the first 16, one broken
    assert (judged.texts, judged.same, judged.apart, judged.threshold) == (15, 15, 0.0, 0.5)
    assert "of 15 web texts 15 are kept or dropped as without merging, by ITM from 0.5" in judged.said


def test_scores_of_a_job_are_compared_as_the_filter_gives_them(
    make_table: Callable[..., Table], bundle: Bundle, other_bundle: Bundle
) -> None:
    texts = [["a red bus"], ["two fish left of an owl"], ["a cat"]]
    job = Job(make_table(texts), bundle, other_bundle, MERGE)
    found = job_agreement(job, merged(job))
    assert found is not None
    pictures = [
        to_u8(decode(row["image"], max_side=48), other_bundle.image_spec)
        for row in job.table.rows(range(3), ["image"])
    ]
    flat = [text for (text,) in texts]
    one, other = (
        score_images(judge, pictures, flat).itm for judge in (other_bundle, merging(other_bundle, 2))
    )
    assert found[1].apart == pytest.approx(np.abs(np.subtract(one, other)).mean(), abs=1e-6)
    assert found[1].apart > 0
    assert found[1].same == sum((a >= 0.5) == (b >= 0.5) for a, b in zip(one, other, strict=True))


def _measured(
    monkeypatch: pytest.MonkeyPatch, *runs: Sequence[dict[str, Any]]
) -> list[tuple[Job, list[range]]]:
    """Let a job, and then the other, measure these rows; what was asked."""
    given, asked = iter(runs), list[tuple[Job, list[range]]]()

    def measure(job: Job, spans: Sequence[range]) -> Iterator[Piece]:
        asked.append((job, list(spans)))
        yield Piece(0, list(next(given)), [])

    monkeypatch.setattr("limner.capfilt.fewer.measure", measure)
    return asked


def _row(text: str, *itm: float | None, picture: str | None = None) -> dict[str, Any]:
    return {"picture": picture, "synthetic": [text, "another"], "itm_web": list(itm)}


def test_texts_that_neither_scores_do_not_count(
    make_table: Callable[..., Table], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(make_table([["a cat"]] * 40), bundle, bundle, MERGE)
    quick = merged(job)
    asked = _measured(
        monkeypatch,
        [_row("a red cat", 0.9, None, 0.4), _row("", 0.9, picture="picture:empty"), _row("one dog", None)],
        [_row("a blue cat", 0.7, None, 0.6), _row("", 0.1, picture="picture:empty"), _row("one dog", 0.2)],
    )
    found = job_agreement(job, quick)
    assert found is not None
    assert (found[0].pictures, found[0].same) == (2, 1)
    assert (found[1].texts, found[1].same) == (3, 2)  # what was screened is dropped, as is 0.2
    assert found[1].apart == pytest.approx(0.2)
    assert [spans for _, spans in asked] == [[range(0, 32, 2)]] * 2  # from all over the table
    assert [one.captioner for one, _ in asked] == [job.captioner, quick.captioner]


def test_captions_are_searched_so_that_chance_has_no_part(
    make_table: Callable[..., Table], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = MERGE.model_copy(update={"captions_per_picture": 3, "also": Decoding(method="beam")})
    job = Job(make_table([["a cat"]]), bundle, bundle, several)
    asked = _measured(monkeypatch, [_row("a cat", 0.9)], [_row("a cat", 0.9)])
    job_agreement(job, merged(job))
    for one, _ in asked:
        assert one.settings.writings == ((Decoding(method="beam", max_tokens=6), 1),)


def test_nothing_is_said_of_pictures_that_cannot_be_read(
    make_table: Callable[..., Table], bundle: Bundle
) -> None:
    job = Job(make_table([["a cat"], ["a dog"]], broken=(0, 1)), bundle, bundle, MERGE)
    assert job_agreement(job, merged(job)) is None
