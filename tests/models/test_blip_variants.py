import pytest
import torch

from limner.models import build, canonical
from limner.models.blip_nlvr2 import BLIPNLVR2
from limner.models.blip_variants import VARIANTS
from limner.models.blip_vqa import BLIPVQA


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("blip_base", "model_base_capfilt_large"),
        ("blip_large", "model_large"),
        ("blip_base_caption", "Salesforce/blip-image-captioning-base"),
        ("blip_base_caption", "model_base_caption_capfilt_large"),
        ("blip_large_caption", "blip_caption/large_coco"),
        ("blip_base_retrieval", "Salesforce/blip-itm-base-flickr"),
        ("blip_base_retrieval", "model_base_retrieval_coco"),
        ("blip_large_retrieval", "blip_image_text_matching/large"),
        ("blip_base_vqa", "Salesforce/blip-vqa-capfilt-large"),
        ("blip_base_vqa", "model_vqa"),
        ("blip_base_nlvr2", "model_base_nlvr"),
    ],
)
def test_names_in_other_libraries(name: str, known_as: str) -> None:
    assert canonical(known_as) == name


@pytest.mark.parametrize("name", VARIANTS)
def test_pictures_are_of_the_size_of_the_positions(name: str) -> None:
    line = VARIANTS[name]
    assert line.image_spec.size == line.config.vision.image_size
    assert line.image_spec.crop == "squash"


def test_each_task_has_its_own_size_and_drop_path() -> None:
    sizes = {name: line.config.vision.image_size for name, line in VARIANTS.items()}
    assert [sizes[f"blip_{name}"] for name in ("large", "base_caption", "base_vqa", "base_nlvr2")] == [
        224,
        384,
        480,
        384,
    ]
    rates = {name: line.config.vision.drop_path for name, line in VARIANTS.items()}
    assert {name for name, rate in rates.items() if rate} == {
        *("blip_large", "blip_large_caption", "blip_large_retrieval"),  # large always
        *("blip_base_vqa", "blip_base_nlvr2"),  # base when it is fine-tuned on these
    }


def test_online_parameters_of_retrieval_are_the_paper_s_less_the_temperature() -> None:
    with torch.device("meta"):
        models = {name: build(f"blip_{name}_retrieval") for name in ("base", "large")}
        assert isinstance(build("blip_base_vqa"), BLIPVQA)
        assert isinstance(build("blip_base_nlvr2"), BLIPNLVR2)
    counts = {
        name: sum(p.numel() for key, p in model.named_parameters() if key != "temperature")
        for name, model in models.items()
    }
    assert counts == {"base": 223_744_258, "large": 446_128_642}
