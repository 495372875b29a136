import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.checkpoint import save_bundle
from limner.checkpoint.bundle import ASSETS
from limner.convert import opening
from limner.convert.opening import POSITIONS, digest_of, find, locate, open_bundle, resized
from limner.convert.saving import convert
from limner.convert.sniff import DIALECTS
from limner.convert.weights import write_safetensors
from limner.data.bpe import CLIPTokenizer
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.models import MODELS, build
from limner.models.clip import CLIPConfig
from limner.models.positions import resize_positions
from limner.models.resnet import ResNetConfig
from limner.models.vit_config import ViTConfig
from limner.shapes import ImageSpec

FLAT = {"vit": "timm", "clip": "hf", "clip_resnet": "open_clip", "blip": "salesforce", "vqa": "hf"}


@pytest.mark.parametrize(("name", "to"), FLAT.items(), ids=list(FLAT))
def test_a_file_of_another_library_opens_with_all_that_goes_with_it(small_bundle, tmp_path, name, to):
    made = small_bundle(name)
    path = convert(made, tmp_path / "folder", to).path
    found = open_bundle(path)
    assert found.model.config == made.model.config
    assert not found.model.training
    for key, tensor in made.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[key], tensor), key
    assert found.image_spec.size == made.image_spec.size
    assert found.architecture == made.architecture
    assert found.source["dialect"] == to
    assert found.digest == found.source["sha256"][:12] == digest_of(path)
    assert found.name == ""


def test_a_named_model_is_recognised_by_its_sizes(tmp_path):
    line = MODELS["cifar_resnet20"]
    tensors = {key: t for key, t in build(line.config).state_dict().items() if "num_batches" not in key}
    theirs = {f"module.{key.replace('fc.', 'linear.')}": t for key, t in tensors.items()}
    torch.save({"state_dict": theirs, "best_prec1": 91.5}, tmp_path / "best.th")
    found = open_bundle(tmp_path / "best.th")
    assert (found.name, found.task, found.labels[3]) == ("cifar_resnet20", "classification", "cat")
    assert any("91.5" in note for note in found.source["notes"])


def test_limners_own_open_by_name_by_folder_and_by_their_weight_file(tmp_path):
    sizes = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=3, stem="cifar")
    folder = save_bundle(tmp_path / "run" / "model", build(sizes), "", sizes, ImageSpec(size=32))
    digest = open_bundle(folder).digest
    for name in (folder.parent, str(folder), folder / "model.safetensors"):
        assert open_bundle(name).digest == digest_of(name) == digest
    shipped = open_bundle("limner_tiny")
    assert shipped.path == ASSETS / "limner_tiny"
    assert shipped.blip()[1].vocab_size == shipped.model.config.text.vocab_size


def test_a_run_that_has_not_ended_says_so(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="has not ended"):
        open_bundle(tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet50", "torchvision:resnet50.v1"),
        ("ViT-B/32", "openai:ViT-B/32"),
        ("clip_vit_b32", "hub:openai/clip-vit-base-patch32"),
        ("openai/clip-vit-base-patch32", "hub:openai/clip-vit-base-patch32"),
        ("clip_vit_e14", "the path of a file of clip_vit_e14"),
    ],
)
def test_a_name_of_sizes_asks_for_weights(name, hint):
    with pytest.raises(CheckpointError, match="names sizes; which weights") as caught:
        open_bundle(name)
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["nowhere/at/all.pth", "nothing", "openai:ViT-Z/1"])
def test_what_does_not_exist_is_refused(name):
    with pytest.raises(CheckpointError):
        open_bundle(name)


def test_the_network_is_asked_of_hub_names_alone(monkeypatch, tmp_path):
    asked = []

    def resolve(name: str) -> Path:
        asked.append(name)
        return tmp_path / "model.safetensors"

    monkeypatch.setattr(opening, "resolve", resolve)
    assert locate("hub:org/name@main") == (tmp_path / "model.safetensors", "hub:org/name@main")
    assert asked == ["hub:org/name@main"]


def test_a_bundle_on_the_hub_is_a_bundle(monkeypatch, tmp_path):
    sizes = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=3, stem="cifar")
    folder = save_bundle(tmp_path / "snapshot", build(sizes), "", sizes, ImageSpec(size=32))
    monkeypatch.setattr(opening, "resolve", lambda name: folder / "model.safetensors")
    assert open_bundle("hub:me/mine").model.config == sizes


def test_a_missing_key_a_stray_key_and_a_wrong_shape_are_refused(small_bundle, tmp_path):
    whole = small_bundle("cifar")
    config = whole.model.config
    tensors = {key.replace("fc.", "linear."): t for key, t in whole.model.state_dict().items()}
    for change, message in (
        ({"bn1.bias": None}, "missing keys"),
        ({"layer9.weight": torch.zeros(3)}, "without a place"),
        ({"bn1.bias": torch.zeros(3)}, r"bn1\.bias has shape \(3,\)"),
        ({"linear.bias": torch.zeros(10, dtype=torch.int64)}, "holds torch.int64"),
    ):
        broken = {key: t for key, t in (tensors | change).items() if t is not None}
        write_safetensors(tmp_path / "x.safetensors", broken)
        with pytest.raises(CheckpointError, match=message):
            open_bundle(tmp_path / "x.safetensors")
    write_safetensors(tmp_path / "x.safetensors", {**tensors, "layer9.weight": torch.zeros(3)})
    found = find(tmp_path / "x.safetensors")
    assert (found.missing, found.unused) == ([], ["layer9.weight"])
    assert found.description.config == config


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_and_said(small_bundle, tmp_path, dtype):
    made = small_bundle("cifar")
    halves = {
        key.replace("fc.", "linear."): t.to(dtype) if t.is_floating_point() else t
        for key, t in made.model.state_dict().items()
    }
    write_safetensors(tmp_path / "x.safetensors", halves)
    found = open_bundle(tmp_path / "x.safetensors")
    assert found.source["dtypes"] == sorted([str(dtype).removeprefix("torch."), "int64"])
    state = found.model.state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    assert torch.equal(state["conv1.weight"], halves["conv1.weight"].float())


def positions(model: torch.nn.Module) -> Tensor:
    tower = getattr(model, "vision", model)
    return tower.pos_embed if hasattr(tower, "pos_embed") else tower.attnpool.positional_embedding[None]


@pytest.mark.parametrize(
    ("name", "to", "method", "size", "grids"),
    [
        ("vit", "timm", "timm", 64, (2, 4)),
        ("vit", "torchvision", "torchvision", 48, (2, 3)),
        ("vit", "hf", "hf", 64, (2, 4)),
        ("clip", "openai", "open_clip", 64, (2, 4)),
        ("clip", "hf", "hf", 40, (2, 2)),
        ("clip_resnet", "open_clip", "open_clip", 96, (2, 3)),
        ("blip", "salesforce", "blip", 64, (2, 4)),
        ("nlvr2", "salesforce", "blip", 64, (2, 4)),
    ],
)
def test_another_image_size_interpolates_as_the_source_does(
    small_bundle, tmp_path, name, to, method, size, grids
):
    made = small_bundle(name)
    path = convert(made, tmp_path / "m", to).path
    before, found = open_bundle(path), open_bundle(path, image_size=size)
    old, new = ((grid, grid) for grid in grids)
    expected = resize_positions(positions(made.model).detach(), 1, old, new, method)
    torch.testing.assert_close(positions(found.model), expected, rtol=0, atol=0)
    config = found.model.config
    assert getattr(config, "vision", config).image_size == found.image_spec.size == size
    assert found.digest != before.digest
    pixels = torch.zeros(1, 3, size, size)
    assert getattr(found.model, "vision", found.model)(pixels).pooled.isfinite().all()


def test_a_bundle_remembers_whose_way_of_interpolating_is_right(small_bundle, tmp_path):
    first = convert(small_bundle("vit"), tmp_path / "hf", "hf").path
    again = convert(open_bundle(first), tmp_path / "own", "limner").path
    table = positions(small_bundle("vit").model)
    assert table.shape[1] == 5
    for name in (first, again):
        torch.testing.assert_close(
            positions(open_bundle(name, image_size=64).model),
            positions(open_bundle(first, image_size=64).model),
            rtol=0,
            atol=0,
        )


def test_residual_networks_read_any_size_and_others_are_refused_below_one_patch(small_bundle):
    assert resized(small_bundle("cifar"), 48).image_spec.size == 48
    with pytest.raises(CheckpointError, match="image_size 8"):
        resized(small_bundle("vit"), 8)


def test_every_library_has_its_way_of_interpolating():
    vits = {dialect.name for dialect in DIALECTS if dialect.architecture != "resnet"}
    assert [name for name in vits if not any(name.startswith(known) for known in POSITIONS)] == []


def test_what_a_file_does_not_say_the_user_says(small_bundle, tmp_path):
    path = convert(small_bundle("clip_gelu"), tmp_path / "m", "open_clip").path
    (path / "open_clip_config.json").unlink()
    with pytest.raises(CheckpointError, match="--activation"):
        open_bundle(path)
    exact, quick = (open_bundle(path, options={"activation": name}) for name in ("gelu", "quick_gelu"))
    assert exact.model.config.text.activation == "gelu"
    assert quick.model.config.vision.activation == "quick_gelu"
    assert exact.digest != quick.digest
    with pytest.raises(CheckpointError, match="activation 'relu'"):
        open_bundle(path, options={"activation": "relu"})


def test_what_a_file_says_itself_nobody_says_for_it(small_bundle, tmp_path):
    path = convert(small_bundle("vit"), tmp_path / "m", "timm").path
    with pytest.raises(CheckpointError, match="activation given for a vit of timm"):
        open_bundle(path, options={"activation": "gelu"})


def test_the_public_tokenizer_is_taken_where_the_vocabulary_is_the_public_one(tmp_path, stirred):
    sizes = {"image_size": 32, "patch_size": 16, "width": 64, "depth": 1, "num_heads": 1, "mlp_dim": 256}
    vision = ViTConfig(**sizes, pre_norm=True, patch_bias=False, layer_norm_eps=1e-5, activation="quick_gelu")
    text = {"width": 64, "depth": 1, "num_heads": 1, "mlp_dim": 256}
    config = CLIPConfig.model_validate({"vision": vision, "text": text, "embed_dim": 16})
    folder = save_bundle(tmp_path / "own", stirred(build(config)), "", config, ImageSpec(size=32))
    path = convert(open_bundle(folder), tmp_path / "m", "openai").path
    found = open_bundle(path)
    assert found.clip()[1].encode("a photo of a cat") == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert any("public" in note for note in found.source["notes"])


def test_a_tokenizer_is_named_when_none_is_there(small_bundle, tmp_path):
    path = convert(small_bundle("blip"), tmp_path / "m", "salesforce").path
    assert open_bundle(path).tokenizer is None
    own = WordPiece.from_texts(["a red owl", "two fish"], 140)
    (tmp_path / "tokenizer.json").write_text(own.to_json())
    found = open_bundle(path, tokenizer=tmp_path / "tokenizer.json")
    assert found.blip()[1].encode("two fish") == own.encode("two fish")
    clip = CLIPTokenizer.from_merges(vocab_size=600)
    (tmp_path / "clip.json").write_text(clip.to_json())
    other = convert(small_bundle("clip"), tmp_path / "c", "openai").path
    assert open_bundle(other, tokenizer=tmp_path / "clip.json").clip()[1].vocab_size == 600


def test_a_clip_where_a_blip_is_needed_is_told(small_bundle, tmp_path):
    path = convert(small_bundle("clip"), tmp_path / "m", "hf").path
    with pytest.raises(CheckpointError, match=r"is a clip, which does not read pictures and texts together"):
        open_bundle(path).blip()
    with pytest.raises(CheckpointError, match="clip without a tokenizer"):
        open_bundle(path).clip()


def test_json_that_is_another_models_is_refused(small_bundle, tmp_path):
    path = convert(small_bundle("clip"), tmp_path / "m", "hf").path
    values = json.loads((path / "config.json").read_text())
    values["text_config"]["num_hidden_layers"] = 7
    (path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="num_hidden_layers is 7"):
        open_bundle(path)


WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights"


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the published weights are not on this machine")
@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_the_published_cifar_networks_open_with_their_names(depth):
    (path,) = WEIGHTS.glob(f"resnet{depth}-*.th")
    found = open_bundle(path)
    assert (found.name, len(found.labels)) == (f"cifar_resnet{depth}", 10)
    assert path.stem.endswith(found.digest[:8])
