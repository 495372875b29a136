import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from limner.checkpoint import Bundle, load
from limner.convert.opening import find, open_bundle
from limner.convert.saving import FORMATS, convert, formats_for
from limner.convert.sniff import DIALECTS
from limner.convert.weights import write_safetensors
from limner.data.bpe import CLIPTokenizer
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.shapes import ImageSpec

HELD = {
    "resnet": ("limner", "torchvision", "timm", "hf"),
    "resnet_v1": ("limner", "hf"),
    "cifar": ("limner",),
    "vit": ("limner", "torchvision", "timm", "hf"),
    "vit_features": ("limner", "torchvision", "timm", "hf"),
    "vit_gap": ("limner", "timm"),
    "deit": ("limner", "timm", "hf"),
    "clip": ("limner", "hf", "openai", "open_clip"),
    "clip_gelu": ("limner", "hf", "open_clip"),
    "clip_resnet": ("limner", "openai", "open_clip"),
    "captioner": ("limner", "hf", "salesforce"),
    "retriever": ("limner", "hf", "salesforce"),
    "blip": ("limner", "salesforce"),
    "vqa": ("limner", "hf", "salesforce"),
    "nlvr2": ("limner", "salesforce"),
}
PAIRS = [(name, to) for name, formats in HELD.items() for to in formats]


@pytest.mark.parametrize(("name", "to"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_a_model_comes_back_bit_equal_from_every_format_that_holds_it(small_bundle, tmp_path, name, to):
    made = small_bundle(name)
    done = convert(made, tmp_path / "m", to)
    found = open_bundle(done.path)
    expected, got = made.model.state_dict(), found.model.state_dict()
    assert expected.keys() == got.keys()
    assert [key for key, tensor in expected.items() if not torch.equal(got[key], tensor)] == []
    assert sorted(path.name for path in done.path.iterdir()) == list(done.files)


@pytest.mark.parametrize("name", HELD)
def test_the_formats_that_hold_a_model_are_known(small_bundle, name):
    assert tuple(formats_for(small_bundle(name).model.config)) == HELD[name]


@pytest.mark.parametrize("name", HELD)
def test_a_format_that_cannot_hold_a_model_says_why_and_which_can(small_bundle, tmp_path, name):
    made = small_bundle(name)
    for to in FORMATS:
        if to in HELD[name]:
            continue
        with pytest.raises(CheckpointError, match=f"cannot be written as {to}: ") as caught:
            convert(made, tmp_path / "m", to)
        assert caught.value.hint == "--to " + " or --to ".join(HELD[name])
    assert not list(tmp_path.iterdir())


def test_every_format_but_our_own_is_some_dialects():
    assert {d.name for d in DIALECTS if d.companions} == set(FORMATS) - {"limner"}


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_is_stored_and_widened(small_bundle, tmp_path, dtype):
    made = small_bundle("vit")
    for to in ("limner", "hf"):
        done = convert(made, tmp_path / to, to, dtype)
        kinds = {tensor.dtype for tensor in load_file(done.path / "model.safetensors").values()}
        assert kinds == {{"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]}
        weight = open_bundle(done.path).model.head.weight
        torch.testing.assert_close(weight, made.model.head.weight, rtol=8e-3, atol=1e-6)


def test_a_weight_that_does_not_fit_is_refused_and_nothing_is_left(small_bundle, tmp_path):
    made = small_bundle("vit")
    with torch.no_grad():
        made.model.head.weight[0, 0] = 1e5
    for to in ("limner", "timm"):
        with pytest.raises(CheckpointError, match="does not fit fp16"):
            convert(made, tmp_path / "m", to, "fp16")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_replaced_unless_asked(small_bundle, tmp_path):
    made = small_bundle("vit")
    path = convert(made, tmp_path / "m", "timm").path
    with pytest.raises(CheckpointError, match=r"exists[\s\S]*--force"):
        convert(made, path, "hf")
    assert "preprocessor_config.json" in convert(made, path, "hf", force=True).files
    file = tmp_path / "alone.safetensors"
    convert(made, file, "timm")
    with pytest.raises(CheckpointError, match="exists"):
        convert(made, file, "timm")
    convert(made, file, "timm", force=True)


def test_force_never_takes_away_anything_but_a_model(small_bundle, tmp_path):
    made = small_bundle("vit")
    home = tmp_path / "home"
    (home / "photos").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="holds more than a model: photos"):
        convert(made, home, "timm", force=True)
    (tmp_path / "notes.doc").write_text("mine")
    with pytest.raises(CheckpointError, match="did not write"):
        convert(made, tmp_path / "notes.doc", "timm", force=True)
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="is a folder"):
        convert(made, tmp_path / "x.safetensors", "timm", force=True)
    assert (tmp_path / "notes.doc").read_text() == "mine"


def test_the_weights_alone_are_a_file(small_bundle, tmp_path):
    made = small_bundle("vit")
    done = convert(made, tmp_path / "alone.safetensors", "torchvision")
    assert done.files == ("alone.safetensors",)
    assert "alone" in done.notes[0]
    assert torch.equal(open_bundle(done.path).model.head.weight, made.model.head.weight)
    with pytest.raises(CheckpointError, match="for a bundle"):
        convert(made, tmp_path / "b.safetensors", "limner")


@pytest.mark.parametrize(("name", "to"), [("m", "limner"), ("m", "timm"), ("m.safetensors", "timm")])
def test_a_place_that_cannot_be_written_is_told(small_bundle, tmp_path, name, to):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CheckpointError, match="cannot be written") as caught:
        convert(small_bundle("vit"), tmp_path / "file" / name, to)
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_unknown_format_is_refused(small_bundle, tmp_path):
    with pytest.raises(CheckpointError, match=r"no format 'onnx'[\s\S]*open_clip"):
        convert(small_bundle("vit"), tmp_path / "m", "onnx")


def test_what_a_format_cannot_say_is_told(small_bundle, tmp_path):
    made = small_bundle("vit")._replace(labels=("a", "b", "c", "d", "e"))
    notes = convert(made, tmp_path / "m", "torchvision").notes
    assert any("how pictures are prepared: mean" in note for note in notes)
    assert any("no place for the 5 labels" in note for note in notes)
    assert convert(made, tmp_path / "t", "timm").notes == ()
    assert open_bundle(tmp_path / "t").labels == made.labels


def test_a_temperature_that_is_not_stored_is_told(small_bundle, tmp_path):
    made = small_bundle("retriever")
    with torch.no_grad():
        made.model.temperature.fill_(0.02)
    assert convert(made, tmp_path / "m", "hf").notes == (
        "temperature 0.02 is not stored; it is read as 0.07.",
    )
    assert convert(made, tmp_path / "s", "salesforce").notes == ()


def test_a_model_that_would_come_back_as_another_is_refused(small_bundle, tmp_path, monkeypatch):
    made, other = small_bundle("vit"), small_bundle("vit_gap")
    monkeypatch.setattr(
        "limner.convert.saving.find",
        lambda path: find(path)._replace(
            description=find(path).description._replace(config=other.model.config)
        ),
    )
    with pytest.raises(CheckpointError, match="read back, it is another one"):
        convert(made, tmp_path / "m", "timm")
    assert not list(tmp_path.iterdir())


def test_a_bundle_keeps_its_card_labels_recipe_and_origin(small_bundle, tmp_path):
    first = convert(small_bundle("deit")._replace(labels=("a", "b", "c")), tmp_path / "hf", "hf").path
    opened = open_bundle(first)
    own = load(convert(opened, tmp_path / "own", "limner").path)
    assert (own.labels, own.task) == (("a", "b", "c"), "classification")
    assert own.source == opened.source
    assert own.source["dialect"] == "hf"
    shipped = convert(open_bundle("limner_tiny"), tmp_path / "tiny", "limner", "fp16")
    assert "README.md" in shipped.files
    assert load(shipped.path).recipe == open_bundle("limner_tiny").recipe
    assert load(shipped.path).digest == open_bundle("limner_tiny").digest


def with_words(bundle: Bundle) -> Bundle:
    """The model with a tokenizer of its own."""
    words = WordPiece.from_texts(["a red owl", "two fish and a ball"], 140)
    if bundle.architecture == "clip":
        return bundle._replace(tokenizer=CLIPTokenizer.from_merges(vocab_size=600, context_length=12))
    return bundle._replace(tokenizer=words)


@pytest.mark.parametrize(("name", "to"), [("clip", "openai"), ("clip", "open_clip"), ("blip", "salesforce")])
def test_a_tokenizer_of_its_own_is_not_lost(small_bundle, tmp_path, name, to):
    with pytest.raises(CheckpointError, match="hold no tokenizer, and this model has one of its own"):
        convert(with_words(small_bundle(name)), tmp_path / "m", to)


@pytest.mark.parametrize("name", ["clip", "vqa"])
def test_a_tokenizer_travels_in_the_files_of_transformers(small_bundle, tmp_path, name):
    made = with_words(small_bundle(name))
    done = convert(made, tmp_path / "m", "hf")
    assert "tokenizer_config.json" in done.files
    found = open_bundle(done.path).tokenizer
    for text in ("a red owl", "two fish and a ball"):
        assert found.encode(text) == made.tokenizer.encode(text)


PEERS = [(name, to) for name, to in PAIRS if to in ("torchvision", "timm", "hf", "open_clip")]


@pytest.mark.peer
@pytest.mark.parametrize(("name", "to"), PEERS, ids=["-".join(pair) for pair in PEERS])
def test_the_other_library_opens_what_was_written_and_says_the_same(small_bundle, tmp_path, name, to):
    made = small_bundle(name)._replace(image_spec=spec_of(small_bundle(name)))
    path = convert(made, tmp_path / "m", to).path
    size = made.image_spec.size
    pixels = torch.randn(3, 3, size, size)
    ids = torch.randint(7, 130, (3, 9))
    ids[:, 0], ids[:, -1] = (598, 599) if made.architecture == "clip" else (101, 102)
    with torch.no_grad():
        ours, theirs = ANSWERS[to](path, made, pixels, ids)
    assert ours.shape == theirs.shape
    assert ((ours - theirs).abs().max() / theirs.abs().max()).item() <= 1e-5


def spec_of(bundle: Bundle) -> ImageSpec:
    return ImageSpec(size=bundle.image_spec.size, crop="center")


def of_torchvision(path, made, pixels, ids):
    from torchvision.models import ResNet, VisionTransformer
    from torchvision.models.resnet import Bottleneck

    c = made.model.config
    if made.architecture == "resnet":
        peer = ResNet(Bottleneck, list(c.depths), c.num_classes)
    else:
        sizes = (c.image_size, c.patch_size, c.depth, c.num_heads, c.width, c.mlp_dim)
        peer = VisionTransformer(*sizes, num_classes=c.num_classes or 1)
        if not c.num_classes:
            peer.heads = torch.nn.Identity()
    peer.load_state_dict(load_file(path / "model.safetensors"))
    out = made.model(pixels)
    return (out.logits if c.num_classes else out.pooled), peer.eval()(pixels)


def of_timm(path, made, pixels, ids):
    import timm

    peer = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    out = made.model(pixels)
    return (out.logits if made.model.config.num_classes else out.pooled), peer(pixels)


def of_open_clip(path, made, pixels, ids):
    import open_clip

    peer, _, _ = open_clip.create_model_and_transforms(f"local-dir:{path}")
    image = peer.eval().encode_image(pixels, normalize=True)
    text = peer.encode_text(torch.nn.functional.pad(ids, (0, 3)), normalize=True)
    out = made.model(pixels, ids)
    return torch.cat([out.image_embed, out.text_embed]), torch.cat([image, text])


def of_hf(path, made, pixels, ids):
    import transformers

    config = json.loads((path / "config.json").read_text())
    kind = getattr(transformers, config["architectures"][0])
    peer, told = kind.from_pretrained(path, output_loading_info=True)
    pooler = {"pooler.dense.weight", "pooler.dense.bias"}  # ViTModel always has one, and a ViT need not
    assert not (told["missing_keys"] - pooler) | told["unexpected_keys"] | told["mismatched_keys"]
    return HF[type(peer.eval()).__name__](peer, made.model, pixels, ids)


def _clip(peer, model, pixels, ids):
    out, theirs = model(pixels, ids), peer(input_ids=ids, pixel_values=pixels)
    return torch.cat([out.image_embed, out.text_embed]), torch.cat([theirs.image_embeds, theirs.text_embeds])


def _captioner(peer, model, pixels, ids):
    ids[:, 0] = model.config.dec_id
    memory = model.decoder_memory(model.encode_image(pixels))
    theirs = peer.text_decoder(
        input_ids=ids, encoder_hidden_states=peer.vision_model(pixels).last_hidden_state, is_decoder=True
    )
    return model.decode(memory, ids), theirs.logits


def _retriever(peer, model, pixels, ids):
    ids[:, 0] = model.config.enc_id
    out = model.match(model.encoder_memory(model.encode_image(pixels)), ids)
    return out, peer(input_ids=ids, pixel_values=pixels, use_itm_head=True).itm_score


def _classifier(peer, model, pixels, ids):
    return model(pixels).logits, peer(pixels).logits


HF = {
    "CLIPModel": _clip,
    "BlipForConditionalGeneration": _captioner,
    "BlipForImageTextRetrieval": _retriever,
    "BlipForQuestionAnswering": lambda peer, model, pixels, ids: (
        model.encode_image(pixels),
        peer.vision_model(pixels).last_hidden_state,
    ),
    "ViTForImageClassification": _classifier,
    "DeiTForImageClassificationWithTeacher": _classifier,
    "ResNetForImageClassification": _classifier,
    "ViTModel": lambda peer, model, pixels, ids: (model(pixels).tokens, peer(pixels).last_hidden_state),
}
ANSWERS = {"torchvision": of_torchvision, "timm": of_timm, "open_clip": of_open_clip, "hf": of_hf}


def test_a_file_of_ours_in_a_folder_of_theirs_is_theirs(small_bundle, tmp_path: Path):
    """A config.json of transformers beside model.safetensors is no bundle."""
    done = convert(small_bundle("vit"), tmp_path / "m", "hf")
    write_safetensors(done.path / "model.safetensors", load_file(done.path / "model.safetensors"))
    assert open_bundle(done.path).source["dialect"] == "hf"
