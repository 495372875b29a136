import json

import pytest
import torch
from torch import nn

from limner.convert.bert import read_text_start, start_text
from limner.convert.weights import write_safetensors
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError, DataError
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.vit import ViTConfig

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg", "##a", "##b", "cat", "dog"]
SIZES = {"num_attention_heads": 4, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "model_type": "bert"}
WIDTH, DEPTH = 16, 3


def layer(number):
    names = {
        **{f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")},
        "attention.output.dense": (WIDTH, WIDTH),
        "intermediate.dense": (24, WIDTH),
        "output.dense": (WIDTH, 24),
    }
    norms = ("attention.output.LayerNorm", "output.LayerNorm")
    shapes = {f"{name}.weight": shape for name, shape in names.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in names.items()}
    shapes |= {f"{name}.{end}": (WIDTH,) for name in norms for end in ("weight", "bias")}
    return {f"encoder.layer.{number}.{key}": shape for key, shape in shapes.items()}


def a_bert(**more):
    """Tensors of a small BERT, by transformers' keys."""
    embeddings = {
        "word_embeddings.weight": (len(WORDS), WIDTH),
        "position_embeddings.weight": (12, WIDTH),
        "token_type_embeddings.weight": (2, WIDTH),
        "LayerNorm.weight": (WIDTH,),
        "LayerNorm.bias": (WIDTH,),
    }
    shapes = {f"embeddings.{key}": shape for key, shape in embeddings.items()}
    for number in range(DEPTH):
        shapes |= layer(number)
    shapes |= {"pooler.dense.weight": (WIDTH, WIDTH), "pooler.dense.bias": (WIDTH,)} | more
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def write(folder, tensors, fields=SIZES, words=WORDS):
    folder.mkdir(exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    if fields is not None:
        (folder / "config.json").write_text(json.dumps(fields))
    return folder


def a_blip(start, **changes):
    vision = ViTConfig(image_size=16, patch_size=8, width=8, depth=1, num_heads=2, mlp_dim=16)
    text = BertConfig(memory_width=8, dropout=0.0, **start.sizes)
    ids = {f"{name}_id": getattr(start.tokenizer, f"{name}_id") for name in ("pad", "cls", "sep")}
    ids |= {"dec_id": start.tokenizer.dec_id, "enc_id": start.tokenizer.enc_id}
    return BLIP(BLIPConfig(vision=vision, text=text, embed_dim=4, **ids, **changes)).eval()


def test_sizes_and_words_come_with_the_weights(tmp_path):
    start = read_text_start(write(tmp_path / "bert", a_bert()))
    assert start.sizes == {
        "vocab_size": len(WORDS) + 2,
        "width": WIDTH,
        "depth": DEPTH,
        "num_heads": 4,
        "mlp_dim": 24,
        "max_positions": 12,
        "layer_norm_eps": 1e-12,
    }
    assert start.unused == ["pooler.dense.bias", "pooler.dense.weight"]
    assert isinstance(start.tokenizer, WordPiece)
    assert start.tokenizer.encode("cat") == [2, WORDS.index("cat"), 3]
    assert (start.tokenizer.dec_id, start.tokenizer.enc_id) == (len(WORDS), len(WORDS) + 1)


def test_both_towers_are_filled_and_the_rest_is_told(tmp_path):
    tensors = a_bert()
    start = read_text_start(write(tmp_path / "bert", tensors))
    model = a_blip(start)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    fresh = start_text(model, start)
    assert fresh == ["lm_head", "text_encoder.cross_attention"]
    query = tensors["encoder.layer.2.attention.self.query.weight"]
    for tower in (model.text_encoder, model.text_decoder):  # whose self-attention is its own
        assert torch.equal(tower.self_attention[2].qkv.weight[:WIDTH], query)
        assert torch.equal(
            tower.embeddings.words.weight[: len(WORDS)], tensors["embeddings.word_embeddings.weight"]
        )
    for name, parameter in model.named_parameters():
        changed = not name.startswith(("vision", "text_proj", "itm_head", "temperature", *fresh))
        assert torch.equal(parameter, before[name]) is not changed, name
    assert torch.equal(
        model.text_encoder.embeddings.words.weight[-2:], before["text_encoder.embeddings.words.weight"][-2:]
    )


@pytest.mark.parametrize(
    ("heads", "fresh"),
    [(("itc",), ["text_encoder.cross_attention"]), (("lm",), ["lm_head", "text_decoder.cross_attention"])],
)
def test_one_tower_alone(tmp_path, heads, fresh):
    start = read_text_start(write(tmp_path / "bert", a_bert()))
    assert start_text(a_blip(start, heads=heads), start) == fresh


def test_fewer_layers_are_the_first(tmp_path):
    folder = write(tmp_path / "bert", a_bert())
    start = read_text_start(folder, depth=2)
    assert start.sizes["depth"] == 2
    assert {key.split(".")[2] for key in start.unused if key.startswith("encoder")} == {"2"}
    with pytest.raises(CheckpointError, match="has 3 layers, and 4 are asked for"):
        read_text_start(folder, depth=4)


def test_predictions_start_the_lm_head(tmp_path):
    head = {
        "cls.predictions.transform.dense.weight": (WIDTH, WIDTH),
        "cls.predictions.transform.dense.bias": (WIDTH,),
        "cls.predictions.transform.LayerNorm.weight": (WIDTH,),
        "cls.predictions.transform.LayerNorm.bias": (WIDTH,),
        "cls.predictions.bias": (len(WORDS),),
    }
    tensors = {
        key if key.startswith("cls") else f"bert.{key}": value for key, value in a_bert(**head).items()
    }
    start = read_text_start(write(tmp_path / "bert", tensors))
    model = a_blip(start)
    assert start_text(model, start) == ["text_encoder.cross_attention"]
    bias = tensors["cls.predictions.bias"]
    assert torch.equal(model.lm_head.bias[: len(WORDS)], bias)
    assert not model.lm_head.bias[len(WORDS) :].any()


@pytest.mark.parametrize(
    ("change", "fields", "words", "message"),
    [
        ({"encoder.layer.1.output.dense.bias": None}, SIZES, WORDS, "1 missing keys"),
        ({"encoder.layer.0.attention.self.query.weight": None}, SIZES, WORDS, "is no BERT"),
        ({"encoder.layer.0.crossattention.x": (1,)}, SIZES, WORDS, "is no BERT"),
        ({}, None, WORDS, "no config.json"),
        ({}, SIZES | {"hidden_act": "relu"}, WORDS, "hidden_act is 'relu'"),
        ({}, SIZES | {"position_embedding_type": "relative_key"}, WORDS, "position_embedding_type"),
        ({}, SIZES, [*WORDS, "more", "words", "still"], "has 21 words, the weights 16"),
    ],
)
def test_what_is_no_start_is_refused(tmp_path, change, fields, words, message):
    tensors = a_bert(**{key: shape for key, shape in change.items() if shape})
    tensors = {key: value for key, value in tensors.items() if change.get(key, True)}
    with pytest.raises(CheckpointError, match=message):
        read_text_start(write(tmp_path / "bert", tensors, fields, words))


def test_another_vocabulary_is_refused(tmp_path):
    with pytest.raises(DataError, match="without"):
        read_text_start(write(tmp_path / "bert", a_bert(), words=WORDS[1:]))


@pytest.mark.peer
def test_states_and_predictions_are_berts(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=12,
        attn_implementation="eager",
    )
    theirs = transformers.BertForMaskedLM(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    theirs.save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    start = read_text_start(tmp_path / "bert")
    assert start.unused == []
    model = a_blip(start, heads=("itc", "lm"))
    assert start_text(model, start) == ["text_encoder.cross_attention"]
    ids = torch.tensor([[2, 5, 6, 14, 3], [2, 15, 3, 0, 0]])
    mask = ids != 0
    read = theirs(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    ours = model.text_encoder(ids, mask)
    torch.testing.assert_close(ours[mask], read.hidden_states[-1][mask], rtol=1e-4, atol=1e-5)
    logits = model.write(ours)[..., : len(WORDS)]
    torch.testing.assert_close(logits[mask], read.logits[mask], rtol=1e-4, atol=1e-4)
