from pathlib import Path

import pytest

from limner.convert.clip_tags import TAGS, find, says_quick_gelu
from limner.models import canonical
from limner.models.clip_variants import VARIANTS


def test_every_tag_names_a_model() -> None:
    for tag in TAGS:
        config = VARIANTS[canonical(tag.name)].config
        assert config.text.activation == tag.activation
    assert len({(tag.architecture, tag.tag) for tag in TAGS}) == len(TAGS) == 70


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("vit_b_32-quickgelu-laion400m_e32-46683a32.pt", ("ViT-B-32", "laion400m_e32")),
        ("/cache/models--laion--CLIP-ViT-g-14-laion2B-s12B-b42K/blobs/0", ("ViT-g-14", "laion2b_s12b_b42k")),
        ("CLIP-VIT-H-14-LAION2B-S32B-B79K/open_clip_pytorch_model.bin", ("ViT-H-14", "laion2b_s32b_b79k")),
        ("vit_base_patch32_clip_224.openai/open_clip_model.safetensors", ("ViT-B-32", "openai")),
        ("h14_v1.2_altogether.pt", ("ViT-H-14", "metaclip_altogether")),
        ("apple/DFN2B-CLIP-ViT-L-14/model.bin", ("ViT-L-14", "dfn2b")),
        ("apple/DFN2B-CLIP-ViT-L-14-39B/model.bin", ("ViT-L-14", "dfn2b_s39b")),
    ],
)
def test_files_are_found_by_name_and_by_repository(path: str, found: tuple[str, str]) -> None:
    tag = find(Path(path))
    assert tag is not None
    assert (tag.architecture, tag.tag) == found


@pytest.mark.parametrize("path", ["ViT-B-32.pt", "RN50.pt", "model.safetensors", "laion2b/epoch_1.pt"])
def test_names_that_anybody_gives_say_nothing(path: str) -> None:
    assert find(Path(path)) is None


def test_families_keep_their_activation() -> None:
    """Trap 42."""
    families = {
        ("openai", "yfcc15m", "cc12m", "dfn2b", "dfn5b", "metaclip_400m", "metaclip_fullcc"): "quick_gelu",
        ("laion2b", "datacomp", "commonpool", "dfn2b_s39b", "metaclip_altogether"): "gelu",
    }
    for prefixes, activation in families.items():
        named = {t.activation for t in TAGS if t.tag in prefixes or t.tag.split("_")[0] in prefixes[:3]}
        assert named == {activation}
    laion400m = {t.architecture: t.activation for t in TAGS if t.tag == "laion400m_e32"}
    assert laion400m == {
        "ViT-B-32": "quick_gelu",
        "ViT-B-16": "gelu",
        "ViT-B-16-plus-240": "gelu",
        "ViT-L-14": "gelu",
    }


def test_names_with_quickgelu_say_so() -> None:
    assert says_quick_gelu(Path("runs/ViT-B-32-quickgelu/epoch_1.pt"))
    assert says_quick_gelu(Path("my_quick_gelu_model.pt"))
    assert not says_quick_gelu(Path("runs/ViT-B-32/epoch_1.pt"))


@pytest.mark.peer
def test_the_table_is_open_clips() -> None:
    from open_clip.constants import INCEPTION_MEAN
    from open_clip.pretrained import _PRETRAINED

    ours = {(tag.architecture, tag.tag): tag for tag in TAGS}
    theirs = {
        (architecture, tag): config
        for architecture, tags in _PRETRAINED.items()
        if architecture in {tag.architecture for tag in TAGS}
        for tag, config in tags.items()
    }
    assert ours.keys() == theirs.keys()
    for key, config in theirs.items():
        tag = ours[key]
        assert (tag.activation == "quick_gelu") == bool(config.get("quick_gelu"))
        assert tag.half_norm == (config["mean"] == INCEPTION_MEAN)
        assert tag.squash == (config["resize_mode"] == "squash")
        assert config["interpolation"] == "bicubic"
        repository, file = Path(config["hf_hub"]).name, Path(config["url"]).stem
        expected = [repository] if tag.tag == "openai" else [repository, file]
        assert list(tag.sources) == [source for source in expected if source]
    assert set(_PRETRAINED) - {a for a, _ in ours} >= {"coca_ViT-B-32", "ViT-B-16-SigLIP"}
