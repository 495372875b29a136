"""transformers' three BLIPs: the same numbers, the same texts, and files that either library opens."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from limner.convert.blip_hf import DIALECTS, to_json
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.keymap import read, write
from limner.errors import CheckpointError, ConfigError
from limner.models import MODELS, build
from limner.models.generate import Decoding, generate
from limner.shapes import CLIP_MEAN, ImageSpec

CLASSES = {
    "BlipForConditionalGeneration": ("blip", "captioning"),
    "BlipForImageTextRetrieval": ("blip", "retrieval"),
    "BlipForQuestionAnswering": ("blip_vqa", "vqa"),
}
SIZES = [(64, 64, 32, 16, 1), (128, 128, 48, 16, 3), (192, 128, 42, 14, 2), (64, 64, 45, 16, 2)]
ONE_WIDTH = [sizes for sizes in SIZES if sizes[0] == sizes[1]]
Stir = Callable[[nn.Module], Any]


def their_json(vision: int, text: int, image: int, patch: int, depth: int, **change: Any) -> dict[str, Any]:
    return {
        "text_config": {
            "vocab_size": 128,
            "hidden_size": text,
            "num_hidden_layers": depth,
            "num_attention_heads": text // 64,
            "intermediate_size": 80,
            "max_position_embeddings": 20,
            "bos_token_id": 126,
            **change,
        },
        "vision_config": {
            "hidden_size": vision,
            "num_hidden_layers": depth,
            "num_attention_heads": vision // 64,
            "intermediate_size": 96,
            "image_size": image,
            "patch_size": patch,
        },
        "image_text_hidden_size": 24,
    }


def their_model(name: str, values: Mapping[str, Any], stirred: Stir) -> nn.Module:
    import transformers

    model = getattr(transformers, name)(transformers.BlipConfig(**values))
    stirred(model)
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if key.endswith("LayerNorm.weight"):  # `stirred` knows them by a small n
                tensor.add_(1.0)
    return model.eval()


def opened(tensors: Mapping[str, Tensor], **sides: Any) -> tuple[nn.Module, Description, Dialect]:
    named = {f"{name}.json": value for name, value in sides.items()}
    weights = Weights(tensors, {}, named, Path("model.safetensors"), "", "safetensors")
    (dialect,) = (line for line in DIALECTS if line.recognises(weights))
    found = dialect.describe(weights)
    model = build(found.config).eval()
    model.load_state_dict(read(tensors, dialect.keymap(found.config), "model.safetensors"))
    return model, found, dialect


def near(ours: Tensor, theirs: Tensor, bound: float = 1e-5) -> None:
    assert ours.shape == theirs.shape
    assert ((ours - theirs).abs().max() / theirs.abs().max()).item() <= bound


def pairs(batch: int, image: int) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.randint(3, 100, (batch, 7))
    mask = torch.arange(7) < torch.tensor([[7], [5], [6]])[:batch]
    return torch.randn(batch, 3, image, image), ids * mask, mask


@pytest.mark.peer
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sizes", SIZES)
def test_a_captioner_says_the_same(sizes: tuple[int, ...], batch: int, stirred: Stir) -> None:
    values = their_json(*sizes)
    theirs = their_model("BlipForConditionalGeneration", values, stirred)
    ours, found, _ = opened(theirs.state_dict(), config=values)
    pixels, ids, mask = pairs(batch, sizes[2])
    started = ids.clone()
    started[:, 0] = 126  # transformers leaves [DEC] to the caller
    with torch.no_grad():
        output = theirs(pixel_values=pixels, input_ids=started, attention_mask=mask.long())
        tokens = ours.encode_image(pixels)
        near(tokens, output.image_embeds)
        near(ours.decode(ours.decoder_memory(tokens), ids)[mask], output.logits[mask])
    assert (found.task, found.tokenizer, found.image_spec.size) == ("captioning", "bert", sizes[2])
    assert found.config.vision.layer_norm_eps == 1e-5


@pytest.mark.peer
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sizes", SIZES)
def test_a_retrieval_model_says_the_same(sizes: tuple[int, ...], batch: int, stirred: Stir) -> None:
    values = their_json(*sizes)
    theirs = their_model("BlipForImageTextRetrieval", values, stirred)
    ours, found, _ = opened(theirs.state_dict(), config=values)
    pixels, ids, mask = pairs(batch, sizes[2])
    started = ids.clone()
    started[:, 0] = 127  # transformers never puts [ENC] there itself
    with torch.no_grad():
        given = {"pixel_values": pixels, "attention_mask": mask.long()}
        match = theirs(input_ids=started, **given)
        similarity = theirs(input_ids=ids, **given, use_itm_head=False).itm_score
        output = ours(pixels, ids, mask)
        grounded = ours.text_encoder(started, mask, ours.encoder_memory(ours.encode_image(pixels)))
    near(grounded[mask], match.question_embeds[mask])
    near(output.match_logits, match.itm_score)
    near(output.image_embed @ output.text_embed.T, similarity)
    assert (found.task, found.config.embed_dim) == ("retrieval", 24)


@pytest.mark.peer
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sizes", ONE_WIDTH)  # transformers needs it here
def test_a_question_answerer_says_the_same(sizes: tuple[int, ...], batch: int, stirred: Stir) -> None:
    values = their_json(*sizes)
    theirs = their_model("BlipForQuestionAnswering", values, stirred)
    ours, found, _ = opened(theirs.state_dict(), config=values)
    pixels, ids, _ = pairs(batch, sizes[2])
    ids[:, :] = torch.randint(3, 100, ids.shape)  # no padding, which transformers would read
    started, answers = ids.clone(), torch.randint(3, 100, (batch, 4))
    started[:, 0], answers[:, 0] = 127, 126
    kept: list[Tensor] = []
    theirs.text_decoder.register_forward_hook(lambda *given: kept.append(given[2].logits))
    with torch.no_grad():
        theirs(pixel_values=pixels, input_ids=started, decoder_input_ids=answers)
        near(ours(pixels, ids, None, answers).lm_logits, kept[0])
    assert found.task == "vqa"


@pytest.mark.peer
@pytest.mark.parametrize("beams", [1, 3])
def test_captions_are_the_same_token_for_token(beams: int, stirred: Stir) -> None:
    values = their_json(*SIZES[1])
    theirs = their_model("BlipForConditionalGeneration", values, stirred)
    with torch.no_grad():
        theirs.text_decoder.cls.predictions.bias[102] += 3.0
    ours, _, _ = opened(theirs.state_dict(), config=values)
    pixels, prompt = torch.randn(4, 3, 48, 48), torch.tensor([[101, 7, 9]]).expand(4, -1)
    closed = torch.cat([prompt, torch.full((4, 1), 102)], 1)  # transformers cuts the last token off
    want = theirs.generate(pixel_values=pixels, input_ids=closed, num_beams=beams, max_new_tokens=9)
    decoding = Decoding(method="beam" if beams > 1 else "greedy", num_beams=beams, max_tokens=9)
    with torch.no_grad():
        memory = ours.decoder_memory(ours.encode_image(pixels))
    for text, ids in zip(generate(ours, memory, prompt, decoding), want.tolist(), strict=True):
        assert text.ids == [token for token in ids[3:] if token not in (0, 102)]


@pytest.mark.peer
@pytest.mark.parametrize("sizes", [SIZES[1], SIZES[3]])
@pytest.mark.parametrize("name", CLASSES)
def test_what_is_written_opens_there_and_comes_back(
    name: str, sizes: tuple[int, ...], stirred: Stir, tmp_path: Path
) -> None:
    import transformers

    values = their_json(*sizes, cls_token_id=99, enc_token_id=98)
    ours, found, dialect = opened(their_model(name, values, stirred).state_dict(), config=values)
    assert (dialect.architecture, found.task) == CLASSES[name]
    assert (found.config.cls_id, found.config.enc_id) == (99, 98)
    dialect.checks(found.config)
    theirs = write(stirred(ours).state_dict(), dialect.keymap(found.config))
    sides = dialect.companions(found.config, found)
    save_file(theirs, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for side, told in sides.items():
        (tmp_path / side).write_text(json.dumps(told))
    model, info = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert sides["config.json"]["architectures"] == [name]
    images = transformers.BlipImageProcessor.from_pretrained(tmp_path)
    assert (images.size["height"], tuple(images.image_mean)) == (sizes[2], CLIP_MEAN)
    again, described, _ = opened(
        model.state_dict(), **{side.removesuffix(".json"): told for side, told in sides.items()}
    )
    assert (described.config, described.image_spec) == (found.config, ImageSpec(size=sizes[2]))
    for key, tensor in again.state_dict().items():
        assert key == "temperature" or torch.equal(tensor, ours.state_dict()[key])


@pytest.mark.peer
def test_tied_copies_are_optional_and_must_agree(stirred: Stir) -> None:
    values = their_json(*SIZES[0])
    tensors = their_model("BlipForConditionalGeneration", values, stirred).state_dict()
    tensors["text_decoder.bert.embeddings.position_ids"] = torch.arange(20)[None]  # of older files
    tied = [key for key in tensors if "predictions.decoder." in key]
    assert len(tied) == 2
    for key in tied:
        with pytest.raises(CheckpointError, match=r"decoder\.\w+ .* is not"):
            opened(tensors | {key: tensors[key] + 1}, config=values)
    opened({key: value for key, value in tensors.items() if key not in tied}, config=values)


@pytest.mark.peer
def test_without_json_heads_and_tokens_are_those_of_the_released(stirred: Stir) -> None:
    values = their_json(*SIZES[1])
    tensors = their_model("BlipForImageTextRetrieval", values, stirred).state_dict()
    told, silent = opened(tensors, config=values)[1], opened(tensors)[1]
    assert silent.config.model_copy(update={"text": told.config.text}) == told.config
    assert silent.config.text.model_copy(update={"dropout": 0.0}) == told.config.text
    assert "no config.json" in silent.notes[0]
    assert told.notes == ()


@pytest.mark.peer
@pytest.mark.parametrize("text_config", [{}, {"num_attention_heads": 8}])
def test_eight_text_heads_of_old_files_are_twelve(text_config: dict[str, int], stirred: Stir) -> None:
    values = their_json(64, 768, 32, 16, 1, num_attention_heads=12)
    tensors = their_model("BlipForConditionalGeneration", values, stirred).state_dict()
    values["text_config"] = text_config | {"bos_token_id": 126}
    found = opened(tensors, config=values)[1]
    assert found.config.text.num_heads == 12
    assert "before April 2023" in found.notes[0]


@pytest.mark.peer
def test_heads_and_layer_norms_are_as_the_json_says(stirred: Stir) -> None:
    values = their_json(*SIZES[1], num_attention_heads=4)
    values["vision_config"] |= {"num_attention_heads": 8, "layer_norm_eps": 1e-6}
    tensors = their_model("BlipForConditionalGeneration", values, stirred).state_dict()
    config = opened(tensors, config=values)[1].config
    assert (config.text.num_heads, config.vision.num_heads, config.vision.layer_norm_eps) == (4, 8, 1e-6)
    for tower in ("text_config", "vision_config"):
        with pytest.raises(CheckpointError, match="hidden_act"):
            opened(tensors, config=values | {tower: values[tower] | {"hidden_act": "relu"}})
    del values["text_config"]["num_attention_heads"]
    assert opened(tensors, config=values)[1].config.text.num_heads == 8  # transformers' default
    with pytest.raises(ConfigError, match="num_heads"):
        opened(tensors, config=values | {"text_config": {"num_attention_heads": 2.5}})


@pytest.mark.peer
def test_pictures_are_prepared_at_the_size_of_the_positions(stirred: Stir) -> None:
    values = their_json(*SIZES[0])
    tensors = their_model("BlipForConditionalGeneration", values, stirred).state_dict()
    images = {
        "image_processor_type": "BlipImageProcessor",
        "size": {"height": 384, "width": 384},
        "image_mean": [0.5, 0.5, 0.5],
        "resample": 2,
    }
    found = opened(tensors, config=values, preprocessor_config=images)[1]
    assert found.image_spec == ImageSpec(size=32, mean=(0.5, 0.5, 0.5), resampling="bilinear")
    assert "384 px" in found.notes[0]


@pytest.mark.peer
@pytest.mark.parametrize("name", ["BlipModel", "BlipVisionModel", "BlipTextModel", "BlipTextLMHeadModel"])
def test_parts_are_refused_with_the_reason(name: str) -> None:
    import transformers
    from transformers.models.blip import modeling_blip_text

    config = transformers.BlipConfig(**their_json(*SIZES[0]))
    kind = getattr(transformers, name, None) or getattr(modeling_blip_text, name)
    part = {"BlipModel": config, "BlipVisionModel": config.vision_config}.get(name, config.text_config)
    with pytest.raises(CheckpointError, match=f"is a {name}, "):
        opened(kind(part).state_dict())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("blip_base", r"no class for a BLIP with the heads \['itc', 'itm', 'lm'\]"),
        ("blip_base_nlvr2", "no class for NLVR2"),
        ("limner_tiny", "no class for a BLIP"),
    ],
)
def test_what_has_no_class_there_is_refused(name: str, reason: str) -> None:
    config = MODELS[name].config
    dialect = {"blip_base_nlvr2": DIALECTS[2]}.get(name, DIALECTS[0])
    with pytest.raises(CheckpointError, match=reason):
        dialect.checks(config)


def test_two_widths_of_a_question_answerer_are_refused() -> None:
    config = MODELS["blip_base_vqa"].config
    DIALECTS[1].checks(config)
    wide = config.model_copy(update={"vision": MODELS["blip_large"].config.vision})
    with pytest.raises(CheckpointError, match="width of 1024 and a text width of 768"):
        DIALECTS[1].checks(wide)


def test_a_classifier_is_refused() -> None:
    config = MODELS["blip_base_caption"].config
    DIALECTS[0].checks(config)
    with pytest.raises(CheckpointError, match="and a classifier"):
        DIALECTS[0].checks(config.model_copy(update={"num_classes": 4}))


@pytest.mark.peer
@pytest.mark.parametrize("name", ["blip_large_caption", "blip_base_retrieval", "blip_base_vqa"])
def test_the_json_of_released_models_makes_them_there(name: str) -> None:
    import transformers

    values = to_json(MODELS[name].config)
    kind = getattr(transformers, values["architectures"][0])
    with torch.device("meta"):
        theirs = kind(transformers.BlipConfig(**values))
        ours = build(name)
    count = sum(p.numel() for p in ours.parameters()) - (name == "blip_base_retrieval")  # the temperature
    assert sum(p.numel() for p in theirs.parameters()) == count
