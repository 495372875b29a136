import numpy as np
import pytest

from limner.data import emoji_rows as module
from limner.data.emoji_rows import EmojiRows
from limner.shapes import ImageSpec


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> EmojiRows:
    monkeypatch.setattr(module, "drawn_emoji", lambda style: ["☀️", "🇵🇪", "🦉"])
    return EmojiRows(ImageSpec(size=32), seed=5)


def test_each_emoji_stands_once_in_each_style(rows: EmojiRows):
    samples = rows.samples(range(len(rows)), epoch=0)
    assert [s.caption for s in samples] == ["sun", "flag of peru", "owl"] * 2
    assert [s.key.split("/")[0] for s in samples] == ["openmoji"] * 3 + ["twemoji"] * 3
    assert {s.image.shape for s in samples} == {(32, 32, 3)}
    assert [s.image_id for s in samples] == list(range(6))


def test_samples_follow_from_seed_epoch_and_index(rows: EmojiRows):
    again = EmojiRows(ImageSpec(size=32), seed=5)
    assert np.array_equal(rows.samples([2], 1)[0].image, again.samples([2], 1)[0].image)
    assert not np.array_equal(rows.samples([2], 1)[0].image, rows.samples([2], 2)[0].image)
    other = EmojiRows(ImageSpec(size=32), seed=6)
    assert not np.array_equal(rows.samples([2], 1)[0].image, other.samples([2], 1)[0].image)


def test_pictures_differ_and_are_not_blank(rows: EmojiRows):
    images = [s.image for s in rows.samples(range(6), epoch=0)]
    assert all(image.std() > 10 for image in images)
    assert len({image.tobytes() for image in images}) == 6


def test_half_of_the_grounds_are_white(rows: EmojiRows):
    corners = [rows.samples([2], epoch)[0].image[0, 0] for epoch in range(200)]
    white = np.mean([corner.min() > 240 for corner in corners])
    assert 0.4 < white < 0.7
