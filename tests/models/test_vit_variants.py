from collections import Counter

import pytest
import torch

from limner.models import MODELS, build, canonical
from limner.models.vit_variants import VARIANTS

TIMM = {
    name: alias
    for name, line in VARIANTS.items()
    for alias in line.aliases
    if alias.startswith(("vit_", "deit_")) and alias[-3:] in {"224", "384"}
}
ONLY_512_OR_518 = {"vit_l16_512", "vit_h14_518"}


def test_no_two_models_have_the_same_alias() -> None:
    known = Counter(alias for line in MODELS.values() for alias in (*line.aliases,))
    assert not {alias for alias, count in known.items() if count > 1}
    assert not set(known) & set(MODELS)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("vit_base_patch16_224", "vit_b16"),
        ("vit_b_16", "vit_b16"),
        ("google/vit-base-patch16-224", "vit_b16"),
        ("ViT-B_16", "vit_b16"),
        ("B_16", "vit_b16"),
        ("vit_h_14", "vit_h14"),
        ("R26_S_32", "vit_r26_s32"),
        ("facebook/deit-base-distilled-patch16-384", "deit_b16_384_distilled"),
    ],
)
def test_other_libraries_names_are_known(alias: str, name: str) -> None:
    assert canonical(alias) == name


@pytest.mark.parametrize("name", VARIANTS)
def test_image_size_is_that_of_the_pictures(name: str) -> None:
    line = VARIANTS[name]
    assert line.config.image_size == line.image_spec.size
    assert (line.image_spec.mean == (0.5, 0.5, 0.5)) == name.startswith("vit")


@pytest.mark.peer
def test_every_model_of_timm_s_size_is_compared() -> None:
    import timm

    assert set(VARIANTS) - set(TIMM) == ONLY_512_OR_518
    assert all(timm.is_model(name) for name in TIMM.values())


@pytest.mark.peer
@pytest.mark.parametrize("name", TIMM)
def test_keys_are_timms(name: str) -> None:
    import timm

    with torch.device("meta"):
        ours = build(name).state_dict()
        theirs = timm.create_model(TIMM[name], num_classes=1000).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.peer
@pytest.mark.parametrize("name", ["vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"])
def test_counts_are_torchvisions(name: str) -> None:
    from torchvision.models import get_model

    with torch.device("meta"):
        ours, theirs = (sum(p.numel() for p in m.parameters()) for m in (build(name), get_model(name)))
    assert ours == theirs
