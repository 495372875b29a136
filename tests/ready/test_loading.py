"""`limner.load` and what hangs on the package itself: lazy, quick, and clear about wrong options."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import limner
from limner.checkpoint import Bundle
from limner.data.bert_vocabulary import BERT_UNCASED
from limner.data.bpe import CLIPTokenizer
from limner.errors import CheckpointError, ConfigError
from limner.ready.loading import load


def test_importing_limner_imports_nothing_heavy() -> None:
    code = (
        "import sys, limner; assert {'load', 'models', 'Ready'} <= set(dir(limner)); "
        "heavy = {'torch', 'numpy', 'pydantic', 'limner.models', 'limner.ready'} & set(sys.modules); "
        "assert not heavy, heavy; print(limner.models('limner*')); print(limner.__version__)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert told.stdout.split("\n")[0] == "['limner_tiny']"


def test_the_package_gives_what_it_names() -> None:
    assert limner.load is load
    assert "vit_b16" in limner.models("*b16*")
    assert limner.Ready.__name__ == "Ready"
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        limner.lode  # noqa: B018


def test_the_default_is_the_model_in_the_package() -> None:
    model = load()
    assert (model.name, model.batch_size, model.bundle.model.training) == ("limner_tiny", 32, False)


def test_a_folder_with_another_precision_and_size(bundles: dict[str, Bundle]) -> None:
    model = load(bundles["vit"].path, dtype="bfloat16", image_size=48, batch_size=7)
    weight = next(model.bundle.model.parameters())
    assert (weight.dtype, model.image_spec.size, model.batch_size) == (torch.bfloat16, 48, 7)
    assert model.transform(torch.zeros(9, 9, 3, dtype=torch.uint8).numpy()).shape == (3, 48, 48)


def test_another_tokenizer(bundles: dict[str, Bundle]) -> None:
    path = bundles["blip"].path
    model = load(str(path), tokenizer=path / "tokenizer.json")
    assert model.tokenizer.to_json() == bundles["blip"].tokenizer.to_json()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dtype": "int8"}, "dtype 'int8'"),
        ({"device": "toaster"}, "device 'toaster'"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_wrong_options(options: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load(**options)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load(tmp_path / "nothing")


TEXTS = ["a photo of a cat.", "a photo of a DOG &amp; “fox”.", "a photo of a red bus, (parked)!"]


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Of sides that leave odd margins to cut."""
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 255, (50 + 13 * i, 71, 3), dtype=np.uint8)) for i in range(3)]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_transformers_clip_gives_the_numbers_of_its_processor_and_model(
    tmp_path: Path, images: list[Image.Image]
) -> None:
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor
    from transformers import CLIPTokenizer as PeerTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    ours = CLIPTokenizer.from_merges()
    facts = json.loads(ours.to_json())["model"]
    merges = [tuple(pair) for pair in facts["merges"]]
    tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 1}
    pixels = {"image_size": 48, "patch_size": 16}
    config = CLIPConfig(text_config=tower, vision_config={**tower, **pixels}, projection_dim=32)
    peer = CLIPModel(config).eval()
    peer.save_pretrained(tmp_path)
    sides = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    tokenizer = PeerTokenizer(facts["vocab"], merges, model_max_length=77)
    processor = CLIPProcessor(CLIPImageProcessorPil(**sides), tokenizer)
    processor.save_pretrained(tmp_path)

    inputs = processor(text=TEXTS, images=images, return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = peer(**inputs).logits_per_image.softmax(1).numpy()
    found = load(tmp_path).classify(images, TEXTS, "{}")
    for row, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            [one.probability for one in row], [wanted[o.index] for o in row], rtol=1e-4
        )


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_transformers_blip_gives_the_numbers_of_its_processor_and_model(
    tmp_path: Path, images: list[Image.Image]
) -> None:
    from transformers import BertTokenizer, BlipConfig, BlipForImageTextRetrieval, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 1}
    vision = {**tower, "image_size": 48, "patch_size": 16}
    text = {**tower, "vocab_size": 30524, "encoder_hidden_size": 64}
    config = BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=32)
    peer = BlipForImageTextRetrieval(config).eval()
    peer.save_pretrained(tmp_path)
    pictures = BlipImageProcessorPil(size={"height": 48, "width": 48})
    processor = BlipProcessor(pictures, BertTokenizer(str(BERT_UNCASED)))
    processor.save_pretrained(tmp_path)

    inputs = processor(text=TEXTS, images=images, return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = peer(**inputs, use_itm_head=False)[0].numpy()
    model = load(tmp_path)
    found = model.encode_image(images).similarity(model.encode_text(TEXTS))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose([m.itc for m in model.match(images, TEXTS)], expected.diagonal(), atol=1e-5)
