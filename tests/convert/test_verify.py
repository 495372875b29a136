import json

import pytest
import torch

from limner.checkpoint import save_bundle
from limner.convert.labels import CIFAR_10, IMAGENET_1K
from limner.convert.opening import open_bundle
from limner.convert.public import PUBLIC
from limner.convert.saving import convert
from limner.convert.sniff import DIALECTS
from limner.convert.verify import STYLES, published, verify
from limner.data.bpe import CLIPTokenizer
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.models import MODELS, build
from limner.models.clip import CLIPConfig
from limner.models.resnet import ResNetConfig
from limner.models.vit_config import ViTConfig


def wrong(bundle):
    return {check.name: (check.expected, check.found) for check in verify(bundle) if not check.ok}


def changed(bundle, **values):
    """The same model with another config, as a file would be that says the wrong thing."""
    config = bundle.model.config
    for path, value in values.items():
        part, _, field = path.partition("__")
        inner = getattr(config, part).model_copy(update={field: value}) if field else value
        config = config.model_copy(update={part: inner})
    bundle.model.config = config
    return bundle


def test_the_shipped_model_is_what_it_says():
    checks = verify(open_bundle("limner_tiny"))
    assert [check.name for check in checks if not check.ok] == []
    assert len(checks) > 8


@pytest.mark.parametrize(
    ("name", "to"), [("vit", "torchvision"), ("vit", "timm"), ("deit", "hf"), ("resnet", "timm")]
)
def test_files_of_other_libraries_are_what_they_say(small_bundle, tmp_path, name, to):
    assert wrong(open_bundle(convert(small_bundle(name), tmp_path / "m", to).path)) == {}


def opened(small_bundle, tmp_path, name, to):
    return open_bundle(convert(small_bundle(name), tmp_path / "m", to).path)


def test_trap_14_and_42_another_activation_is_named(small_bundle, tmp_path):
    path = convert(small_bundle("clip"), tmp_path / "m", "openai").path
    bundle = open_bundle(path, options={"activation": "gelu"})
    found = wrong(bundle)
    assert found["activation of the image encoder"] == ("quick_gelu", "gelu")
    assert found["activation of the text tower"] == ("quick_gelu", "gelu")


def test_trap_15_another_epsilon_is_named(small_bundle, tmp_path):
    bundle = opened(small_bundle, tmp_path, "blip", "salesforce")
    found = wrong(changed(bundle, vision__layer_norm_eps=1e-5, text__layer_norm_eps=1e-6))
    assert found["epsilon of the image encoder"] == ("1e-06", "1e-05")
    assert found["epsilon of the text tower"] == ("1e-12", "1e-06")


def test_trap_21_another_preparation_is_named(small_bundle, tmp_path):
    bundle = opened(small_bundle, tmp_path, "clip", "openai")
    spec = bundle.image_spec.model_copy(update={"mean": (0.5, 0.5, 0.5), "crop": "squash", "size": 48})
    found = wrong(bundle._replace(image_spec=spec, model=bundle.model))
    assert found["mean of pictures"] == ("0.4815, 0.4578, 0.4082", "0.5, 0.5, 0.5")
    assert found["crop of pictures"] == ("center", "squash")
    assert found["picture size"] == ("32", "48")


def test_labels_in_another_order_are_named():
    sizes = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=1000)
    bundle = open_bundle("limner_tiny")._replace(
        model=build(sizes).eval(), architecture="resnet", tokenizer=None
    )
    assert "first and last label" not in wrong(bundle._replace(labels=IMAGENET_1K))
    words = tuple(f"{name}, and more" for name in IMAGENET_1K)
    assert "first and last label" not in wrong(bundle._replace(labels=words))
    by_alphabet = wrong(bundle._replace(labels=tuple(sorted(IMAGENET_1K))))
    assert by_alphabet["first and last label"][0] == "tench, toilet tissue"
    few = wrong(bundle._replace(labels=tuple(sorted(CIFAR_10, reverse=True))))
    assert set(few) >= {"number of labels", "labels of CIFAR-10"}


@pytest.fixture
def public_clip(tmp_path, stirred):
    """A small CLIP with the public vocabulary, opened from OpenAI's layout."""
    sizes = {"image_size": 32, "patch_size": 16, "width": 64, "depth": 1, "num_heads": 1, "mlp_dim": 256}
    vision = ViTConfig(**sizes, pre_norm=True, patch_bias=False, layer_norm_eps=1e-5, activation="quick_gelu")
    text = {"width": 64, "depth": 1, "num_heads": 1, "mlp_dim": 256}
    config = CLIPConfig.model_validate({"vision": vision, "text": text, "embed_dim": 16})
    model = stirred(build(config))
    model.log_logit_scale.data.fill_(4.6052)
    spec = open_bundle("limner_tiny").image_spec.model_copy(update={"size": 32, "crop": "center"})
    folder = save_bundle(tmp_path / "own", model, "", config, spec)
    return open_bundle(convert(open_bundle(folder), tmp_path / "m", "openai").path)


def test_trap_32_the_scale_is_a_logarithm_of_at_most_100(public_clip):
    assert wrong(public_clip) == {}
    public_clip.model.log_logit_scale.data.fill_(100.0)
    assert wrong(public_clip)["logit scale"][0] == "above 1, at most 100"
    public_clip.model.log_logit_scale.data.fill_(float("nan"))
    assert {"logit scale", "finite weights"} <= wrong(public_clip).keys()


def test_another_clip_tokenizer_is_named(public_clip):
    other = CLIPTokenizer.from_merges(vocab_size=10_000)
    found = wrong(public_clip._replace(tokenizer=other))
    assert found["ids of 'a photo of a cat'"][0] == "49406, 320, 1125, 539, 320, 2368, 49407"
    assert found["id of the end of a text"] == ("49407", "9999")
    assert wrong(public_clip._replace(tokenizer=None))["tokenizer"] == ("one of 49,408 words", "none")


def test_trap_62_the_ids_of_special_words_are_the_models(small_bundle):
    bundle = small_bundle("blip")
    own = WordPiece.from_texts(["a red owl", "two fish"], 139)
    found = wrong(bundle._replace(tokenizer=own))
    assert found["ids of special words"][0] == "pad 0, cls 101, sep 102, dec 138, enc 139"
    assert "words" not in found
    assert "words" in wrong(bundle._replace(tokenizer=WordPiece.from_vocabulary()))


def test_a_temperature_that_is_a_scale_is_named(small_bundle):
    bundle = small_bundle("retriever")
    bundle.model.temperature.data.fill_(1 / 0.07)
    assert wrong(bundle)["temperature"] == ("0.001 to 0.5", "14.2857")


def test_weights_that_are_not_finite_stop_the_other_questions(small_bundle):
    bundle = small_bundle("vit")
    bundle.model.head.weight.data[0, 0] = float("nan")
    names = [check.name for check in verify(bundle)]
    assert "finite outputs" not in names
    assert set(wrong(bundle)) == {"finite weights"}


def test_a_named_model_has_the_parameters_of_its_name(small_bundle):
    line = MODELS["cifar_resnet20"]
    bundle = small_bundle("cifar")._replace(name="cifar_resnet20", model=build(line.config).eval())
    assert "parameters" not in wrong(bundle)
    bundle.model.extra = torch.nn.Linear(2, 2)
    assert wrong(bundle)["parameters"] == ("269,722", "269,728")


def test_a_public_file_is_known_by_its_hash_else_by_its_name():
    known = PUBLIC["openai:ViT-B/32"]
    assert published({"sha256": known.sha256}) is known
    assert published({"sha256": "12fca82f" + "0" * 56}).name == "akamaster:resnet20"
    assert published({"name": "google:imagenet21k/ViT-B_16"}).model == "vit_b16"
    assert published({"file": "model_base_nlvr.pth"}).name == "salesforce:model_base_nlvr"
    assert published({"sha256": "0" * 64, "file": "mine.pth"}) is None
    assert published({}) is None


def test_a_public_file_of_other_sizes_is_named(small_bundle):
    bundle = small_bundle("cifar")._replace(source={"sha256": PUBLIC["akamaster:resnet20"].sha256 + "0" * 56})
    assert wrong(bundle)["published sizes"] == ("cifar_resnet20", "other sizes")


def test_a_published_clip_of_another_activation_is_named(small_bundle):
    source = {"dialect": "open_clip", "name": "hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"}
    bundle = small_bundle("clip")._replace(source=source)
    assert wrong(bundle)["published sizes"][0] == "clip_vit_b32_gelu"


def test_every_public_file_is_of_a_model_that_can_be_built():
    assert {file.model for file in PUBLIC.values()} - MODELS.keys() == set()


def test_styles_are_of_dialects_there_are():
    names = {(dialect.name, dialect.architecture) for dialect in DIALECTS}
    for library, family in STYLES:
        assert any(name.startswith(library) and kind == family for name, kind in names), library


def test_a_config_of_another_size_is_refused_before_any_check(small_bundle, tmp_path):
    path = convert(small_bundle("vit"), tmp_path / "m", "limner").path
    values = json.loads((path / "config.json").read_text())
    values["model"]["num_classes"] = 6
    (path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="has shape"):
        open_bundle(path)
