"""File names of AugReg: every part is read, other names are nobody's."""

from limner.convert.augreg import augreg

TUNED = (
    "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384.npz"
)


def test_all_parts_of_a_fine_tuned_name() -> None:
    said = augreg(TUNED)
    assert said is not None
    assert said == ("B_16", "i21k", 300, 0.001, "medium1", 0.1, 0.0, 0.0, "imagenet2012", 20_000, 0.03, 384)


def test_a_pre_trained_name() -> None:
    said = augreg("R26_S_32-i1k-300ep-lr_0.001-aug_none-wd_0.03-do_0.1-sd_0.1")
    assert said is not None
    assert (said.model, said.data, said.dropout, said.drop_path) == ("R26_S_32", "i1k", 0.1, 0.1)
    assert (said.tuned_on, said.steps, said.resolution) == ("", 0, 224)


def test_other_names() -> None:
    for name in ("ViT-B_16.npz", "B_16-i21k.npz", "", TUNED + ".bak"):
        assert augreg(name) is None
