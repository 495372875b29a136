"""The table of public files."""

import importlib.util
import re
from pathlib import Path

import pytest

from limner.convert.hub import published_hash
from limner.convert.public import PUBLIC, find
from limner.errors import CheckpointError
from limner.models import MODELS


def test_every_row_is_complete():
    assert len(PUBLIC) >= 70
    for name, file in PUBLIC.items():
        assert file.name == name
        assert file.url.startswith("https://"), name
        assert re.fullmatch(r"|[0-9a-f]{8}|[0-9a-f]{64}", file.sha256), name
        assert file.model in MODELS, name
        for score in file.expected:
            assert 0 < score.value < 150, name
            assert score.measure, name
            assert score.protocol, name
            assert score.source, name
    assert len({file.url for file in PUBLIC.values()}) == len(PUBLIC)


def test_a_hash_in_an_address_is_the_hash_of_the_row():
    for file in PUBLIC.values():
        assert published_hash(file.url) == file.sha256


def test_names_are_found():
    clip = find("openai:ViT-B/32")
    assert clip is not None
    assert clip.url.endswith("/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt")
    assert (clip.model, clip.expected[0].value) == ("clip_vit_b32", 63.32)
    assert PUBLIC["openai:ViT-L/14@336px"].url.endswith("/ViT-L-14-336px.pt")
    assert PUBLIC["akamaster:resnet20"].url.endswith("/resnet20-12fca82f.th")
    assert PUBLIC["salesforce:model_base_caption_capfilt_large"].expected[0].value == 133.3
    assert find("resnet50") is None
    assert find("/some/path.pt") is None


def test_a_name_that_is_nearly_right_says_which():
    with pytest.raises(CheckpointError, match="no file of openai") as caught:
        find("openai:ViT-B-32")
    assert "openai:ViT-B/32" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "kind", "model"),
    [
        ("B_16-i21k-300ep", "do_0.0-sd_0.0", "vit_b16"),
        ("Ti_16-i1k-300ep", "do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384", "vit_ti16_384"),
        ("R26_S_32-i21k-30ep", "do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_224.npz", "vit_r26_s32"),
    ],
)
def test_any_file_of_the_augreg_study_is_known_by_its_name(size, kind, model):
    stem = f"{size}-lr_0.001-aug_medium1-wd_0.1-{kind}"
    found = find(f"google:augreg/{stem}")
    assert found is not None
    assert found.model == model
    assert found.url == f"https://storage.googleapis.com/vit_models/augreg/{stem.removesuffix('.npz')}.npz"
    with pytest.raises(CheckpointError, match="no file of google"):
        find("google:augreg/B_16-something.npz")


def source(package: str, *files: str) -> str:
    """Text of a peer's files, without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return "".join((Path(spec.origin).parent / file).read_text(encoding="utf-8") for file in files)


@pytest.mark.peer
def test_addresses_and_hashes_are_those_that_the_peers_have():
    torchvision = source("torchvision", "models/resnet.py")
    peers = {
        "google:augreg/": source(
            "timm", "models/vision_transformer.py", "models/vision_transformer_hybrid.py"
        ),
        "torchvision:": torchvision,
        "openai:": source("open_clip", "pretrained.py"),
    }
    for name, file in PUBLIC.items():
        for prefix, text in peers.items():
            assert not name.startswith(prefix) or file.url in text, name
        if name.startswith("torchvision:"):
            assert f'"acc@1": {file.expected[0].value:.3f}' in torchvision, name
