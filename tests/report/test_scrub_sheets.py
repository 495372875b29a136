"""The oddest pictures are on the sheets that are named after their oddness."""

import numpy as np
import pyarrow as pa
from PIL import Image

from limner.report.scrub_findings import ScrubSettings, look_at
from limner.report.scrub_sheets import light_of, nearness, open_sample, sheets, thumbnails


def named(table, settings=None):
    settings = settings or ScrubSettings()
    found = look_at(table, settings)
    made = sheets(table, found, open_sample(table, found, settings), settings)
    return {sheet.name: [found.columns["key"][one.row] for one in sheet.odd] for sheet in made}


def test_each_sheet_begins_with_the_oddest(odd_table):
    found = named(odd_table)
    assert found["shape"] == ["wide"]
    assert found["small"][0] == "tiny"
    assert found["large"][0] == "large"
    assert set(found["blank"][:2]) == {"blank", "dark"}
    assert found["dark"][0] == "dark"
    assert found["broken"] == ["broken"]
    assert "plain" in found["small"]
    assert "copy" not in found["small"]


def test_a_sheet_holds_no_more_than_asked(odd_table):
    assert all(len(keys) <= 2 for keys in named(odd_table, ScrubSettings(examples=2)).values())


def test_a_sample_opens_no_more_than_asked(odd_table):
    settings = ScrubSettings(sample=4, seed=1)
    told = []
    look = open_sample(odd_table, look_at(odd_table, settings), settings, lambda *done: told.append(done))
    assert len(look.rows) == len(look.light) == 4
    assert told == [(4, 4)]


def test_the_picture_least_like_the_others_comes_first(odd_table):
    rng = np.random.default_rng(0)
    vectors = (np.ones((14, 8)) + 0.1 * rng.normal(size=(14, 8))).astype(np.float32)
    vectors[8] *= -1
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8)
    table = odd_table.add_columns(pa.table({"embedding_abc": column}), "vectors")
    assert named(table)["unlike"][0] == "icon0"


def test_nearness_equals_a_loop():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(30, 4))
    vectors[7] = 0
    expected = []
    for i, one in enumerate(vectors):
        others = [v for j, v in enumerate(vectors) if j not in (i, 7)]
        cosines = sorted(one @ v / (np.linalg.norm(one) * np.linalg.norm(v) + 1e-300) for v in others)
        expected.append(np.nan if i == 7 else np.mean(cosines[-10:]))
    np.testing.assert_allclose(nearness(vectors), expected)


def test_light_and_contrast_are_of_the_grey_values():
    assert light_of(Image.new("RGB", (300, 200), "white")) == (1, 0)
    halves = Image.new("RGB", (64, 64))
    halves.paste("white", (0, 0, 32, 64))
    assert light_of(halves) == (0.5, 0.5)


def test_thumbnails_are_data_uris_or_nothing(odd_table):
    found = look_at(odd_table, ScrubSettings())
    made = thumbnails(odd_table, found, [13, 0, 0])
    assert made[0].startswith("data:image/webp;base64,")
    assert made[13] == ""
