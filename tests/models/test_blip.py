from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.models import MODELS
from limner.models.bert import PARTS
from limner.models.blip import BLIP, DECODER_OWN, BLIPConfig, with_heads

TABLE_3 = {
    "all": 224_075_071,
    "all_but_self_attention": 252_441_919,
    "all_but_cross_attention": 252_441_919,
    "none": 361_333_567,
}
MakeBLIP = Callable[..., BLIP]
Released = Callable[[str], tuple[BLIP, SimpleNamespace]]
PARTS_OF = {
    ("lm",): {"vision", "text_decoder", "lm_head"},
    ("itc",): {"vision", "text_encoder", "vision_proj", "text_proj", "temperature"},
    ("itm",): {"vision", "text_encoder", "itm_head"},
    (): {"vision", "classifier"},
}


@pytest.fixture
def pair() -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, texts and their mask."""
    ids = torch.randint(7, 40, (3, 8))
    ids[:, 0] = 2
    mask = torch.arange(8) < torch.tensor([[8], [5], [6]])
    return torch.randn(3, 3, 32, 32), ids * mask, mask


@pytest.mark.parametrize("sharing", TABLE_3)
def test_parameters_of_table_3(sharing: str) -> None:
    config = MODELS["blip_base"].config.model_copy(update={"sharing": sharing})
    with torch.device("meta"):
        model = BLIP(config)
    assert sum(p.numel() for p in model.parameters()) == TABLE_3[sharing]
    assert sum(p.numel() for p in model.state_dict().values()) == TABLE_3[sharing]


def test_start_tokens_replace_token_0(small_blip: MakeBLIP, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    model, (pixels, ids, mask) = small_blip(), pair
    memory = model.encoder_memory(model.encode_image(pixels))
    seen: list[Tensor] = []
    hooks = [
        tower.embeddings.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        for tower in (model.text_encoder,)
    ]
    model.match(memory, ids, mask)
    model.decode(memory, ids)
    model.embed_text(ids, mask)
    for hook in hooks:
        hook.remove()
    assert [given[:, 0].unique().tolist() for given in seen] == [[6], [5], [2]]
    assert all(torch.equal(given[:, 1:], ids[:, 1:]) for given in seen)
    assert ids[:, 0].tolist() == [2, 2, 2]


def test_trap_44_only_self_attention_is_the_decoders_own(small_blip: MakeBLIP) -> None:
    """By address, since both of the middle sharings have 252,441,919 parameters."""
    model = small_blip()
    parts = [getattr(model.text_decoder, name) for name in PARTS]
    read = {parameter.data_ptr() for part in parts for parameter in part.parameters()}
    encoder = {name: parameter.data_ptr() for name, parameter in model.text_encoder.named_parameters()}
    shared = {name for name, address in encoder.items() if address in read}
    assert shared == {name for name in encoder if not name.startswith("self_attention.")}


@pytest.mark.parametrize("sharing", DECODER_OWN)
def test_decoder_memory_is_computed_only_when_it_differs(sharing: str, small_blip: MakeBLIP) -> None:
    model = small_blip(sharing)
    tokens = model.encode_image(torch.randn(2, 3, 32, 32))
    encoder = model.encoder_memory(tokens)
    decoder = model.decoder_memory(tokens, encoder)
    assert (decoder is encoder) == (sharing in {"all", "all_but_self_attention"})
    for ours, afresh in zip(decoder.layers, model.decoder_memory(tokens).layers, strict=True):
        assert torch.equal(ours, afresh)


def test_embeddings_are_unit_vectors_and_ignore_padding(
    small_blip: MakeBLIP, pair: tuple[Tensor, Tensor, Tensor]
) -> None:
    model, (pixels, ids, mask) = small_blip(), pair
    embeds = model.embed_image(model.encode_image(pixels)), model.embed_text(ids, mask)
    for embed in embeds:
        torch.testing.assert_close(embed.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(model.embed_text(ids[1:2, :5]), embeds[1][1:2])


def test_forward_is_its_parts(small_blip: MakeBLIP, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    model, (pixels, ids, mask) = small_blip("none"), pair
    tokens = model.encode_image(pixels)
    output = model(pixels, ids, mask)
    assert torch.equal(output.match_logits, model.match(model.encoder_memory(tokens), ids, mask))
    assert torch.equal(output.lm_logits, model.decode(model.decoder_memory(tokens), ids))


def test_train_and_eval_reach_shared_parts(small_blip: MakeBLIP) -> None:
    model = small_blip()
    for mode in (True, False):
        model.train(mode)
        assert all(part.training == mode for part in model.text_decoder.mlp.modules())


def test_temperature_starts_where_the_paper_starts(small_blip: MakeBLIP) -> None:
    model = BLIP(small_blip().config)
    assert model.temperature.item() == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enc_id": 40}, "special token 40"),
        ({"text": {"memory_width": 8}}, "memory_width 8"),
        ({"heads": ()}, "that is a ViT"),
        ({"heads": ("mlm",)}, "heads"),
        ({"vision": {"class_token": False, "pool": "gap"}}, "class_token is false"),
    ],
)
def test_parts_that_do_not_fit_are_named(small_blip: MakeBLIP, change: dict, message: str) -> None:
    values = small_blip().config.model_dump()
    for tower in ("text", "vision"):
        values[tower] |= change.get(tower, {})
    change = {key: value for key, value in change.items() if key not in ("text", "vision")}
    with pytest.raises(ValidationError, match=message):
        BLIPConfig.model_validate(values | change)


@pytest.mark.parametrize("heads", PARTS_OF)
def test_parts_that_no_head_needs_do_not_exist(heads: tuple[str, ...], small_blip: MakeBLIP) -> None:
    model = small_blip(heads=heads, num_classes=0 if heads else 5)
    assert {key.split(".")[0] for key in model.state_dict()} == PARTS_OF[heads]


def test_a_captioner_owns_its_whole_decoder(small_blip: MakeBLIP) -> None:
    whole = small_blip("none")
    captioner = small_blip("none", heads=("lm",))
    sizes = [
        {key: value.shape for key, value in model.text_decoder.state_dict().items()}
        for model in (whole, captioner)
    ]
    assert sizes[0] == sizes[1]


def test_heads_come_in_one_order(small_blip: MakeBLIP) -> None:
    values = small_blip().config.model_dump() | {"heads": ("lm", "itm", "lm", "itc")}
    assert BLIPConfig.model_validate(values) == small_blip().config


@pytest.mark.parametrize(
    ("heads", "method", "head"),
    [
        (("lm",), "embed_image", "itc"),
        (("lm",), "embed_text", "itc"),
        (("lm",), "encoder_memory", "itm"),
        (("itc", "lm"), "match", "itm"),
        (("itc", "itm"), "decoder_memory", "lm"),
        (("itc", "itm"), "decode", "lm"),
    ],
)
def test_an_absent_head_is_named(
    heads: tuple[str, ...], method: str, head: str, small_blip: MakeBLIP
) -> None:
    model = small_blip(heads=heads)
    with torch.no_grad():
        tokens = model.encode_image(torch.randn(1, 3, 32, 32))
    tower = model.text_decoder if "lm" in heads else model.text_encoder
    given = {
        "embed_image": (tokens,),
        "embed_text": (torch.tensor([[2, 3]]),),
        "encoder_memory": (tokens,),
        "decoder_memory": (tokens,),
    }.get(method, (tower.memory(tokens), torch.tensor([[2, 3]])))
    with pytest.raises(
        ConfigError, match=f"{method} with a BLIP whose heads are: {', '.join(heads)}"
    ) as error:
        getattr(model, method)(*given)
    assert error.value.wanted == f'the head "{head}"'
    assert MODELS[error.value.hint.split()[-3]].config.heads.count(head)


def test_output_is_of_no_width_where_a_head_is_missing(
    small_blip: MakeBLIP, pair: tuple[Tensor, Tensor, Tensor]
) -> None:
    captions = small_blip(heads=("lm",), num_classes=4)(*pair)
    assert [tuple(part.shape) for part in captions] == [(3, 0), (3, 0), (3, 0), (3, 8, 40), (3, 4)]
    matches = small_blip(heads=("itc", "itm"))(*pair)
    assert [tuple(part.shape) for part in matches] == [(3, 16), (3, 16), (3, 2), (3, 8, 0), (3, 0)]


@pytest.mark.parametrize("sharing", DECODER_OWN)
@pytest.mark.parametrize("heads", [("lm",), ("itc", "itm"), ("itm", "lm")])
def test_with_heads_keeps_the_numbers(
    heads: tuple[str, ...], sharing: str, small_blip: MakeBLIP, pair: tuple[Tensor, Tensor, Tensor]
) -> None:
    model = small_blip(sharing)
    model.temperature.data.fill_(0.2)
    part = with_heads(model, heads)
    for ours, whole in zip(part(*pair), model(*pair), strict=True):
        assert ours.numel() == 0 or torch.equal(ours, whole)
    assert part.config.heads == heads
    assert not ("itc" in heads and part.temperature.item() != pytest.approx(0.2))
    with torch.no_grad():
        part.vision.cls_token.add_(1.0)
    assert not torch.equal(part.vision.cls_token, model.vision.cls_token)


def test_with_heads_cannot_invent_one(small_blip: MakeBLIP) -> None:
    with pytest.raises(ConfigError, match="whose heads are: lm"):
        with_heads(small_blip(heads=("lm",)), ("itm",))


@pytest.mark.parametrize("name", ["pretrain", "caption", "retrieval"])
def test_numbers_are_those_of_the_released_code(name: str, released_model: Released) -> None:
    model, told = released_model(name)
    with torch.no_grad():
        tokens = model.encode_image(told.pixels)
        output = model(told.pixels, told.ids, told.mask)._asdict()
    torch.testing.assert_close(tokens[:, :3], told.tokens, atol=1e-5, rtol=1e-5)
    heads = [key for key in output if hasattr(told, key)]
    assert len(heads) == {"pretrain": 4, "caption": 1, "retrieval": 3}[name]
    for key in heads:
        got, want = output[key], getattr(told, key)
        if key == "lm_logits":  # what stands at padding is never used
            got, want = got[told.mask], want[told.mask]
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.peer
def test_captioning_logits_are_transformers(
    captioners: tuple[BLIP, nn.Module], pair: tuple[Tensor, Tensor, Tensor]
) -> None:
    (ours, theirs), (pixels, ids, mask) = captioners, pair
    started = ids.clone()
    started[:, 0] = 5  # transformers leaves token 0 to the caller
    with torch.no_grad():
        want = theirs(pixel_values=pixels, input_ids=started, attention_mask=mask.long()).logits
        got = ours.decode(ours.decoder_memory(ours.encode_image(pixels)), ids)
    torch.testing.assert_close(got[mask], want[mask], atol=1e-4, rtol=1e-4)


@pytest.mark.peer
def test_matching_is_transformers(
    matchers: tuple[BLIP, nn.Module], pair: tuple[Tensor, Tensor, Tensor]
) -> None:
    (ours, theirs), (pixels, ids, mask) = matchers, pair
    started = ids.clone()
    started[:, 0] = 6  # transformers leaves token 0 to the caller
    with torch.no_grad():
        want = theirs(pixel_values=pixels, input_ids=started, attention_mask=mask.long()).itm_score
        similarity = theirs(
            pixel_values=pixels, input_ids=ids, attention_mask=mask.long(), use_itm_head=False
        ).itm_score
        output = ours(pixels, ids, mask)
    torch.testing.assert_close(output.match_logits, want, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.image_embed @ output.text_embed.T, similarity, atol=1e-5, rtol=1e-4)
