import json
from pathlib import Path

import pytest

from limner.convert.dialect import Description
from limner.convert.tokenizer_files import given_tokenizer, tokenizer_beside, tokenizer_files
from limner.data.bpe import CLIPTokenizer
from limner.data.bpe_vocabulary import CLIP_MERGES
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError, DataError
from limner.models import MODELS
from limner.models.vit import ViT
from limner.shapes import ImageSpec

CLIP, BLIP = MODELS["clip_vit_b32"].config, MODELS["blip_base"].config
TEXT = "Two cats, one dog. It&amp;s “fine”"


def described(config, tokenizer):
    return Description(config, ImageSpec(size=224), "contrastive", tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("tokenizer", "dialect", "kind"),
    [("clip", "openai", "openai"), ("clip", "open_clip_custom_text", "open_clip"), ("clip_hf", "hf", "hf")],
)
def test_a_clip_without_files_reads_with_the_public_vocabulary(tmp_path, tokenizer, dialect, kind):
    found, notes = tokenizer_beside(tmp_path, described(CLIP, tokenizer), dialect)
    assert (found.dialect, found.vocab_size, found.context_length) == (kind, 49408, 77)
    assert len(notes) == 1


def test_a_blip_is_cleaned_as_its_library_does(tmp_path):
    own, _ = tokenizer_beside(tmp_path, described(BLIP, "bert"), "salesforce")
    theirs, _ = tokenizer_beside(tmp_path, described(BLIP, "bert"), "hf")
    assert own.encode("a dog.") == [101, 1037, 3899, 102]
    assert theirs.encode("a dog.") == [101, 1037, 3899, 1012, 102]
    assert (own.dec_id, own.enc_id) == (30522, 30523)


def test_a_model_that_reads_no_text_has_none(tmp_path):
    assert tokenizer_beside(tmp_path, described(MODELS["vit_b16"].config, ""), "timm") == (None, ())


def test_a_vocabulary_nobody_knows_is_left_open(tmp_path, small_configs):
    found, notes = tokenizer_beside(tmp_path, described(small_configs["clip"], "clip"), "openai")
    assert found is None
    assert "600 words" in notes[0]


def test_files_in_the_folder_go_first(tmp_path, small_configs):
    made = CLIPTokenizer.from_merges(vocab_size=600, context_length=12)
    for name, text in tokenizer_files(made, "hf", small_configs["clip"]).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found, notes = tokenizer_beside(tmp_path, described(small_configs["clip"], "clip_hf"), "hf")
    assert (found.vocab_size, found.context_length, notes) == (600, 12, ())
    text = small_configs["clip"].text.model_copy(update={"vocab_size": 140})
    smaller = described(small_configs["clip"].model_copy(update={"text": text}), "clip_hf")
    with pytest.raises(CheckpointError, match="600 words, the model 140"):
        tokenizer_beside(tmp_path, smaller, "hf")


def test_the_user_may_name_a_file_of_any_kind(tmp_path, small_bundle):
    blip, clip = small_bundle("blip").model, small_bundle("clip").model
    own = WordPiece.from_texts(["a red owl"], 140)
    (tmp_path / "words.json").write_text(own.to_json())
    (tmp_path / "vocab.txt").write_text("\n".join(own.tokens))
    for path in (tmp_path / "words.json", tmp_path / "vocab.txt", tmp_path):
        assert given_tokenizer(path, blip).vocab_size == own.vocab_size
    assert given_tokenizer(CLIP_MERGES, clip).vocab_size == 600
    with pytest.raises(CheckpointError, match="no tokenizer at"):
        given_tokenizer(tmp_path / "nowhere", clip)
    (tmp_path / "vocab.txt").write_text("just\nwords")
    with pytest.raises(DataError):
        given_tokenizer(tmp_path / "vocab.txt", blip)


def test_a_model_that_reads_no_text_takes_none(small_bundle):
    model = small_bundle("vit").model
    assert isinstance(model, ViT)
    with pytest.raises(CheckpointError, match="a tokenizer for a ViT"):
        given_tokenizer(CLIP_MERGES, model)


@pytest.mark.parametrize("to", ["openai", "open_clip"])
@pytest.mark.parametrize("dialect", ["openai", "open_clip", "hf"])
def test_formats_without_tokenizers_take_the_public_one_alone(to, dialect):
    assert tokenizer_files(CLIPTokenizer.from_merges(dialect=dialect), to, CLIP) == {}
    with pytest.raises(CheckpointError, match="hold no tokenizer"):
        tokenizer_files(CLIPTokenizer.from_merges(dialect=dialect, vocab_size=600), to, CLIP)
    assert tokenizer_files(None, to, CLIP) == {}


def test_salesforce_takes_berts_alone():
    assert tokenizer_files(WordPiece.from_vocabulary(), "salesforce", BLIP) == {}
    with pytest.raises(CheckpointError, match="one of its own"):
        tokenizer_files(WordPiece.from_texts(["a red owl"], 140), "salesforce", BLIP)


@pytest.mark.peer
def test_transformers_reads_what_is_written(tmp_path: Path):
    from transformers import AutoTokenizer

    for name, made, config in (
        ("clip", CLIPTokenizer.from_merges(dialect="hf"), CLIP),
        ("blip", WordPiece.from_vocabulary(cleaning="bert"), BLIP),
    ):
        folder = tmp_path / name
        folder.mkdir()
        files = tokenizer_files(made, "hf", config)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        theirs = AutoTokenizer.from_pretrained(folder)
        for text in (TEXT, "a photo of a cat", "", "🦉 猫"):
            assert theirs(text).input_ids == made.encode(text), (name, text)
        assert json.loads(files["tokenizer_config.json"])["tokenizer_class"] == type(
            theirs
        ).__name__.removesuffix("Fast")
