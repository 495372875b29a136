import numpy as np
import pytest
from PIL import Image

from limner.data.augment_sheet import augment_sheet
from limner.data.importing import import_source
from limner.data.intake import decode
from limner.data.scenes import SceneSettings, scene
from limner.data.table import SCHEMA, Table
from limner.data.transforms import to_u8
from limner.errors import ConfigError, DataError
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=24)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    place = tmp_path_factory.mktemp("sheet")
    (place / "photos").mkdir()
    for number in range(4):
        Image.fromarray(scene(SceneSettings(seed=3), number).image).save(place / "photos" / f"{number}.png")
    return import_source(place / "photos", place / "pairs.lance").table


def test_the_first_column_is_what_evaluation_sees(table):
    sheet = np.asarray(augment_sheet(table, "inception", SPEC, rows=[1, 2], draws=3))
    assert sheet.shape == (4 + 2 * 28, 4 + 4 * 28, 3)
    image = decode(table.rows([2], ["image"])[0]["image"])
    assert (sheet[32:56, 4:28] == to_u8(image, SPEC)).all()
    assert (sheet[4:28, 32:56] != sheet[4:28, 60:84]).any()


def test_a_seed_gives_the_same_sheet(table):
    sheets = [np.asarray(augment_sheet(table, "blip_pretrain", SPEC, seed, rows=2)) for seed in (1, 1, 2)]
    assert (sheets[0] == sheets[1]).all()
    assert (sheets[0] != sheets[2]).any()


def test_wrong_names_and_empty_tables_are_told(table, tmp_path):
    with pytest.raises(ConfigError, match="inception"):
        augment_sheet(table, "inceptoin", SPEC)
    with pytest.raises(DataError, match="no rows"):
        augment_sheet(Table.write(tmp_path / "empty.lance", [], SCHEMA), "clip", SPEC)
