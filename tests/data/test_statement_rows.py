"""Statements as samples: both pictures, the sentence, whether it holds."""

import numpy as np
import pytest

from limner.data.intake import decode
from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.statement_rows import StatementRows
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=16)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes") / "s.lance"
    build_scenes_table(path, SceneSettings(seed=5, canvas_px=48), 0, 4)
    return path


def test_both_pictures_come_with_the_statement(path):
    table, rows = Table.open(path), StatementRows(path, SPEC, 0)
    keys, images = table.column("key"), table.column("image")
    pixels = {key: to_u8(decode(image, max_side=None), SPEC) for key, image in zip(keys, images, strict=True)}
    written = [(key, one) for key, all_ in zip(keys, table.column("statements"), strict=True) for one in all_]
    assert len(rows) == len(written) == 8
    for sample, (key, one) in zip(rows.samples(range(8), 0), written, strict=True):
        assert sample.key.startswith(key)
        assert sample.question == one["text"]
        assert sample.answer == ("true" if one["truth"] else "false")
        assert np.array_equal(sample.image, pixels[key])
        assert np.array_equal(sample.other, pixels[one["other_key"]])


def test_each_picture_is_augmented_and_chance_repeats(path):
    rows = StatementRows(path, SPEC, 9, augment="jitter")
    one, other = (rows.samples([3], 1)[0] for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.other, other.other)
    plain = StatementRows(path, SPEC, 9).samples([3], 1)[0]
    assert not np.array_equal(one.image, plain.image)
    assert not np.array_equal(one.other, plain.other)
