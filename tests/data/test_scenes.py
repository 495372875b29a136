import copy
import hashlib
import math
import os
import subprocess
import sys
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from limner import config
from limner.data.concepts import BY_NAME
from limner.data.scene_language import is_exact
from limner.data.scenes import SceneRows, SceneSettings, plan_scene, scene
from limner.data.sprites import load_sprite
from limner.data.transforms import to_u8
from limner.errors import ConfigError
from limner.shapes import ImageSpec

PLAIN = SceneSettings(seed=4, jitter=False)
VARIED = SceneSettings(seed=4, styles=("twemoji",))
SPEC = ImageSpec(size=64)

DIGEST = """
import hashlib
from limner.data.scenes import SceneSettings, scene
made = [scene(SceneSettings(seed=4, styles=("twemoji",)), index) for index in range(30)]
print(hashlib.sha256(b"".join(s.image.tobytes() + repr(s[2:]).encode() for s in made)).hexdigest())
"""


def test_same_seed_same_bytes_in_another_process():
    scene(VARIED, 0)  # the sprites are in the session's cache from here on
    env = os.environ | {"PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", DIGEST], env=env, capture_output=True, check=True)
    made = [scene(VARIED, index) for index in range(30)]
    here = hashlib.sha256(b"".join(s.image.tobytes() + repr(s[2:]).encode() for s in made)).hexdigest()
    assert run.stdout.decode().strip() == here


def test_order_of_making_makes_no_difference():
    forth = [scene(VARIED, index).image.tobytes() for index in range(6)]
    back = [scene(VARIED, index).image.tobytes() for index in reversed(range(6))]
    assert forth == back[::-1]
    assert len(set(forth)) == 6


def test_another_seed_makes_other_scenes():
    other = VARIED.model_copy(update={"seed": 5})
    assert all(
        scene(VARIED, index).image.tobytes() != scene(other, index).image.tobytes() for index in range(5)
    )


def test_a_scene_is_what_it_says():
    for index in range(100):
        made = scene(PLAIN, index)
        assert made.image.shape == (128, 128, 3)
        assert made.image.dtype == np.uint8
        assert 1 <= len(made.truth.things) <= 4
        assert all(is_exact(caption, made.truth) for caption in made.captions)
        ground = made.image[0, 0]
        outside = (made.image != ground).any(axis=-1)
        for thing in made.truth.things:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= 128
            assert 0 <= y0 < y1 <= 128
            assert outside[y0:y1, x0:x1].mean() > 0.04  # something is drawn in its box
            assert min(x1 - x0, y1 - y0) >= 8
            assert max(x1 - x0, y1 - y0) >= 38  # at 64 pixels still 19
        for thing in made.truth.things:
            x0, y0, x1, y1 = thing.box
            outside[y0:y1, x0:x1] = False
        assert not outside.any()  # and nothing elsewhere


def test_boxes_do_not_overlap():
    for index in range(300):
        boxes = [thing.box for thing in plan_scene(VARIED, index).truth.things]
        for a, b in combinations(boxes, 2):
            width = min(a[2], b[2]) - max(a[0], b[0])
            height = min(a[3], b[3]) - max(a[1], b[1])
            assert min(width, height) <= 1  # cells part them; a rounded edge may touch


def test_sprites_stand_out_from_their_ground():
    near = 0
    for index in range(300):
        plan = plan_scene(VARIED, index)
        colours = [load_sprite(plan.style, placement.emoji).colour for placement in plan.placements]
        near += min(math.dist(colour, plan.ground) for colour in colours) < 90
    assert near <= 6


def test_counts_styles_and_concepts_are_spread():
    plans = [plan_scene(SceneSettings(seed=8), index) for index in range(1500)]
    sizes = Counter(len(plan.truth.things) for plan in plans)
    assert all(sizes[size] > 200 for size in (1, 2, 3, 4))
    styles = Counter(plan.style for plan in plans)
    assert 0.45 < styles["twemoji"] / 1500 < 0.55
    seen = {thing.concept for plan in plans for thing in plan.truth.things}
    assert seen == BY_NAME.keys()
    assert {plan.hand for plan in plans} == {0, 1, 2}
    grounds = Counter(plan.truth.ground for plan in plans)
    assert min(grounds.values()) > 50
    assert len(grounds) == 11


def test_settings_are_kept():
    settings = SceneSettings(seed=1, styles=("openmoji",), canvas_px=96, max_objects=2, jitter=False)
    for index in range(40):
        made = scene(settings, index)
        assert made.image.shape == (96, 96, 3)
        assert made.style == "openmoji"
        assert len(made.truth.things) <= 2


@pytest.mark.parametrize("values", [{"max_objects": 5}, {"styles": []}, {"styles": ["noto"]}, {"size": 3}])
def test_impossible_settings_are_refused(values: dict[str, object]):
    with pytest.raises(ConfigError):
        config.build(values, SceneSettings, "test")


def test_rows_are_the_scenes_at_the_model_size():
    rows = SceneRows(VARIED, start=10, count=50, spec=SPEC)
    assert len(rows) == 50
    samples = rows.samples([7, 3, 7], epoch=0)
    assert [sample.key for sample in samples] == ["scene-4-17", "scene-4-13", "scene-4-17"]
    assert [sample.image_id for sample in samples] == [17, 13, 17]
    assert np.array_equal(samples[0].image, samples[2].image)
    made = scene(VARIED, 17)
    assert np.array_equal(samples[0].image, to_u8(Image.fromarray(made.image), SPEC))
    assert is_exact(samples[0].caption, made.truth)
    assert samples[0].question.endswith("?")
    assert samples[0].answer


def test_another_epoch_says_other_things_of_the_same_pictures():
    rows = SceneRows(VARIED, start=0, count=20, spec=SPEC)
    first, again, second = (rows.samples(range(20), epoch) for epoch in (0, 0, 1))
    assert [s.caption for s in first] == [s.caption for s in again]
    assert [s.caption for s in first] != [s.caption for s in second]
    assert [s.question for s in first] != [s.question for s in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def test_rows_can_be_handed_to_a_worker():
    rows = SceneRows(VARIED, start=0, count=3, spec=SPEC)
    assert copy.deepcopy(rows).samples([1], 0)[0].caption == rows.samples([1], 0)[0].caption


def test_styles_are_names_or_fonts():
    assert SceneSettings(styles=("font:any.ttf",)).styles == ("font:any.ttf",)
    with pytest.raises(ValueError, match="unknown art style 'noto'"):
        SceneSettings(styles=("noto",))


def test_only_the_concepts_that_were_asked_for_are_drawn():
    names = ("dog", "cat", "heart", "palm tree")
    few = SceneSettings(seed=4, concepts=names)
    drawn = {thing.concept for index in range(60) for thing in plan_scene(few, index).truth.things}
    assert drawn == set(names)
    assert config.digest(SceneSettings(seed=4)) != config.digest(few)


def test_no_concepts_leave_scenes_and_digests_as_they_were():
    assert "concepts" not in SceneSettings(seed=4).model_dump()


@pytest.mark.parametrize(
    ("names", "said"), [(["dog", "cat", "fox", "unicorns"], "unicorns"), (["dog", "cat"], "4 or more")]
)
def test_concepts_that_make_no_scenes_are_refused(names, said):
    with pytest.raises(ConfigError, match=said):
        config.build({"concepts": names}, SceneSettings, "scenes")
